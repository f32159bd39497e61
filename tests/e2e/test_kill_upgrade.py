"""An upgrade that is killed leaves the old schema or the new one, and all rows (reliability.md T1).

The new one with its row of the audit log, the old one without.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.orm import Session
from tests.e2e.conftest import client
from tests.support.load import SAMPLE_KEY
from tests.support.mutants import mutant
from tests.support.processes import PROGRAM, Hanaper

from hanaper.storage import migrate
from hanaper.storage.schema import current, head, revisions
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

OLDER = revisions()[:-1]
KILLS = int(os.environ.get("HANAPER_TEST_UPGRADE_KILLS", "30"))
A_FEW = 2
THE_LAST = 3
"""Statements that are always among them: those about the row of the audit log, and what follows the commit."""

LONGEST_S = 60
UPGRADE = ("db", "upgrade")


@pytest.fixture
def since() -> str:
    """The revision of the old schema: that of the first release, where a test does not say."""
    return OLDER[0]


@pytest.fixture
def old(demo_on_either: Hanaper, since: str) -> Hanaper:
    """An installation with license keys, and an old schema."""
    with demo_on_either.serving() as server, client(server.url, demo_on_either) as api:
        for quantity in (1, 5, 50):
            fields = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": quantity}
            assert api.post("/api/v1/generate", fields).code == 815
    with Storage.open(demo_on_either.settings) as storage:
        migrate.downgrade(storage, since)
    return demo_on_either


def rows(hanaper: Hanaper) -> dict[str, list[tuple[Any, ...]]]:
    """All that is stored, whatever the schema: by table, its columns and then its rows."""
    with Storage.open(hanaper.settings) as storage, storage.engine.connect() as connection:
        found = {}
        for name in sorted(inspect(connection).get_table_names()):
            stored = connection.execute(text(f"SELECT * FROM {name} ORDER BY 1"))  # noqa: S608 -- a table of ours
            found[name] = [tuple(stored.keys()), *map(tuple, stored)]
        return found


def licenses(hanaper: Hanaper) -> list[Any]:
    """What no upgrade may change."""

    def read(session: Session) -> list[Any]:
        keys = "SELECT id, license_key, batch_id, activation_limit, validity, status FROM license_keys ORDER BY id"
        batches = "SELECT id, quantity, signing_key_id, signed_at, signature FROM batches ORDER BY id"
        return [[tuple(row) for row in session.execute(text(query))] for query in (keys, batches)]

    with Storage.open(hanaper.settings) as storage:
        return storage.read(read)


def is_new(hanaper: Hanaper) -> bool:
    with Storage.open(hanaper.settings) as storage:
        return current(storage) == head()


def dying(hanaper: Hanaper, at: int, **more: str) -> dict[str, Any]:
    counted = str(hanaper.folder / "counted")
    return {**mutant("dies_at_statement"), "DIES_AT": str(at), "COUNTED": counted, **more}


def statements(hanaper: Hanaper) -> int:
    """Of an upgrade; it is made, and taken back."""
    with Storage.open(hanaper.settings) as storage:
        before = current(storage)
    assert before is not None
    hanaper.anew(*UPGRADE, **dying(hanaper, 0))
    take_back(hanaper, before)
    return int((hanaper.folder / "counted").read_text())


def told(hanaper: Hanaper) -> list[dict[str, str]]:
    """What the audit log says of upgrades."""
    query = text("SELECT objects FROM audit_events WHERE action = 'db upgrade' ORDER BY id")
    with Storage.open(hanaper.settings) as storage:
        return [json.loads(objects) for objects in storage.read(lambda session: session.scalars(query).all())]


def take_back(hanaper: Hanaper, before: str) -> None:
    """The schema, and the row that tells of it."""
    assert told(hanaper) == [{"schema": head(), "schema_before": before}]
    hanaper.sql("DELETE FROM audit_events WHERE action = 'db upgrade'")
    with Storage.open(hanaper.settings) as storage:
        migrate.downgrade(storage, before)


@contextmanager
def nothing_lost(hanaper: Hanaper) -> Iterator[None]:
    """What is done here may be killed; afterwards everything is in order."""
    before = licenses(hanaper)
    yield
    hanaper(*UPGRADE)
    assert is_new(hanaper)
    assert len(told(hanaper)) == 1
    assert licenses(hanaper) == before
    assert hanaper("check-store", "--json").json["findings"] == []
    with hanaper.serving() as server, client(server.url, hanaper) as api:
        assert api.post("/api/v1/generate", {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}).code == 815


def upgrade_and_kill(hanaper: Hanaper, places: list[int], **fault: str) -> None:
    before = rows(hanaper)
    with nothing_lost(hanaper):
        for place in places:
            hanaper.anew(*UPGRADE, status=-signal.SIGKILL, **dying(hanaper, place, **fault))
            old_or_whole(hanaper, before)


def old_or_whole(hanaper: Hanaper, before: dict[str, list[tuple[Any, ...]]]) -> None:
    """Nothing has been done, or all of it and the row that tells of it; then both are taken back."""
    if is_new(hanaper):
        take_back(hanaper, before["alembic_version"][1][0])
    assert rows(hanaper) == before


def test_an_upgrade_that_is_killed_between_its_statements_has_done_nothing_or_all(old: Hanaper) -> None:
    number = statements(old)
    chance = random.Random(number)  # noqa: S311 -- a test wants to be repeated
    upgrade_and_kill(old, [*chance.sample(range(1, number - THE_LAST), A_FEW), *range(number - THE_LAST, number + 1)])


@pytest.mark.slow
@pytest.mark.parametrize("since", OLDER)
def test_wherever_that_is(old: Hanaper) -> None:
    upgrade_and_kill(old, list(range(1, statements(old) + 1)))


def test_of_two_upgrades_at_once_each_finds_the_new_schema(old: Hanaper) -> None:
    with nothing_lost(old), ThreadPoolExecutor(2) as both:
        # Both expect that they succeed.
        list(both.map(lambda _: old.anew(*UPGRADE), range(2)))
        assert is_new(old)


@pytest.mark.slow
def test_nor_has_one_that_is_killed_at_any_moment_lost_anything(old: Hanaper) -> None:
    before = rows(old)
    chance = random.Random(KILLS)  # noqa: S311 -- as above
    environment = {**old.environment, "COVERAGE_PROCESS_CONFIG": ""}
    with nothing_lost(old):
        for _ in range(KILLS):
            # Two at once: one waits for the other, and goes on where that one is killed.
            with ThreadPoolExecutor(2) as both:
                list(both.map(lambda wait: _killed_after(old, environment, wait), (chance.uniform(0.3, 1.2),) * 2))
            old_or_whole(old, before)


def _killed_after(hanaper: Hanaper, environment: dict[str, str], wait_s: float) -> None:
    command = [*PROGRAM, *UPGRADE]
    with subprocess.Popen(
        command, cwd=hanaper.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(wait_s)
        process.kill()
        process.wait(LONGEST_S)


def test_an_upgrade_that_is_told_of_in_another_transaction_is_found(old: Hanaper) -> None:
    number = statements(old)
    with pytest.raises(AssertionError, match="schema_before"):
        upgrade_and_kill(old, list(range(number - THE_LAST, number + 1)), **mutant("row_after_upgrade"))


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_upgrade_that_commits_in_its_midst_is_found(old: Hanaper) -> None:
    before = rows(old)
    middle = statements(old) * 2 // 3
    old.anew(*UPGRADE, status=-signal.SIGKILL, **dying(old, middle, COMMITS="1"))
    assert rows(old) != before
    assert not is_new(old)
