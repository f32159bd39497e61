"""What is kept in memory for one connection is bounded, for as long as somebody sends."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.support.raw import connected
from tests.support.world import World, nothing_stored

from hanaper.web.http_protocol import MOST_AHEAD

MEGABYTE = 1_000_000
START = b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"


def lines() -> Iterator[bytes]:
    number = 0
    while True:
        yield b"".join(b"X-%d: %b\r\n" % (number + place, b"v" * 90) for place in range(10))
        number += 10


def line() -> Iterator[bytes]:
    while True:
        yield b"x" * 1000


def sent_until_refused(connection: socket.socket, start: bytes, more: Iterator[bytes]) -> tuple[int, bytes]:
    """How much the server took, and what it answered."""
    connection.sendall(start)
    sent = 0
    try:
        while sent < 20 * MEGABYTE:
            sent += connection.send(next(more))
    except OSError:
        pass
    answer = b""
    try:
        while part := connection.recv(65_536):
            answer += part
    except OSError:
        pass
    return sent, answer


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (START, lines),
        (START + b"X-Long: ", line),
        (START + b"X", line),
        (b"GET /", line),
        (b"GET /v1/get-all-generators?", line),
        (b"", line),
        (CHUNKED + b"1;extension=", line),
        (CHUNKED + b"1\r\na\r\n0\r\n", lines),
        (CHUNKED + b"1\r\na\r\n0\r\nX-Trailer: ", line),
    ],
    ids=["lines", "value", "name", "path", "query", "no HTTP", "chunk extension", "trailers", "trailer"],
)
def test_a_head_without_an_end_is_refused_early(world: World, start: bytes, more: object) -> None:
    assert callable(more)
    with nothing_stored(world.storage), connected(world.api.base_url) as connection:
        sent, answer = sent_until_refused(connection, start, more())
        # What the two ends of the connection hold in their buffers comes on top.
        assert sent < 10 * MEGABYTE
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert world.api.http.get("/healthz").status_code == 200


def test_a_long_head_is_no_endless_one(world: World) -> None:
    headers = {f"X-{number}": "v" * 1000 for number in range(50)}
    answer = world.api.post(
        "/api/v1/generate", {"api_key": world.keys["good"], "generator_id": 1, "quantity": 1}, headers=headers
    )
    assert answer.code == 815


PING = b"GET /unknown HTTP/1.1\r\nHost: localhost\r\n\r\n"


def answered(connection: socket.socket, requests: int) -> int:
    """How many requests that are sent at once are answered; the last one ends the connection."""
    connection.sendall(PING * (requests - 1) + PING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    received = b""
    with suppress(ConnectionError):
        while part := connection.recv(65_536):
            received += part
    assert received.count(b"HTTP/1.1 ") == received.count(b"HTTP/1.1 404 ")
    return received.count(b"HTTP/1.1 404 ")


def test_requests_that_wait_for_no_answer_are_bounded(world: World) -> None:
    with connected(world.api.base_url) as connection:
        assert answered(connection, 20) == 20
    with connected(world.api.base_url) as connection:
        # The end of it may be lost with the connection, which closes upon what has not been read.
        assert answered(connection, 2000) <= 1 + MOST_AHEAD
    assert world.api.http.get("/healthz").status_code == 200
