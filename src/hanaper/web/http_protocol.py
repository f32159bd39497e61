"""HTTP/1.1 on one connection: uvicorn's protocol on httptools, with a bound on what is kept in memory."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD = 65_536
"""Bytes of a request line with all header lines, and of trailers. httptools itself takes any number of them."""

MOST_AHEAD = 64
"""Requests that wait on one connection for the answers before theirs, at most. uvicorn takes any number of them."""


class HeadTooLong(Exception):
    """The head of a request goes on and on. uvicorn answers 400 and closes the connection."""


class TooManyAhead(Exception):
    """Requests are sent and no answers awaited. Nothing more is read, and the connection ends with the last answer."""


class HttpProtocol(HttpToolsProtocol):
    """Refuses heads without an end, and requests without one. Bodies are the application's to bound."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_bytes = 0
        self._unfinished_bytes = 0
        self._is_full = False

    def data_received(self, data: bytes) -> None:
        """Count what is neither a whole header line nor body: a line, or a chunk's extension, that does not end."""
        if self._is_full:
            return
        self._unfinished_bytes += len(data)
        super().data_received(data)
        if self._unfinished_bytes > LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._headers_bytes = 0
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
        super().on_message_complete()
