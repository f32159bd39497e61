"""Whatever is killed whenever: what was acknowledged is stored, and what is stored is whole (reliability.md T1)."""

import logging
import os
from pathlib import Path

import pytest
from tests.support.kills import FIVE_KILLS, TEN_KILLS, Killer, Life
from tests.support.mutants import mutant
from tests.support.processes import Hanaper
from tests.support.store_check import Findings, Unsettled, check, check_settled

from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

CYCLES = int(os.environ.get("HANAPER_TEST_KILL_CYCLES", "30"))
CYCLES_AT_ONCE = 30
"""On one installation; more of them are spread over several, so that a test can remember what it was told."""
HISTORIES = os.environ.get("HANAPER_TEST_HISTORIES")
"""A folder for what the clients noted; else it is in the folder of the test."""
ENOUGH_FOR_A_MUTANT = 5
_logger = logging.getLogger(__name__)


def killer_of(hanaper: Hanaper, seed: int, **environment: str) -> Killer:
    kind = "postgresql" if "HANAPER_DATABASE_URL" in hanaper.environment else "sqlite"
    folder = hanaper.folder if HISTORIES is None else Path(HISTORIES)
    return Killer(hanaper, seed=seed, history=folder / f"kills-{kind}-{seed}.jsonl", **environment)


def checked(hanaper: Hanaper, killer: Killer) -> tuple[Findings, Unsettled]:
    # A storage of its own: nothing is known but what the files, or the database server, have kept.
    with Storage.open(hanaper.settings) as storage:
        pem = (hanaper.data_dir / "public-keys" / "product-1.pem").read_bytes()
        found = check(storage, pem, killer.book.acknowledged), check_settled(storage, killer.book.answers)
    _logger.info("%s; %s", killer, found)
    return found


def kill(hanaper: Hanaper, kills: int, seed: int, *lives: Life) -> None:
    """Kill servers, and find nothing wrong with what they leave."""
    killer = killer_of(hanaper, seed)
    while killer.kills < kills:
        killer.kill(*lives)
    # It was a real test: there was something to lose, and requests were under way when the server was killed.
    assert len(killer.book.known) > killer.kills
    assert killer.book.lost_answers > killer.kills
    killer.settle()
    assert checked(hanaper, killer) == (Findings(), Unsettled())
    assert killer.book.unexpected == []
    assert killer.book.differing == 0
    assert killer.book.replays > killer.kills
    assert hanaper("check-store", "--json").json["findings"] == []


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(demo_on_either: Hanaper) -> None:
    kill(demo_on_either, 5, 7, *FIVE_KILLS)


@pytest.mark.slow
@pytest.mark.parametrize("begin", range(0, CYCLES, CYCLES_AT_ONCE))
def test_nor_when_it_is_killed_again_and_again(demo_on_either: Hanaper, begin: int) -> None:
    kill(demo_on_either, min(CYCLES_AT_ONCE, CYCLES - begin), begin, *TEN_KILLS)


def found_on(name: str, hanaper: Hanaper) -> tuple[Findings, Unsettled]:
    """What the same check finds, of which there has to be something after a few kills at the latest."""
    killer = killer_of(hanaper, 1, **mutant(name))
    found = Findings(), Unsettled()
    while found[0] == Findings() and killer.kills < ENOUGH_FOR_A_MUTANT:
        killer.kill("killed at work")
        found = checked(hanaper, killer)
    return found


EITHER = [pytest.param("sqlite"), pytest.param("postgresql", marks=pytest.mark.slow)]


@pytest.mark.parametrize("database_kind", EITHER)
def test_an_answer_before_its_commit_is_found(demo_on_either: Hanaper) -> None:
    findings, _ = found_on("early_answer", demo_on_either)
    assert findings.lost > 0
    assert findings.misplaced > 0
    assert findings.torn == 0


@pytest.mark.parametrize("database_kind", EITHER)
def test_a_batch_that_is_committed_before_its_license_keys_is_found(demo_on_either: Hanaper) -> None:
    findings, _ = found_on("torn_batch", demo_on_either)
    assert findings.torn > 0
    assert findings.unsigned > 0
    assert findings.lost == 0


@pytest.mark.parametrize("database_kind", EITHER)
def test_an_idempotency_record_that_is_committed_after_its_batch_is_found(demo_on_either: Hanaper) -> None:
    killer = killer_of(demo_on_either, 1, **mutant("late_record"))
    killer.kill("killed at work", "killed at work")
    killer.settle()
    # Who asked again was given other license keys; those of the first time belong to nobody.
    findings, unsettled = checked(demo_on_either, killer)
    assert findings == Findings()
    assert unsettled.orphans > 0
    assert unsettled.miscounted == 1
