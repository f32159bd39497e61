"""`hanaper audit prune`: what it says, what it refuses, and what is left when it is killed."""

import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.mutants import mutant
from tests.support.processes import Hanaper

pytestmark = pytest.mark.long

OLD = "2026-01-01"
LONG_AGO = "2020-02-03 04:05:06.000000"
A_FEW = 4
PRUNE = ("audit", "prune", "--before", OLD, "--yes")


@pytest.fixture
def old(demo_on_either: Hanaper) -> Hanaper:
    """An installation with rows of long ago, sealed in two parts, one of a batch among them, and rows of today."""
    demo_on_either("generate", "--generator", "1", "--quantity", "3")
    demo_on_either.sql("UPDATE audit_events SET at = :at", at=LONG_AGO)
    demo_on_either("audit", "seal")
    demo_on_either("api-key", "add", "shop")
    demo_on_either.sql("UPDATE audit_events SET at = :at", at=LONG_AGO)
    demo_on_either("audit", "seal")
    demo_on_either("generate", "--generator", "1", "--quantity", "3")
    demo_on_either("audit", "seal")
    return demo_on_either


def actions(hanaper: Hanaper) -> list[str]:
    """Oldest first."""
    return [row["action"] for row in reversed(hanaper("audit", "list", "--json").json)]


def test_old_rows_go_into_an_archive(old: Hanaper, tmp_path: Path) -> None:
    file = tmp_path / "archive"
    known = old("audit", "seal").stdout.strip()
    said = old(*PRUNE, "--archive", str(file), "--json").json
    assert (said["rows"], said["up_to"], said["archive"]) == (5, 5, str(file))
    assert said["checkpoint"].startswith("1:2:5:5:")
    assert file.stat().st_mode & 0o777 == 0o600
    assert actions(old) == ["generate", "audit prune"]
    for arguments in ((), ("--checkpoint", known), ("--checkpoint", said["checkpoint"])):
        whole = old("audit", "verify", "--json", *arguments).json
        assert (whole["clean"], whole["rows"], whole["pruned_up_to"]) == (True, 2, 5)
    assert "Rows up to 5 were pruned by this installation: verified from there on." in old("audit", "verify").stderr
    whole = old("audit", "verify", "--archive", str(file), "--json").json
    assert (whole["clean"], whole["rows"], whole["sealed"], whole["checkpoints"]) == (True, 5, 5, 1)
    # The batch that nothing tells of any more is not missed; one that came after is.
    assert old("check-store", "--json").json["findings"] == []
    again = old(*PRUNE)
    assert "Nothing to prune" in again.stderr
    file.write_text(file.read_text().replace('"generate"', '"activate"'))
    changed = old("audit", "verify", "--archive", str(file), "--json", status=1).json
    assert [finding["kind"] for finding in changed["findings"]] == ["edited"]
    old.sql("DELETE FROM audit_events WHERE action = 'generate'")
    missed = old("check-store", "--json", status=1).json["findings"]
    assert [each["kind"] for each in missed] == ["no_audit_row"]
    assert old("audit", "verify", "--json", status=1).json["first"] == 6


def test_what_it_refuses_changes_nothing(old: Hanaper, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    before = actions(old)
    for arguments, status, words in (
        (("--before", OLD), 65, "confirm with --yes"),
        (("--before", "2999-01-01", "--yes"), 65, "is a moment that has been"),
        ((*PRUNE[2:], "--archive", str(taken)), 65, "is there already"),
        ((*PRUNE[2:], "--archive", str(tmp_path / "none" / "file")), 65, "cannot be made"),
    ):
        assert words in old("audit", "prune", *arguments, status=status).stderr
    archive = ("--archive", str(taken), "--checkpoint", old("audit", "seal").stdout.strip())
    assert "name either" in old("audit", "verify", *archive, status=65).stderr
    assert "is no archive" in old("audit", "verify", "--archive", str(taken), status=65).stderr
    old.sql("UPDATE audit_events SET action = 'another' WHERE id = 3")
    assert "pruning would hide it" in old(*PRUNE, "--archive", str(tmp_path / "new"), status=1).stderr
    assert not (tmp_path / "new").exists()
    old.sql("UPDATE audit_events SET action = 'init --demo' WHERE id = 3")
    assert actions(old) == before


def test_somebody_with_the_database_alone_prunes_nothing(old: Hanaper) -> None:
    """Nor has he the command delete for him what he may not delete himself."""
    old.sql(
        "INSERT INTO audit_cuts (event_id, checkpoint, rows, hash, signed_at, kid, signature, last_batch, cut_at, mac) "
        "SELECT event_id, number, rows, hash, signed_at, kid, signature, 1, signed_at, hash FROM audit_checkpoints "
        "WHERE number = 2"
    )
    before = actions(old)
    assert "pruning would hide it" in old(*PRUNE, status=1).stderr
    assert old("audit", "verify", "--json", status=1).json["first"] == 1
    assert actions(old) == before


# --- killed ---


def dying(hanaper: Hanaper, at: int) -> dict[str, Any]:
    counted = str(hanaper.folder / "counted")
    return {**mutant("dies_at_statement"), "DIES_AT": str(at), "COUNTED": counted, "COVERAGE_PROCESS_CONFIG": ""}


def states(hanaper: Hanaper, places: Iterator[int] | range | list[int]) -> list[str]:
    """Prune, killed at each of some statements until it is through; what was found after each."""
    seen = []
    for place in places:
        hanaper.anew(*PRUNE, status=-signal.SIGKILL, **dying(hanaper, place))
        whole = hanaper("audit", "verify", "--json").json
        assert whole["clean"], (place, whole)
        told = [row["objects"] for row in hanaper("audit", "list", "--action", "audit prune", "--json").json]
        # No pruning without its row, and no row without it.
        assert [each["up_to"] for each in told] == ([] if whole["pruned_up_to"] is None else [whole["pruned_up_to"]])
        seen.append("pruned" if told else "whole")
        if not told:
            assert whole["rows"] == whole["sealed"] == 6, place
    return seen


def finished(hanaper: Hanaper) -> None:
    """What an interrupted pruning has left goes with the next one."""
    hanaper(*PRUNE)
    assert actions(hanaper) == ["generate", "audit prune"]
    assert hanaper("audit", "verify", "--json").json["pruned_up_to"] == 5
    assert hanaper("check-store", "--json").json["findings"] == []


def until_through(hanaper: Hanaper) -> list[str]:
    """At each statement, from the first one on, until one has pruned."""
    seen: list[str] = []
    place = 0
    while "pruned" not in seen:
        place += 1
        seen += states(hanaper, [place])
    return seen


def test_who_is_killed_while_pruning_has_pruned_nothing_or_leaves_what_counts_for_nothing(old: Hanaper) -> None:
    chance = random.Random(1)  # noqa: S311 -- a test wants to be repeated
    assert states(old, chance.sample(range(1, 20), A_FEW)) == ["whole"] * A_FEW
    old(*PRUNE)
    finished(old)


@pytest.mark.slow
def test_at_whichever_statement(old: Hanaper) -> None:
    seen = until_through(old)
    assert seen.count("whole") > 20
    finished(old)


def test_an_archive_is_lines_of_json(old: Hanaper, tmp_path: Path) -> None:
    old(*PRUNE, "--archive", str(tmp_path / "archive"))
    content = [json.loads(line) for line in (tmp_path / "archive").read_text().splitlines()]
    assert content[0]["hanaper audit archive"] == 1
    assert [line["row"][4] for line in content[1:-1]] == [
        "audit begins",
        "init",
        "init --demo",
        "generate",
        "api-key add",
    ]
