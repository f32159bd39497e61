"""Whatever is killed whenever: what was acknowledged is stored, and what is stored is whole (reliability.md T1)."""

import logging
import os

import pytest
from tests.support.kills import TEN_KILLS, Killer
from tests.support.mutants import mutant
from tests.support.processes import Hanaper
from tests.support.store_check import Findings, check

from hanaper.storage.transactions import Storage

CYCLES = int(os.environ.get("HANAPER_TEST_KILL_CYCLES", "30"))
CYCLES_AT_ONCE = 30
"""On one installation; more of them are spread over several, so that a test can remember what it was told."""
ENOUGH_FOR_A_MUTANT = 5
_logger = logging.getLogger(__name__)


def checked(hanaper: Hanaper, killer: Killer) -> Findings:
    # A storage of its own: nothing is known but what the files, or the database server, have kept.
    with Storage.open(hanaper.settings) as storage:
        pem = (hanaper.data_dir / "public-keys" / "product-1.pem").read_bytes()
        findings = check(storage, pem, killer.history.acknowledged)
    _logger.info("%s; %s", killer, findings)
    return findings


@pytest.mark.parametrize("begin", range(0, CYCLES, CYCLES_AT_ONCE))
def test_nothing_acknowledged_is_lost_when_the_server_is_killed(demo_on_either: Hanaper, begin: int) -> None:
    killer = Killer(demo_on_either, seed=begin)
    while killer.kills < min(CYCLES_AT_ONCE, CYCLES - begin):
        killer.kill(*TEN_KILLS)
    assert checked(demo_on_either, killer) == Findings()
    assert killer.history.unexpected == []
    # It was a real test: there was something to lose, and requests were under way when the server was killed.
    assert len(killer.history.acknowledged) > killer.kills
    assert len(killer.history.unknown) > killer.kills


def findings_on(name: str, hanaper: Hanaper) -> Findings:
    """What the same check finds, of which there has to be something after a few kills at the latest."""
    killer = Killer(hanaper, seed=1, **mutant(name))
    findings = Findings()
    while findings == Findings() and killer.kills < ENOUGH_FOR_A_MUTANT:
        killer.kill("killed at work")
        findings = checked(hanaper, killer)
    return findings


def test_an_answer_before_its_commit_is_found(demo_on_either: Hanaper) -> None:
    findings = findings_on("early_answer", demo_on_either)
    assert findings.lost > 0
    assert findings.misplaced > 0
    assert findings.torn == 0


def test_a_batch_that_is_committed_before_its_license_keys_is_found(demo_on_either: Hanaper) -> None:
    findings = findings_on("torn_batch", demo_on_either)
    assert findings.torn > 0
    assert findings.unsigned > 0
    assert findings.lost == 0
