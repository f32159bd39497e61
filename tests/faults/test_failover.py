"""The primary dies under load and its standby takes over (reliability.md T6)."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.conftest import DATABASE, serving
from tests.support.amounts import amount
from tests.support.clients import Kind, asking, lost, nothing_lost
from tests.support.clusters import LONGEST_S, ROLE, Cluster, running
from tests.support.processes import Hanaper

from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

KINDS: tuple[Kind, ...] = ("generate", "create")
RECOVERY_S = 10
LAG_S = 0.3
_logger = logging.getLogger(__name__)


@pytest.fixture
def standby(cluster: Cluster, place: Path) -> Iterator[Cluster]:
    with running(cluster.standby(place / "standby")) as standby:
        yield standby


def fail_over(cluster: Cluster, standby: Cluster, hanaper: Hanaper) -> list[str]:
    """Kill the primary under load and promote the standby; what had been acknowledged by either."""
    both = (
        f"postgresql://{ROLE}@/{DATABASE}?host=127.0.0.1:{cluster.port}&host=127.0.0.1:{standby.port}"
        "&target_session_attrs=read-write"
    )
    with serving(hanaper, environment={"HANAPER_DATABASE_URL": both}) as caller:
        with asking(caller, *("generate",) * 5, *("create",) * 3) as clients:
            clients.wait_for(200, *KINDS)
            # The sender, not the receiver: what is in the network when the primary dies still arrives.
            os.kill(cluster.child("walsender"), signal.SIGSTOP)
            time.sleep(LAG_S)
            cluster.kill()
            standby.promote()
            took = clients.wait_for(200, *KINDS)
        clients.check()
    _logger.info("%s; first 200 of each %.2f s after the promotion", clients, took)
    assert took < RECOVERY_S
    assert clients.count(503) > 0
    return clients.acknowledged


def follows(cluster: Cluster, how: str) -> None:
    """Wait until the standby follows."""
    until = time.monotonic() + LONGEST_S
    while cluster.execute("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'") != [(how,)]:
        assert time.monotonic() < until, cluster.log
        time.sleep(0.02)


@pytest.mark.parametrize(
    "_", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, amount(2, 100)))]
)
def test_a_synchronous_standby_has_all_that_was_acknowledged(
    cluster: Cluster, standby: Cluster, hanaper: Hanaper, _: int
) -> None:
    cluster.set(synchronous_standby_names="standby")
    follows(cluster, "sync")
    acknowledged = fail_over(cluster, standby, hanaper)
    nothing_lost(hanaper.settings.model_copy(update={"database_url": standby.url(DATABASE)}), acknowledged)


@pytest.mark.slow
@pytest.mark.parametrize("_", range(amount(1, 20)))
def test_an_asynchronous_one_has_not(cluster: Cluster, standby: Cluster, hanaper: Hanaper, _: int) -> None:
    """What docs/settings.md warns of is so, and this test can find it."""
    follows(cluster, "async")
    acknowledged = fail_over(cluster, standby, hanaper)
    after = hanaper.settings.model_copy(update={"database_url": standby.url(DATABASE)})
    with Storage.open(after) as storage:
        missing = lost(storage, acknowledged)
    _logger.info("%d of %d acknowledged license keys are lost", len(missing), len(acknowledged))
    assert missing
