"""A network to PostgreSQL that is slow, breaks, swallows or cuts (reliability.md T8)."""

import gc
import logging
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import quantiles

import pytest
from structlog.testing import capture_logs
from tests.faults.conftest import DATABASE, inside, serving
from tests.support.amounts import amount
from tests.support.bad_network import Proxy, proxied
from tests.support.clients import Caller, Clients, Kind, asking, nothing_lost
from tests.support.clusters import ROLE, Cluster
from tests.support.mutants import mutant
from tests.support.processes import Hanaper

from hanaper.refusal import Unavailable
from hanaper.settings import Settings
from hanaper.storage import engine, postgresql, transactions
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

PROMISE_S = 10
RECOVERY_S = 5
POOL_SIZE = 16
KINDS: tuple[Kind, ...] = ("generate", "create", "verify")
COMMITTED = len(b"C\0\0\0\x0bCOMMIT\0" + b"Z\0\0\0\x05I")
"""What PostgreSQL answers to COMMIT."""

LONGEST_CUT = 20
CONNECTIONS = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}'"  # noqa: S608 -- see above
_logger = logging.getLogger(__name__)


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    with proxied(cluster.port) as proxy:
        yield proxy


@pytest.fixture
def behind(hanaper: Hanaper, proxy: Proxy) -> Hanaper:
    """The command, connected through the proxy."""
    return replace(hanaper, environment={**hanaper.environment, "HANAPER_DATABASE_URL": proxy.url(DATABASE)})


def batches(cluster: Cluster) -> int:
    ((count,),) = cluster.execute("SELECT count(*) FROM batches", database=DATABASE)
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("reset", [False, True])
def test_an_answer_that_is_cut_off_is_no_answer(
    cluster: Cluster, behind: Hanaper, proxy: Proxy, *, reset: bool
) -> None:
    """To a bulk statement, and to COMMIT, after each number of bytes."""
    proxy.reset = reset
    acknowledged: list[str] = []
    with inside(behind) as caller, capture_logs() as logged:
        before = batches(cluster)
        for proxy.cut_after in range(LONGEST_CUT + 1):
            proxy.marker = b"licenseKeys"
            assert caller.ask("generate").status == 503
            proxy.marker = b"COMMIT"
            told = caller.ask("create")
            # From the last byte on it is a whole answer, whatever follows it.
            assert told.status == (200 if proxy.cut_after >= COMMITTED else 503)
            acknowledged += told.license_keys
            proxy.marker = None
            for kind in KINDS:
                told = caller.ask(kind)
                assert told.status == 200
                acknowledged += told.license_keys
        # All of them were committed: that is what nobody could know.
        assert batches(cluster) - before == 2 * (LONGEST_CUT + 1)
        assert proxy.cuts == 2 * (LONGEST_CUT + 1)
    refused = [line["outcome"] for line in logged if line["event"] == "unavailable"]
    assert refused == ["unknown"] * (LONGEST_CUT + 1 + COMMITTED)
    nothing_lost(behind.settings, acknowledged)


def slow(proxy: Proxy) -> None:
    proxy.latency_s = 0.1


def sliced(proxy: Proxy) -> None:
    proxy.slice_bytes = 1


def broken(proxy: Proxy) -> None:
    proxy.break_all()


def cut(proxy: Proxy) -> None:
    proxy.cut_after, proxy.marker = 3, b"licenseKeys"


def cut_and_reset(proxy: Proxy) -> None:
    proxy.cut_after, proxy.marker, proxy.reset = 3, b"COMMIT", True


def swallowed(proxy: Proxy) -> None:
    proxy.hold()


def good_again(proxy: Proxy) -> None:
    proxy.latency_s, proxy.slice_bytes, proxy.marker, proxy.reset = 0.0, 65_536, None, False
    proxy.release()


Fault = Callable[[Proxy], None]
FAULTS: tuple[Fault, ...] = (slow, sliced, broken, cut, cut_and_reset, swallowed)


def slowest(clients: Clients, since: float, until: float) -> float:
    """The 99th percentile of what took so long, in seconds."""
    taken = [told.seconds for told in clients.told if since < told.at < until]
    return quantiles(taken, n=100)[98]


def live_through(
    clients: Clients, proxy: Proxy, fault: Fault, *, for_s: float, baseline_s: float
) -> tuple[float, float]:
    """A fault for a while; the seconds until all goes well again, and the slowest before and some time after."""
    clients.wait_for(200, *KINDS)
    began = time.monotonic()
    time.sleep(baseline_s)
    broke = time.monotonic()
    while time.monotonic() < broke + for_s:
        fault(proxy)
        time.sleep(0.2)
    good_again(proxy)
    took = clients.wait_for(200, *KINDS)
    time.sleep(max(0, RECOVERY_S * baseline_s - took))
    healed = time.monotonic()
    time.sleep(baseline_s)
    before, after = slowest(clients, began, broke), slowest(clients, healed, time.monotonic())
    _logger.info("%s: %s; %.2f s until the first 200 of each", fault.__name__, clients, took)
    _logger.info("p99 before %.3f s, after %.3f s", before, after)
    return took, after / before


def at_rest(cluster: Cluster, clients: Clients, proxy: Proxy, *, processes: int) -> None:
    """That all was answered, and no connection was forgotten."""
    clients.check()
    assert max(told.seconds for told in clients.told) < PROMISE_S
    ((connections,),) = cluster.execute(CONNECTIONS)
    assert connections <= processes * POOL_SIZE
    assert proxy.open_connections <= processes * POOL_SIZE


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything takes a quarter of its time: the test is a short one."""
    monkeypatch.setattr(engine, "LONGEST_EXCHANGE_S", 1.75)
    monkeypatch.setattr(transactions, "LONGEST_REQUEST_S", 2.25)
    monkeypatch.setattr(engine, "POOL_TIMEOUT_S", 1.25)
    monkeypatch.setitem(postgresql.CONNECT_ARGUMENTS, "connect_timeout", 2)


@pytest.mark.usefixtures("impatient")
def test_a_network_that_fails_costs_no_acknowledged_license_key(
    cluster: Cluster, behind: Hanaper, proxy: Proxy
) -> None:
    with inside(behind) as caller:
        with asking(caller, *KINDS, *KINDS, pause_s=0.01) as clients:
            for fault in FAULTS:
                live_through(clients, proxy, fault, for_s=3 if fault is swallowed else 0.4, baseline_s=0.2)
        at_rest(cluster, clients, proxy, processes=1)
    assert clients.count(503) > 0
    nothing_lost(behind.settings, clients.acknowledged)


def test_an_attempt_to_connect_that_ends_leaves_no_socket_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own garbage would keep it until it is collected, which may be long after."""
    monkeypatch.setitem(postgresql.CONNECT_ARGUMENTS, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://{ROLE}@127.0.0.1:{silent.getsockname()[1]}/{DATABASE}"
        with Storage.open(Settings(database_url=url)) as storage:
            gc.collect()
            gc.disable()
            before = open_files()
            with pytest.raises(Unavailable, match="timeout expired"):
                storage.ping()
            after = open_files()
            gc.enable()
    assert after == before


def open_files() -> set[str]:
    return {file.name for file in Path("/proc/self/fd").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("_", range(amount(1, 10)))
@pytest.mark.parametrize("fault", FAULTS)
def test_all_is_well_again_soon_after(cluster: Cluster, behind: Hanaper, proxy: Proxy, fault: Fault, _: int) -> None:
    with serving(behind) as caller:
        with asking(caller, *KINDS, *KINDS, *KINDS) as clients:
            for_s = 30 if fault is swallowed else 10
            took, slower = live_through(clients, proxy, fault, for_s=for_s, baseline_s=2)
        at_rest(cluster, clients, proxy, processes=2)
    assert took < RECOVERY_S
    # The machine may have other things to do; a request that waits for what is gone takes hundreds of times as long.
    assert slower < 10
    nothing_lost(behind.settings, clients.acknowledged)


def longest_of(caller: Caller, proxy: Proxy) -> float:
    """How long a request takes at most while nothing arrives any more."""
    with asking(caller, *KINDS, *KINDS, *KINDS) as clients:
        clients.wait_for(200, *KINDS)
        proxy.hold()
        time.sleep(2 * PROMISE_S)
        proxy.release()
        clients.wait_for(200, *KINDS)
    return max(told.seconds for told in clients.told)


@pytest.mark.slow
def test_a_server_that_waits_for_the_network_is_found_out(behind: Hanaper, proxy: Proxy) -> None:
    with serving(behind, environment=mutant("patient")) as caller:
        assert longest_of(caller, proxy) > PROMISE_S


@pytest.mark.slow
def test_a_server_that_takes_no_answer_for_one_is_found_out(behind: Hanaper, proxy: Proxy) -> None:
    proxy.cut_after = 3
    with serving(behind, environment=mutant("credulous")) as caller:
        proxy.marker = b"licenseKeys"
        assert caller.ask("generate").status == 200
        proxy.marker = b"COMMIT"
        assert caller.ask("create").status == 200
