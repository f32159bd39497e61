"""A synchronous standby that is gone: nothing is acknowledged that it does not have, and nobody waits for it for long
(reliability.md T7)."""

import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs
from tests.faults.conftest import inside, serving
from tests.support.clients import Caller, Kind, Told, asking, nothing_lost
from tests.support.clusters import LONGEST_S, Cluster
from tests.support.mutants import mutant
from tests.support.processes import Hanaper

pytestmark = pytest.mark.long

PROMISE_S = 10
WRITES: tuple[Kind, ...] = ("generate", "create")
MOST_WAITING = 16 // 2 + 1
"""Half of the connections, and the writer's."""

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
COMMIT = "SELECT pg_logical_emit_message(true, 'test', '')"
END = {"cancelled": "pg_cancel_backend", "terminated": "pg_terminate_backend"}
BOUND = "the database was lost in the midst of a commit (no answer within 7 s)"
_logger = logging.getLogger(__name__)


@contextmanager
def gone(cluster: Cluster) -> Iterator[None]:
    """No standby is there, and nothing is confirmed."""
    cluster.set(synchronous_standby_names="gone")
    # It is so only when the checkpointer has heard of it.
    with ThreadPoolExecutor(1) as threads:
        try:
            probe = threads.submit(cluster.execute, COMMIT)
            while cluster.execute(WAITING) == [(0,)]:
                if probe.done():
                    probe = threads.submit(cluster.execute, COMMIT)
        finally:
            cluster.execute(end_waiting("cancelled"))
    yield
    cluster.set(synchronous_standby_names="")


def end_waiting(how: str) -> str:
    return f"SELECT {END[how]}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"  # noqa: S608 -- see above


def reasons_of(hanaper: Hanaper, cluster: Cluster, environment: Mapping[str, str] | None = None) -> set[str]:
    """Take the standby away and bring it back, and check what is to be seen from outside; why requests were refused."""
    # More of them than a process has connections, and many behind each that hangs.
    generating: list[Kind] = ["generate"] * 6
    kinds: list[Kind] = [*generating, *WRITES * 12, "verify"]
    with serving(hanaper, 1, environment) as caller:
        with asking(caller, *kinds, pause_s=0.1) as clients:
            clients.wait_for(200, *set(kinds))
            with gone(cluster):
                clients.wait_for(503, *set(WRITES), times=40)
                clients.wait_for(200, "verify", times=40)
                now = time.monotonic()
                ((waiting,),) = cluster.execute(WAITING)
            clients.wait_for(200, *set(kinds))
        clients.check()
        _logger.info("%s; %d commits waited at the end", clients, waiting)
        assert caller.server is not None
        reasons = {line["reason"] for line in caller.server.events("unavailable")}
    assert max(told.seconds for told in clients.told) < PROMISE_S
    first = min(told.at for told in clients.told if told.status == 503)
    meanwhile = [told for told in clients.told if first < told.at < now]
    assert not any(told.license_keys for told in meanwhile), "acknowledged without the standby"
    # Who only reads has not noticed.
    assert clients.count(503, "verify") == 0
    assert 0 < waiting <= MOST_WAITING
    nothing_lost(hanaper.settings, clients.acknowledged)
    return reasons


def test_every_request_is_answered_in_time_and_reading_goes_on(cluster: Cluster, hanaper: Hanaper) -> None:
    reasons = reasons_of(hanaper, cluster)
    # At first commits hang. Then nobody begins one that would hang behind them.
    assert BOUND in reasons
    assert "the database waits for its synchronous standby: nothing was stored" in reasons


def ended_while_waiting(cluster: Cluster, caller: Caller, how: str, kind: Kind, **headers: str) -> Told:
    """What is told whoever waits for a commit that waits for the standby, when somebody ends that."""
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(caller.ask, kind, **headers)
        until = time.monotonic() + LONGEST_S
        while cluster.execute(WAITING) == [(0,)]:
            assert not asked.done(), asked.result()
            assert time.monotonic() < until
            time.sleep(0.02)
        cluster.execute(end_waiting(how))
        return asked.result()


@pytest.mark.parametrize("how", END)
def test_a_commit_whose_wait_is_ended_by_somebody_else_is_not_acknowledged(
    cluster: Cluster, hanaper: Hanaper, how: str
) -> None:
    """The database calls a cancelled one a success, with a warning."""
    key = {"Idempotency-Key": "the-same-request"}
    with inside(hanaper) as caller:
        with gone(cluster), capture_logs() as logged:
            for kind in WRITES:
                assert ended_while_waiting(cluster, caller, how, kind).status == 503
            # What is seen in the database by now is not repeated as an answer either.
            assert ended_while_waiting(cluster, caller, how, "generate", **key).status == 503
            assert ended_while_waiting(cluster, caller, how, "generate", **key).status == 503
        refused = [line for line in logged if line["event"] == "unavailable"]
        assert [line["outcome"] for line in refused] == ["unknown"] * 4
        if how == "cancelled":
            assert all("canceling wait for synchronous replication" in line["reason"] for line in refused), refused
        before = cluster.execute("SELECT count(*) FROM batches", database="hanaper")
        told = caller.ask("generate", **key)
        assert told.status == 200
        assert cluster.execute("SELECT count(*) FROM batches", database="hanaper") == before, "it was there already"
    nothing_lost(hanaper.settings, told.license_keys)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how"), [("deaf", "cancelled"), ("credulous", "cancelled"), ("credulous", "terminated")]
)
def test_a_server_that_believes_the_database_is_found_out(
    cluster: Cluster, hanaper: Hanaper, name: str, how: str
) -> None:
    with serving(hanaper, 1, mutant(name)) as caller, gone(cluster):
        for kind in WRITES:
            assert ended_while_waiting(cluster, caller, how, kind).status == 200


@pytest.mark.slow
def test_a_server_that_repeats_what_the_standby_does_not_have_is_found_out(cluster: Cluster, hanaper: Hanaper) -> None:
    key = {"Idempotency-Key": "the-same-request"}
    with serving(hanaper, 1, mutant("forgetful")) as caller, gone(cluster):
        assert ended_while_waiting(cluster, caller, "cancelled", "generate", **key).status == 503
        assert caller.ask("generate", **key).status == 200


@pytest.mark.slow
def test_a_server_that_waits_for_ever_is_found_out(cluster: Cluster, hanaper: Hanaper) -> None:
    reasons = reasons_of(hanaper, cluster, mutant("endless"))
    # Who asks is answered all the same, by the second bound. But the commits hang until somebody else ends them.
    assert BOUND not in reasons
    assert "the request was not done within 9 s" in reasons
