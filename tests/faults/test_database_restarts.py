"""PostgreSQL ends and comes back, or loses processes, while clients are at work (reliability.md T5)."""

import logging
import time

import pytest
from tests.faults.conftest import inside, serving
from tests.support.amounts import amount
from tests.support.clients import Kind, asking, nothing_lost
from tests.support.clusters import ROLE, Cluster
from tests.support.processes import Hanaper

pytestmark = pytest.mark.long

KINDS: tuple[Kind, ...] = ("generate", "create", "verify")
CLIENTS: tuple[Kind, ...] = ("generate",) * 4 + ("create",) * 3 + ("verify",)
RECOVERY_S = 2
MURDER = f"""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}' AND state <> 'idle' LIMIT 2
"""  # noqa: S608 -- see above
_logger = logging.getLogger(__name__)


def lose_nothing(cluster: Cluster, hanaper: Hanaper, *, workers: int, restarts: int, rounds: int) -> float:
    """Restart the database and kill its processes; the longest time from its first word to ours, in seconds."""
    longest = 0.0
    with serving(hanaper, workers) if workers else inside(hanaper) as caller:
        with asking(caller, *CLIENTS) as clients:
            for number in range(restarts):
                clients.wait_for(200, *KINDS)
                cluster.restart("fast" if number % 2 else "immediate")
                longest = max(longest, clients.wait_for(200, *KINDS))
            murdered = 0
            for _ in range(rounds):
                murdered += len(cluster.execute(MURDER))
                time.sleep(0.05)
            clients.wait_for(200, *KINDS)
        clients.check()
    _logger.info("%s; %d murdered; at most %.2f s until the first 200 of each", clients, murdered, longest)
    assert clients.count(503) > 0, "nobody has noticed"
    assert murdered > 0
    nothing_lost(hanaper.settings, clients.acknowledged)
    return longest


def test_restarts_and_murders_cost_no_acknowledged_license_key(cluster: Cluster, hanaper: Hanaper) -> None:
    lose_nothing(cluster, hanaper, workers=0, restarts=2, rounds=20)


@pytest.mark.slow
@pytest.mark.parametrize("_", range(amount(1, 30)))
def test_many_restarts_and_murders_cost_no_acknowledged_license_key(cluster: Cluster, hanaper: Hanaper, _: int) -> None:
    assert lose_nothing(cluster, hanaper, workers=2, restarts=6, rounds=150) < RECOVERY_S
