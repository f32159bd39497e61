"""HTTP as bytes: for what a well-behaved client will not send."""

import http.client
import socket
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import httpx


def send(
    base_url: str,
    method: str,
    path: str,
    headers: Sequence[tuple[str, bytes]] = (),
    body: bytes = b"",
    *,
    announced: int | None = None,
) -> httpx.Response:
    """Send one request on a connection of its own, as it stands.

    Args:
        path: what stands in the request line.
        headers: all but Content-Length, and Host where it is missing.
        announced: a Content-Length that differs from the body's.
    """
    lines = [f"{method} {path} HTTP/1.1".encode()]
    if "host" not in {name.lower() for name, _ in headers}:
        lines.append(b"Host: " + urlsplit(base_url).netloc.encode())
    lines += [name.encode() + b": " + value for name, value in headers]
    if body or announced is not None or method == "POST":
        lines.append(b"Content-Length: %d" % (len(body) if announced is None else announced))
    with connected(base_url) as connection:
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        # A body that is too large is not read to its end; the answer is there all the same.
        with suppress(OSError):
            connection.sendall(body)
        return receive(connection, method)


def receive(connection: socket.socket, method: str) -> httpx.Response:
    """Read one answer."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    with response:
        return httpx.Response(response.status, headers=response.getheaders(), content=response.read())


def connected(base_url: str) -> socket.socket:
    """A connection to a server."""
    url = urlsplit(base_url)
    assert url.hostname is not None
    assert url.port is not None
    return socket.create_connection((url.hostname, url.port), timeout=30)


def until_silence(base_url: str, sent: bytes, silence_s: float) -> bytes:
    """What comes back for some bytes, until the connection ends, or nothing comes for so long."""
    received = b""
    with connected(base_url) as connection, suppress(TimeoutError, ConnectionError):
        connection.sendall(sent)
        connection.settimeout(silence_s)
        while part := connection.recv(65_536):
            received += part
    return received
