"""A thousand slow clients are cut in time, and nobody else is kept waiting for them (T28)."""

import logging
import os
import resource
import select
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.support.load import SAMPLE_KEY
from tests.support.processes import Hanaper, Server
from tests.support.raw import connected

SOCKETS = int(os.environ.get("HANAPER_TEST_SLOW_SOCKETS", "1000"))
LONGEST_S = 60.0
OPENING_S = 5.0
DROP_S = 1.0
ORDERS = 300
ORDER = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}
_HEAD = b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
_ASK = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
KINDS: dict[str, tuple[bytes, bytes]] = {
    "silent": (b"", b""),
    "head in drops": (_HEAD, b"X-A: b\r\n"),
    "body in drops": (_HEAD + b"Content-Length: 5000\r\n\r\n", b"a"),
    "idle": (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
}
"""What is sent first, and what again and again."""
NOT_READING = "answers not read"
NOT_READING_EVERY = 100
"""One of so many: each costs the server a second of work, and the kernel megabytes."""
_logger = logging.getLogger(__name__)


class SlowSockets:
    """Slow clients, and when each of them was cut: seconds from the moment it was connected."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.cut: dict[str, list[float]] = defaultdict(list)
        self._port = int(server.url.rpartition(":")[2])
        self._poll = select.poll()
        self._open: dict[int, tuple[socket.socket, str, float]] = {}
        kinds = list(KINDS)
        for number in range(SOCKETS):
            # Not all in one moment, in which the server would have to accept them one after the other.
            time.sleep(OPENING_S / SOCKETS)
            kind = NOT_READING if number % NOT_READING_EVERY == 0 else kinds[number % len(kinds)]
            connection = stack.enter_context(connected(server.url))
            now = time.monotonic()
            if kind == NOT_READING:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            connection.sendall(_ASK * 60 if kind == NOT_READING else KINDS[kind][0])
            connection.setblocking(False)
            self._open[connection.fileno()] = connection, kind, now
            # Who does not read does not see the end either: the server is asked about these.
            if kind != NOT_READING:
                self._poll.register(connection, select.POLLIN)

    def run(self) -> None:
        """Go on until all are cut, or for as long as that takes at most."""
        ends, next_drop = time.monotonic() + LONGEST_S, 0.0
        while self._open and time.monotonic() < ends:
            for number, _ in self._poll.poll(50):
                if self._is_cut(self._open[number][0]):
                    self._poll.unregister(number)
                    self._end(number)
            if time.monotonic() >= next_drop:
                next_drop = time.monotonic() + DROP_S
                self._drop()
                self._look_from_the_other_end()

    def _drop(self) -> None:
        for connection, kind, _ in self._open.values():
            if drop := KINDS.get(kind, (b"", b""))[1]:
                with suppress(ConnectionError):
                    connection.send(drop)

    def _look_from_the_other_end(self) -> None:
        there = clients_of(self._port)
        for number, (connection, kind, _) in list(self._open.items()):
            if kind == NOT_READING and connection.getsockname()[1] not in there:
                self._end(number)

    def _end(self, number: int) -> None:
        _, kind, since = self._open.pop(number)
        self.cut[kind].append(time.monotonic() - since)

    def _is_cut(self, connection: socket.socket) -> bool:
        try:
            return not connection.recv(65_536)
        except ConnectionError:
            return True


def clients_of(port: int) -> set[int]:
    """Ports of those whose connections to a port of this machine stand, as the kernel sees it (proc(5), net/tcp)."""
    established, found = "01", set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        here, there, state = line.split()[1:4]
        if state == established and int(here.rpartition(":")[2], 16) == port:
            found.add(int(there.rpartition(":")[2], 16))
    return found


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
        demo_on_either.serving("--workers", "2", HANAPER_OPENAPI="true") as server,
        ExitStack() as stack,
    ):
        server.wait_for_workers(2)
        alone = orders(server.url)
        slow = SlowSockets(server, stack)
        thread = threading.Thread(target=slow.run)
        thread.start()
        beside = orders(server.url)
        thread.join()
    place = ORDERS * 99 // 100
    _logger.info("p99 beside %d slow clients: %.2f of that alone (%.0f ms)",
                 SOCKETS, beside[place] / alone[place], alone[place] * 1000)  # fmt: skip
    for kind, after_s in sorted(slow.cut.items()):
        _logger.info("%s: %d, cut after %.2f to %.2f s", kind, len(after_s), min(after_s), max(after_s))
    assert sum(map(len, slow.cut.values())) == SOCKETS
