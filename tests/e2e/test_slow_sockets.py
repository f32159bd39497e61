"""A thousand slow clients are cut in time, and nobody else is kept waiting for them (T28)."""

import logging
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlencode

import httpx
import pytest
from tests.support.load import SAMPLE_KEY
from tests.support.processes import Hanaper
from tests.support.raw import connected

SOCKETS = int(os.environ.get("HANAPER_TEST_SLOW_SOCKETS", "1000"))
LONGEST_S = 60.0
DROP_S = 1.0
ORDERS = 300
ORDER = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}
_HEAD = b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
_BODY = urlencode(ORDER).encode()
KINDS: list[tuple[bytes, bytes]] = [
    (b"", b""),
    (_HEAD, b"X-A: b\r\n"),
    (_HEAD + b"Content-Length: 5000\r\n\r\n", b"a"),
    (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
]
"""What is sent first, and what again and again: nothing, a head in drops, a body in drops, an answer not read."""
_logger = logging.getLogger(__name__)


class SlowSockets:
    """Slow clients, and when each of them was cut."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.cut: dict[socket.socket, float] = {}
        self.began = time.monotonic()
        self._open: dict[socket.socket, bytes] = {}
        for number in range(SOCKETS):
            start, drop = KINDS[number % len(KINDS)]
            connection = stack.enter_context(connected(url))
            connection.sendall(start)
            connection.setblocking(False)
            self._open[connection] = drop

    def run(self) -> None:
        """Go on until all are cut, or for as long as that takes at most."""
        while self._open and time.monotonic() - self.began < LONGEST_S:
            for connection, drop in list(self._open.items()):
                if self._is_cut(connection, drop):
                    self.cut[connection] = time.monotonic() - self.began
                    del self._open[connection]
            time.sleep(DROP_S)

    def _is_cut(self, connection: socket.socket, drop: bytes) -> bool:
        try:
            if drop:
                connection.send(drop)
            with suppress(BlockingIOError):
                # The last kind reads nothing but the end: what there is before it is one answer.
                return not connection.recv(65_536)
        except ConnectionError:
            return True
        return False


@contextmanager
def many_files() -> Iterator[None]:
    """This process opens as many connections as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < SOCKETS + 200:
        pytest.skip(f"a process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def orders(url: str) -> list[float]:
    """How long orders take, in seconds, one after the other."""
    took = []
    with httpx.Client(base_url=url, trust_env=False, timeout=LONGEST_S) as client:
        for _ in range(ORDERS):
            began = time.monotonic()
            assert client.post("/api/v1/generate", data=ORDER).json()["response"]["code"] == 815
            took.append(time.monotonic() - began)
            time.sleep(0.02)
    return sorted(took)


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_slow_clients_are_cut_and_others_served(demo_on_either: Hanaper) -> None:
    with (
        many_files(),
        demo_on_either.serving("--workers", "2") as server,
        ExitStack() as stack,
    ):
        server.wait_for_workers(2)
        alone = orders(server.url)
        slow = SlowSockets(server.url, stack)
        thread = threading.Thread(target=slow.run)
        thread.start()
        beside = orders(server.url)
        thread.join()
    place = ORDERS * 99 // 100
    _logger.info("p99 beside %d slow clients: %.2f of that alone (%.0f ms)",
                 SOCKETS, beside[place] / alone[place], alone[place] * 1000)  # fmt: skip
    _logger.info("the last was cut after %.1f s", max(slow.cut.values()))
    assert len(slow.cut) == SOCKETS
