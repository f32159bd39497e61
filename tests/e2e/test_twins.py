"""The same request many times at once, to two processes, one of which may be killed (reliability.md T15)."""

import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select
from tests.support.processes import Hanaper
from tests.support.store_check import Findings, check
from tests.support.twins import OTHERS, REQUESTS, Request, Twins, replicas

from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

ROUNDS = int(os.environ.get("HANAPER_TEST_TWIN_ROUNDS", "50"))
ROUNDS_AT_ONCE = 50
"""On one installation."""
_logger = logging.getLogger(__name__)


@contextmanager
def twins(hanaper: Hanaper, seed: int) -> Iterator[Twins]:
    """Two processes, and a way to check what is stored."""
    with Storage.open(hanaper.settings) as storage, replicas(hanaper) as serving:
        yield Twins(serving, storage, random.Random(seed))  # noqa: S311 -- a test wants to be repeated


def check_store(hanaper: Hanaper, running: Twins) -> None:
    """Everything that was told is stored, and whole."""
    pem = (hanaper.data_dir / "public-keys" / "product-1.pem").read_bytes()
    with Storage.open(hanaper.settings) as storage:
        # What is left of large orders whose process was killed is there for nobody.
        staged = select(func.count()).where(LicenseKey.batch_id.in_(select(StagedBatch.batch_id)))
        left = storage.read(lambda session: session.scalars(staged).one())
        assert check(storage, pem, running.acknowledged) == Findings(without_batch=running.without_batch + left)


def go(running: Twins, requests: tuple[Request, ...], number: int) -> None:
    """A round: every other one with a kill, every third with other requests among them."""
    round_ = running.run(
        requests[number // 2 % len(requests)], kill=number % 2 == 1, others=OTHERS if number % 3 == 1 else 0
    )
    _logger.info("round %d, %s: %s, %d broken", number, round_.request, dict(round_.kinds), round_.broken)


FORGETTING = {
    "sqlite": [
        """CREATE TRIGGER forgetting AFTER INSERT ON idempotency_records
           BEGIN UPDATE idempotency_records SET scope = randomblob(32) WHERE scope = NEW.scope; END"""
    ],
    "postgresql": [
        """CREATE FUNCTION forgetting() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN NEW.scope := sha256(random()::text::bytea); RETURN NEW; END $$""",
        "CREATE TRIGGER forgetting BEFORE INSERT ON idempotency_records FOR EACH ROW EXECUTE FUNCTION forgetting()",
    ],
}
"""The planted fault: there is nothing at which twins could meet."""


def test_twins_are_carried_out_once_whoever_is_killed(demo_on_either: Hanaper, database_kind: str) -> None:
    with twins(demo_on_either, 1) as running:
        for number in range(4):
            go(running, ("generate", "activate"), number)
        assert running.replicas.kills == 2
        check_store(demo_on_either, running)
        # Were they not, it would be found.
        for statement in FORGETTING[database_kind]:
            demo_on_either.sql(statement)
        with pytest.raises(AssertionError, match="the answers differ"):
            running.run("generate", kill=False, others=0)
        with pytest.raises(AssertionError, match="License key already active"):
            running.run("activate", kill=False, others=0)


@pytest.mark.slow
@pytest.mark.parametrize("begin", range(0, ROUNDS, ROUNDS_AT_ONCE))
def test_twins_of_every_kind_are_carried_out_once_whoever_is_killed(demo_on_either: Hanaper, begin: int) -> None:
    end = min(begin + ROUNDS_AT_ONCE, ROUNDS)
    with twins(demo_on_either, begin) as running:
        for number in range(begin, end):
            go(running, REQUESTS, number)
        assert running.replicas.kills == end // 2 - begin // 2
        _logger.info("%d kills, %d batches", running.replicas.kills, len(running.acknowledged))
    check_store(demo_on_either, running)
