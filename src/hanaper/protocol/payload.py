"""The exact bytes of a payload, as PHP's json_encode without flags writes them (protocol.md 1.3)."""

import json
import re
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import TypeAlias

JsonValue: TypeAlias = bool | int | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
Payload: TypeAlias = Mapping[str, JsonValue]

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)

# One pass over the escapes: an escaped backslash is consumed whole, so that the text `\u007f` a value may spell out
# is told apart from an escaped DEL.
_DIFFERS_FROM_PHP = re.compile(r"\\\\|\\u007f|/")
_ESCAPED = ('"', "\\", "/")
_AS_PHP = {"\\\\": "\\\\", "\\u007f": "\x7f", "/": "\\/"}


def encode(payload: Payload) -> bytes:
    """Encode a payload to the bytes that are signed.

    Key order is kept, nothing is sorted, no white space is written, and an empty object becomes `[]` (PHP has one
    kind of array).

    Args:
        payload: the content of `response`; strings, integers, booleans, null, arrays and objects.

    Returns:
        ASCII bytes (DEL, U+007F, stands raw, as PHP leaves it).

    Raises:
        TypeError: a value of another type, floats included (none occurs in the protocol).
        ValueError: a string that is not Unicode text (a lone surrogate), which PHP refuses too.
    """
    fields = [f"{_text(name)}:{_fragment(value)}" for name, value in payload.items()]
    return ("{" + ",".join(fields) + "}" if fields else "[]").encode("ascii")


def encode_items(values: list[str]) -> bytes:
    """The inside of an array of texts, without its brackets, for an array that is encoded piece by piece.

    Raises:
        ValueError: see `encode`.
    """
    return _fragment(values)[1:-1].encode("ascii")


def _fragment(value: JsonValue) -> str:
    """A value as JSON text."""
    if type(value) is str:
        return _text(value)
    if type(value) is int:
        return str(value)
    if type(value) is list and set(map(type, value)) == {str}:
        # A list of license keys, by far the most there is to encode: all at once where none of them needs an escape.
        together = "".join(value)
        if together.isascii() and together.isprintable() and not any(sign in together for sign in _ESCAPED):
            return '["' + '","'.join(value) + '"]'
    plain = _as_php(value)
    return _finished(_ENCODER.encode(plain), plain)


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError("the names in a payload are text")
    return _finished(encode_basestring_ascii(value), value)


def _finished(text: str, plain: JsonValue) -> str:
    """JSON text of the standard library as PHP would have written it; a lone surrogate is no Unicode text."""
    if "\\ud" in text:
        json.dumps(plain, ensure_ascii=False).encode("utf-8")
    if "/" in text or "\\u007f" in text:
        return _DIFFERS_FROM_PHP.sub(lambda match: _AS_PHP[match.group()], text)
    return text


def _as_php(value: JsonValue) -> JsonValue:
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list | tuple):
        return [_as_php(item) for item in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("the names in a payload are text")
        return {key: _as_php(item) for key, item in value.items()} or []
    raise TypeError(f"the protocol has no {type(value).__name__} values")
