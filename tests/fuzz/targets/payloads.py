"""Payloads, their base64 and their envelope: the fast ways against a slow one. The input is JSON, or lines of text."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.support import malformed

from hanaper.protocol import envelope, payload
from hanaper.protocol.long_payload import LongPayload

SIGNATURE = bytes(range(256))
_SHORT = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def run(data: bytes) -> None:
    value = _value(data)
    if _has_float(value):
        return
    if _has_surrogate(value):
        _is_refused(value)
        return
    encoded = payload.encode({"v": value})
    assert encoded == f'{{"v":{slowly(value)}}}'.encode("ascii")
    assert json.loads(encoded) == {"v": _as_php(value)}
    body = envelope.seal(encoded, base64.b64encode(encoded), "global", SIGNATURE)
    read = envelope.decode(body)
    assert (read.payload_bytes, read.private_key_used, read.signature) == (encoded, "global", SIGNATURE)
    assert read.encode() == body
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        _piece_by_piece(value)


def seeds() -> Iterator[bytes]:
    yield b"AAAA-BBBB\nCCCC-DDDD"
    yield '["/","\\\\","\\u007f","é","\\ud83d\\ude00",{"a":{}},[[]],true,null,-1]'.encode()
    yield b'["\\ud800"]'
    yield from (row.body for row in malformed.corpus() if len(row.body) < 200)


def slowly(value: Any) -> str:
    """A value as PHP writes it, a character at a time."""
    match value:
        case str():
            return '"' + "".join(map(_escaped, value)) + '"'
        case list():
            return "[" + ",".join(map(slowly, value)) + "]"
        case dict():
            return (
                "{" + ",".join(f"{slowly(name)}:{slowly(item)}" for name, item in value.items()) + "}"
                if value
                else "[]"
            )
    return (
        {True: "true", False: "false", None: "null"}[value]
        if value is None or value is True or value is False
        else f"{value}"
    )


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if " " <= character <= "\x7f":
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _piece_by_piece(values: list[str]) -> None:
    whole = payload.encode({"code": 1, "v": values, "timestamp": 2})
    for size in (1, 2, 3, 7):
        pieces = LongPayload({"code": 1}, "v")
        for start in range(0, len(values), size):
            pieces.add(values[start : start + size])
        pieces.finish({"timestamp": 2})
        assert pieces.sealed("product", SIGNATURE) == envelope.seal(
            whole, base64.b64encode(whole), "product", SIGNATURE
        )


def _value(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode("utf-8", "surrogateescape").split("\n")


def _is_refused(value: Any) -> None:
    try:
        payload.encode({"v": value})
    except ValueError:
        return
    raise AssertionError("what is no text was encoded")


def _as_php(value: Any) -> Any:
    match value:
        case list():
            return [_as_php(item) for item in value]
        case dict():
            return {name: _as_php(item) for name, item in value.items()} or []
    return value


def _has_float(value: Any) -> bool:
    return any(isinstance(item, float) for item in _leaves(value))


def _has_surrogate(value: Any) -> bool:
    return any(
        "\ud800" <= character <= "\udfff" for item in _leaves(value) if isinstance(item, str) for character in item
    )


def _leaves(value: Any) -> Iterator[Any]:
    match value:
        case list():
            for item in value:
                yield from _leaves(item)
        case dict():
            for name, item in value.items():
                yield name
                yield from _leaves(item)
        case _:
            yield value
