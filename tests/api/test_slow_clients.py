"""Who takes too long to send a request, or to take the answer, does not keep his connection (reliability.md T28)."""

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import urlencode

import pytest
from tests.conftest import SAMPLE_KEY, Installation
from tests.support.api import serving
from tests.support.raw import connected

from hanaper.app import create_app, open_services
from hanaper.storage.transactions import Storage
from hanaper.web import deadlines
from hanaper.web.deadlines import Deadlines

BRIEF = Deadlines(head_s=1, request_s=2)
STEP_S = 0.1
MOST_STEPS = 300
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
HEAD = b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\n" + FORM
BODY = urlencode({"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}).encode()
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
PING = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@contextmanager
def served(installation: Installation, times: Deadlines = BRIEF, **settings: object) -> Iterator[str]:
    services = open_services(installation.settings.model_copy(update=settings))
    with serving(create_app(services), times) as base_url:
        yield base_url


def byte_by_byte(piece: bytes) -> Iterator[bytes]:
    while True:
        for byte in piece:
            yield bytes([byte])


def nothing() -> Iterator[bytes]:
    while True:
        yield b""


def received(base_url: str, start: bytes, more: Iterator[bytes]) -> bytes:
    """What comes back until the connection is closed, while something is sent again and again."""
    answer = b""
    with connected(base_url) as connection, suppress(ConnectionError):
        connection.sendall(start)
        connection.settimeout(STEP_S)
        for _ in range(MOST_STEPS):
            connection.sendall(next(more))
            try:
                part = connection.recv(65_536)
            except TimeoutError:
                continue
            if not part:
                return answer
            answer += part
        pytest.fail(f"never closed; until then came {answer!r}")
    return answer


SLOW: dict[str, tuple[bytes, Callable[[], Iterator[bytes]], list[bytes]]] = {
    "says nothing": (b"", nothing, []),
    "request line": (b"GE", nothing, [b"408"]),
    "request line in drops": (b"GET /", lambda: byte_by_byte(b"a"), [b"408"]),
    "headers in drops": (HEAD, lambda: byte_by_byte(b"X-A: b\r\n"), [b"408"]),
    "empty lines": (b"", lambda: byte_by_byte(b"\r\n"), []),
    "empty lines later": (PING, lambda: byte_by_byte(b"\r\n"), [b"200"]),
    "no body": (HEAD + b"Content-Length: 50\r\n\r\n", nothing, [b"408"]),
    "body in drops": (HEAD + b"Content-Length: 5000\r\n\r\n", lambda: byte_by_byte(b"a"), [b"408"]),
    "chunks in drops": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        lambda: byte_by_byte(b"1\r\na\r\n"),
        [b"408"],
    ),
    "leave to go on": (HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", nothing, [b"100", b"408"]),
    "second request": (PING + HEAD, lambda: byte_by_byte(b"X-A: b\r\n"), [b"200", b"408"]),
    "second body": (WHOLE + HEAD + b"Content-Length: 50\r\n\r\n", nothing, [b"200", b"408"]),
}


def statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answer)


def test_who_sends_too_slowly_is_cut(installation: Installation) -> None:
    with served(installation) as base_url, ThreadPoolExecutor(len(SLOW)) as pool:
        started = {kind: pool.submit(received, base_url, start, more()) for kind, (start, more, _) in SLOW.items()}
        found = {kind: statuses(each.result()) for kind, each in started.items()}
    assert found == {kind: expected for kind, (_, _, expected) in SLOW.items()}


def test_who_is_slow_and_still_in_time_is_answered(installation: Installation) -> None:
    with served(installation, Deadlines(head_s=2, request_s=30)) as base_url, connected(base_url) as connection:
        # A body may take longer than a head. The second time counts anew.
        for _ in range(2):
            for piece in (HEAD[:20], HEAD[20:], b"Content-Length: %d\r\n\r\n" % len(BODY)):
                connection.sendall(piece)
                time.sleep(0.2)
            for byte in BODY[:10]:
                connection.sendall(bytes([byte]))
                time.sleep(0.3)
            connection.sendall(BODY[10:])
            assert statuses(connection.recv(65_536)) == [b"200"]


def test_nobody_is_cut_for_what_the_server_takes(installation: Installation) -> None:
    """The answer to the first request waits for the database, longer than a request may take to be sent."""
    with served(installation) as base_url, connected(base_url) as connection:
        locked = threading.Event()

        def linger(_: object) -> None:
            locked.set()
            time.sleep(3.5)

        def hold() -> None:
            with Storage.open(installation.settings) as storage:
                storage.write(linger)

        holder = threading.Thread(target=hold)
        holder.start()
        locked.wait(30)
        connection.sendall(WHOLE + WHOLE + HEAD)
        holder.join()
        connection.sendall(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    assert statuses(answer) == [b"200"] * 3


ASK = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWERS = 60
"""More than the kernel keeps for the two ends of a connection."""


def taken_of(base_url: str, most_in_a_second: int, seconds: float) -> int:
    """How many answers somebody gets who takes so much of them for so long, and then all the rest."""
    with connected(base_url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.sendall(ASK * (ANSWERS - 1) + ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        taken = b""
        slow_until = time.monotonic() + seconds
        with suppress(ConnectionError):
            while True:
                if (left := slow_until - time.monotonic()) > 0:
                    time.sleep(min(STEP_S, left))
                    if not most_in_a_second:
                        continue
                part = connection.recv(int(most_in_a_second * STEP_S) if left > 0 else 262_144)
                if not part:
                    break
                taken += part
    return len(statuses(taken))


def test_who_does_not_take_the_answers_is_cut(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deadlines, "ANSWER_S", 1.0)
    with served(installation, openapi=True) as base_url:
        assert taken_of(base_url, 0, 4) < ANSWERS
        assert taken_of(base_url, 1000, 5) < ANSWERS
    # Nobody's mistake: those that still waited for their answers are dropped in silence.
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_who_takes_the_answers_slowly_gets_them(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "ANSWER_S", 1.0)
    with served(installation, openapi=True) as base_url:
        # Slower than the kernel, which makes room for more by the megabyte.
        assert taken_of(base_url, 300_000, 4) == ANSWERS
