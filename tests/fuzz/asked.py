"""Requests without a server."""

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import Message

from hanaper.refusal import Refusal
from hanaper.web.body import parse_json
from hanaper.web.parameters import clean

Result = TypeVar("Result")


def request(headers: Iterable[tuple[bytes, bytes]], body: bytes = b"", *, method: str = "POST") -> Request:
    """A request whose body is there at once, in two pieces."""
    pieces = [body[len(body) // 2 :], body[: len(body) // 2]]

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    scope = {
        "type": "http",
        "method": method,
        "headers": list(headers),
        "query_string": body,
        "state": {"request_id": "0" * 32},
        "client": ("127.0.0.1", 1),
    }
    return Request(scope, receive)


def result(work: Coroutine[Any, Any, Result]) -> Result:
    """Of a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as done:
        value: Result = done.value
        return value
    raise AssertionError("it waits")


def header_lines(text: bytes) -> list[tuple[bytes, bytes]]:
    """`name: value` a line, as a server hands them on: names in lower case."""
    found = []
    for line in text.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            found.append((name.strip().lower(), value.strip(b" \t")))
    return found


def in_two(data: bytes) -> tuple[list[tuple[bytes, bytes]], dict[str, object]] | None:
    """Header lines, an empty line, a JSON object: the headers and the parameters; None where the object is refused."""
    head, _, body = data.partition(b"\n\n")
    try:
        return header_lines(head), clean(parse_json(body)) if body else {}
    except Refusal:
        return None
