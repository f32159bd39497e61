"""HTTP/1.1 on one connection: uvicorn's protocol on httptools, with bounds on memory and on time."""

import asyncio
import fcntl
import struct
import termios
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hanaper.web.deadlines import LOOK_EVERY_S, Deadlines, Receipt, Sending

LONGEST_HEAD = 65_536
"""Bytes of a request line with all header lines, and of trailers. httptools itself takes any number of them."""

MOST_AHEAD = 64
"""Requests that wait on one connection for the answers before theirs, at most. uvicorn takes any number of them."""

_SHORTEST_LOOK_S = 0.001
_KEPT = struct.Struct("i")
_TOO_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 38\r\n"
    b"connection: close\r\n\r\nThe request took too long to be sent.\n"
)


class HeadTooLong(Exception):
    """The head of a request goes on and on. uvicorn answers 400 and closes the connection."""


class TooManyAhead(Exception):
    """Requests are sent and no answers awaited. Nothing more is read, and the connection ends with the last answer."""


class HttpProtocol(HttpToolsProtocol):
    """Refuses heads without an end, and requests without one; cuts those who take too long.

    How much of a body is read, and how long an answer takes to make, is the application's to bound.
    """

    def __init__(self, *arguments: Any, deadlines: Deadlines, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_bytes = 0
        self._unfinished_bytes = 0
        self._is_full = False
        self._receipt = Receipt(deadlines)
        self._sending = Sending()
        self._next_look: asyncio.TimerHandle | None = None
        self._at_work: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Somebody is there."""
        super().connection_made(transport)
        now = self.loop.time()
        self._receipt.start(now)
        self._look_later(now)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more. uvicorn tells that to the newest request only, which may wait for others."""
        if self._next_look is not None:
            self._next_look.cancel()
        if self._at_work is not None:
            self._at_work.disconnected = True
            self._at_work.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._at_work = cycle
        super()._start_asgi_task(cycle, app)

    def _look_later(self, now: float) -> None:
        # Who is cut is cut in time, not at the next round second.
        later_s = max(_SHORTEST_LOOK_S, min(LOOK_EVERY_S, self._receipt.next_look_s(now)))
        self._next_look = self.loop.call_later(later_s, self._look)

    def _look(self) -> None:
        """Cut the connection of a client that takes too long. Goes on until it is lost."""
        now = self.loop.time()
        if self._sending.is_late(self._left(), now):
            self.transport.abort()
        elif self._waits_for_us():
            self._receipt.wait(now)
        elif self._receipt.is_late(now) and not self.transport.is_closing():
            self._cut()
        self._look_later(now)

    def _left(self) -> int:
        """Bytes the client has still to take, the kernel's among them; 0 where the kernel has all that there are.

        The kernel asks for more in steps of a megabyte: without its part, a client would seem to take nothing for long.
        """
        left = self.transport.get_write_buffer_size()
        if left:
            with suppress(OSError):
                kept = bytearray(_KEPT.size)
                fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, kept)
                left += _KEPT.unpack(kept)[0]
        return left

    def _waits_for_us(self) -> bool:
        """Whether what is being received waits for the answer to what came before it, or is not read at the moment."""
        is_answering = self._at_work is not None and not self._at_work.response_complete
        return self.flow.read_paused or bool(self.pipeline) or (is_answering and not self._receipt.has_head)

    def _cut(self) -> None:
        """Close a connection; say why, where something was asked and no answer has begun. Unsigned: who asks?"""
        has_answer = self._receipt.has_head and self.cycle.response_started
        if self._receipt.has_begun and not has_answer:
            self.transport.write(_TOO_LATE)
        self.transport.close()

    def resume_writing(self) -> None:
        """The client takes its answers."""
        self._sending.go_on()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Count what is neither a whole header line nor body: a line, or a chunk's extension, that does not end."""
        if self._is_full:
            return
        if self._receipt.is_over:
            # Not every byte begins a request: there may be empty lines before it.
            self._receipt.start(self.loop.time())
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if self._unfinished_bytes > LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._headers_bytes = 0
        self._receipt.start(self.loop.time())
        self._receipt.has_begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or one of the trailers, is complete.

        Raises:
            HeadTooLong: there are too many.
        """
        self._unfinished_bytes = 0
        self._headers_bytes += len(name) + len(value)
        if self._headers_bytes > LONGEST_HEAD:
            raise HeadTooLong
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A request is to be answered; not before those that came before it.

        Raises:
            TooManyAhead: there are too many of these.
        """
        if len(self.pipeline) >= MOST_AHEAD:
            self._is_full = True
            self.cycle.keep_alive = False
            raise TooManyAhead
        self._receipt.has_head = True
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and close the connection; not in the midst of answers that are still to come."""
        if not self._is_full:
            super().send_400_response(msg)

    def on_body(self, body: bytes) -> None:
        """Some of the body is there."""
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._unfinished_bytes = 0
        self._receipt.end()
        super().on_message_complete()
