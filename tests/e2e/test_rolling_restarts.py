"""Two replicas behind the proxy of docs/deploy, restarted one after the other: nobody notices (T40)."""

import logging
import os
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.support.load import History, load
from tests.support.processes import Hanaper, Server
from tests.support.proxy import free_port, proxy

RESTARTS = int(os.environ.get("HANAPER_TEST_ROLLING_RESTARTS", "3"))
"""Of both replicas."""
LONGEST_S = 60
_logger = logging.getLogger(__name__)


class Replica:
    """A server that is started again and again on one port."""

    def __init__(self, hanaper: Hanaper, stack: ExitStack, **environment: str) -> None:
        self.port = free_port()
        self._hanaper = hanaper
        self._stack = stack
        self._environment = environment
        self._running: tuple[ExitStack, Server] | None = None

    def start(self) -> None:
        """Start it, and wait until it says that it is ready, as an orchestrator does."""
        life = self._stack.enter_context(ExitStack())
        server = life.enter_context(self._hanaper.serving("--port", str(self.port), **self._environment))
        server.wait_for("serving")
        deadline = time.monotonic() + LONGEST_S
        while httpx.get(f"{server.url}/readyz", timeout=LONGEST_S, trust_env=False).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self._running = (life, server)

    def stop(self) -> float:
        """Stop it; returns how long that took."""
        assert self._running is not None
        life, server = self._running
        began = time.monotonic()
        assert server.stop() == 0
        took = time.monotonic() - began
        life.close()
        return took


def restart(hanaper: Hanaper, folder: Path, times: int, **environment: str) -> tuple[History, list[float]]:
    """Restart both replicas, one after the other, while clients ask the proxy; how long the stops took."""
    history, took = History(), list[float]()
    # The replicas' first, since whoever is restarted must not end before the clients.
    with ExitStack() as lives, ExitStack() as stack:
        replicas = [Replica(hanaper, lives, **environment) for _ in range(2)]
        for replica in replicas:
            replica.start()
        url = stack.enter_context(proxy([replica.port for replica in replicas], folder))
        clients = stack.enter_context(load(url, history, seed=1))
        for number in range(times):
            for replica in replicas:
                clients.wait_for_keys()
                took.append(replica.stop())
                replica.start()
            _logger.info("%d: %d answers, %d errors", number + 1, len(history.answers), errors(history))
        clients.wait_for_keys()
    _logger.info("%d stops, %.2f to %.2f s", len(took), min(took), max(took))
    return history, took


def errors(history: History) -> int:
    return len(history.unknown) + sum(status != 200 for status, _ in history.answers)


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_nobody_behind_the_proxy_notices(demo_on_either: Hanaper, tmp_path: Path, workers: str) -> None:
    default = {"HANAPER_DRAIN_DELAY": ""}
    history, took = restart(demo_on_either, tmp_path, RESTARTS, **default, HANAPER_WORKERS=workers)
    assert history.unknown == []
    assert history.unexpected == []
    assert history.refused == 0
    assert len(history.acknowledged) > 100 * RESTARTS
    assert max(took) < 10


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_without_the_delay_somebody_does(demo_on_either: Hanaper, tmp_path: Path) -> None:
    history, _ = restart(demo_on_either, tmp_path, 3, HANAPER_DRAIN_DELAY="0")
    assert errors(history) > 0
