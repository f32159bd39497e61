"""HTTP/1.1 on one connection: uvicorn's protocol on httptools, with a bound on what stands before and after a body."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD = 65_536
"""Bytes of a request line with all header lines, and of trailers. httptools itself takes any number of them."""


class HeadTooLong(Exception):
    """The head of a request goes on and on. uvicorn answers 400 and closes the connection."""


class HttpProtocol(HttpToolsProtocol):
    """Refuses heads without an end, which would be kept in memory. Bodies are the application's to bound."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_bytes = 0
        self._unfinished_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Count what is neither a whole header line nor body: a line, or a chunk's extension, that does not end."""
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

    def on_body(self, body: bytes) -> None:
        """Some of the body is there."""
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._unfinished_bytes = 0
        super().on_message_complete()
