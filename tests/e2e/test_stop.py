"""A server that is told to stop: what it has carried out it has answered, and who need not notice does not (T40)."""

import logging
import os
import signal
import time
from collections import Counter

import httpx
import pytest
from sqlalchemy import text
from tests.support.load import CLIENTS, History, load
from tests.support.mutants import mutant
from tests.support.processes import Hanaper
from tests.support.store_check import Findings, check

from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

STOPS = int(os.environ.get("HANAPER_TEST_STOPS", "1"))
"""Of each kind."""
MORE = [("sqlite", "2"), ("postgresql", "1")]
SLOW = pytest.mark.slow
LONGEST_STOP_S = 10
ENOUGH_FOR_A_MUTANT = 4
NOT_SENT = "ConnectionRefusedError"
NEVER = {"HANAPER_DRAIN_DELAY": "600"}
FORM = {"api_key": "2964c3c9-0b5d-4d89-b3ac-4668f30bc492", "generator_id": "1", "quantity": "1"}
_logger = logging.getLogger(__name__)


def unanswered(hanaper: Hanaper, history: History) -> int:
    """How many batches are stored that nobody was given. All that was given has to be stored."""
    pem = (hanaper.data_dir / "public-keys" / "product-1.pem").read_bytes()
    with Storage.open(hanaper.settings) as storage:
        assert check(storage, pem, history.acknowledged) == Findings()
        stored = storage.read(lambda session: session.scalars(text("SELECT signature FROM batches")).all())
    return len({bytes(signature) for signature in stored} - {answer.signature for answer in history.acknowledged})


def stop_under_load(hanaper: Hanaper, history: History, number: int, *arguments: str, **environment: str) -> None:
    with (
        hanaper.serving(*arguments, **environment) as server,
        load(server.url, history, seed=len(history.answers)) as clients,
    ):
        clients.wait_for_keys()
        time.sleep(0.2)
        began = time.monotonic()
        assert server.stop(number) == 0
        _logger.info("ended within %.2f s", time.monotonic() - began)


@pytest.mark.parametrize(
    ("database_kind", "workers"),
    [("sqlite", "1"), ("postgresql", "2"), *(pytest.param(*kind, marks=SLOW) for kind in MORE)],
)
def test_whoever_asks_a_server_that_is_stopped_is_answered(demo_on_either: Hanaper, workers: str) -> None:
    history = History()
    for _ in range(STOPS):
        stop_under_load(demo_on_either, history, signal.SIGTERM, "--workers", workers, HANAPER_DRAIN_DELAY="1")
    lost = Counter(history.unknown)
    found = unanswered(demo_on_either, history)
    _logger.info("%d stops, %d answers, %d unanswered, %s", STOPS, len(history.answers), found, lost)
    assert found == 0
    assert len(history.acknowledged) > CLIENTS
    assert history.unexpected == []
    # They knew that nothing had been sent.
    assert set(lost) <= {NOT_SENT}


@pytest.mark.parametrize("workers", [pytest.param("1", marks=SLOW), "2"])
def test_without_a_delay_what_was_carried_out_is_answered_as_well(demo: Hanaper, workers: str) -> None:
    history = History()
    for _ in range(STOPS):
        # With answers that come late: there is always something under way.
        late = mutant("late_answers")
        stop_under_load(demo, history, signal.SIGINT, "--workers", workers, **NEVER, **late)
    found = unanswered(demo, history)
    _logger.info("%d stops, %d answers, %d unanswered", STOPS, len(history.answers), found)
    assert found == 0
    assert len(history.acknowledged) >= CLIENTS
    assert history.unexpected == []


def test_a_server_that_does_not_wait_for_what_is_under_way_is_found(demo: Hanaper) -> None:
    history, found = History(), 0
    for _ in range(ENOUGH_FOR_A_MUTANT):
        stop_under_load(demo, history, signal.SIGINT, **NEVER, **mutant("hasty_end"))
        found = found or unanswered(demo, history)
        _logger.info("%d answers, %d unanswered", len(history.answers), found)
        if found:
            break
    assert found > 0


@pytest.mark.parametrize("workers", [pytest.param(1, marks=SLOW), 2])
def test_a_server_says_that_it_stops_and_serves_on_until_it_does(demo: Hanaper, workers: int) -> None:
    with (
        demo.serving("--workers", str(workers), **NEVER) as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        server.wait_for("Application startup complete.", times=workers)
        assert client.get("/readyz").text == "ready\n"
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("asked to stop", times=workers)
        # A second one changes nothing.
        server.process.send_signal(signal.SIGTERM)
        ready = client.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "stopping\n")
        assert client.get("/healthz").status_code == 200
        answers = [client.post("/api/v1/generate", data=FORM) for _ in range(5)]
        assert {answer.json()["response"]["code"] for answer in answers} == {815}
        assert {answer.headers["connection"] for answer in [ready, *answers]} == {"close"}
        # An interrupt cuts the delay short.
        assert server.stop(signal.SIGINT) == 0
        assert server.events("stopped")
        with pytest.raises(httpx.ConnectError):
            client.get("/healthz")


@SLOW
@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_at_rest_ends_in_time(demo: Hanaper, workers: int) -> None:
    with demo.serving("--workers", str(workers), HANAPER_DRAIN_DELAY="") as server:
        server.wait_for("Application startup complete.", times=workers)
        began = time.monotonic()
        assert server.stop() == 0
        took = time.monotonic() - began
    _logger.info("ended within %.2f s", took)
    assert took < LONGEST_STOP_S


@SLOW
def test_a_worker_that_is_stopped_leaves_the_port_to_the_others(demo: Hanaper) -> None:
    with demo.serving("--workers", "2", HANAPER_DRAIN_DELAY="1") as server:
        url = server.url
        server.wait_for("Application startup complete.", times=2)
        first, _ = server.workers
        os.kill(first, signal.SIGTERM)
        history = History()
        with load(url, history, seed=1):
            server.wait_for_workers(3)
            server.wait_for("Application startup complete.", times=3)
        assert history.unknown == []
        assert {status for status, _ in history.answers} == {200}
        assert server.stop() == 0
