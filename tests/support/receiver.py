"""Somebody else's server: it is told of activations that have ended."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request as it came in."""

    line: str
    headers: dict[str, str]
    body: str


class Handler(BaseHTTPRequestHandler):
    """Keeps what it is sent, and answers as its server says."""

    server: "Receiver"

    def do_GET(self) -> None:
        self._take()

    def do_POST(self) -> None:
        self._take()

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        received = Received(self.requestline, {name.lower(): value for name, value in self.headers.items()}, body)
        self.server.received.put(received)
        self.close_connection = True
        self.server.answer(self)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def status(number: int, **headers: str) -> Callable[[Handler], None]:
    """Answer with a status and an empty body."""

    def answer(handler: Handler) -> None:
        handler.send_response(number)
        for name, value in {"Content-Length": "0", **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()

    return answer


class Receiver(ThreadingHTTPServer):
    """A server on a free port of this machine."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Callable[[Handler], None], host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        self.answer = answer
        self.received: SimpleQueue[Received] = SimpleQueue()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str = "/ended") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def bodies(self) -> list[str]:
        """Of all requests so far, once."""
        found = []
        while not self.received.empty():
            found.append(self.received.get().body)
        return found

    def handle_error(self, *_: Any) -> None:
        """Those who hang up are what some tests are about."""


@contextmanager
def receiving(
    answer: Callable[[Handler], None] = status(204),  # noqa: B008 -- it has no state
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> Iterator[Receiver]:
    """Run a receiver for the length of a `with` block."""
    with Receiver(answer, host) as receiver:
        if tls is not None:
            receiver.socket = tls.wrap_socket(receiver.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=receiver.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()
