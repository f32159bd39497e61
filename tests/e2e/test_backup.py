"""A backup under load, and what is restored from it (reliability.md T11)."""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from tests.support.backups import (
    Elsewhere,
    TimedHistory,
    ask,
    checked,
    is_refused,
    places,
    refuses_until_confirmed,
    serving,
)
from tests.support.load import load
from tests.support.mutants import mutant
from tests.support.processes import Hanaper
from tests.support.store_check import Findings

pytestmark = pytest.mark.long

ROUNDS = int(os.environ.get("HANAPER_TEST_BACKUP_ROUNDS", "20"))
"""The first of them every day."""


def backed_up(
    installed: Hanaper, file: Path, *, seed: int, environment: Mapping[str, str] | None = None
) -> tuple[TimedHistory, datetime]:
    """Make a backup while clients are given license keys; returns what they were told, and the moment of the backup."""
    history = TimedHistory()
    with installed.serving("--workers", "2") as server:
        with load(server.url, history, seed) as clients:
            clients.wait_for_keys()
            command = replace(installed, environment={**installed.environment, **(environment or {})})
            made = command.anew("backup", str(file), "--json").json
            clients.wait_for_keys()
        server.stop()
    return history, datetime.fromisoformat(made["as_of"])


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, ROUNDS))])
def test_all_that_was_acknowledged_before_is_in_it_and_nothing_is_issued_before_that_is_confirmed(
    installed: Hanaper, elsewhere: Elsewhere, backup_file: Path, number: int
) -> None:
    history, as_of = backed_up(installed, backup_file, seed=number)
    restored = elsewhere()
    restored("restore", str(backup_file))
    assert checked(installed, restored, history, as_of) == Findings()
    assert history.unexpected == []
    assert "restored from a.backup" in restored("quarantine", "--json").json["reason"]
    refuses_until_confirmed(restored, history)


@pytest.mark.slow
def test_a_backup_that_copies_the_file_is_found(demo: Hanaper, tmp_path: Path) -> None:
    file = tmp_path / "a.backup"
    history, as_of = backed_up(demo, file, seed=1, environment=mutant("copied_file"))
    with places(demo, tmp_path, None) as elsewhere:
        restored = elsewhere()
        restored("restore", str(file))
        assert checked(demo, restored, history, as_of).lost > 0


@pytest.mark.slow
def test_a_restoration_without_quarantine_is_found(elsewhere: Elsewhere, backup: Path) -> None:
    restored = elsewhere()
    environment = mutant("no_quarantine")
    replace(restored, environment={**restored.environment, **environment}).anew("restore", str(backup))
    with serving(restored, **environment) as api:
        assert not is_refused(ask(api, "generate", generator_id=1, quantity=3))


def test_a_server_that_does_not_look_at_the_quarantine_is_found(demo: Hanaper) -> None:
    demo("quarantine", "on", "--reason", "a test")
    with serving(demo, **mutant("blind_to_quarantine")) as api:
        assert not is_refused(ask(api, "generate", generator_id=1, quantity=3))
        assert not is_refused(ask(api, "create-product", name="Another"))
