"""The exact bytes of a payload, as PHP's json_encode without flags writes them (protocol.md 1.3)."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

JsonValue: TypeAlias = bool | int | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None
Payload: TypeAlias = Mapping[str, JsonValue]

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)

# One pass over the escapes: an escaped backslash is consumed whole, so that the text `\u007f` a value may spell out
# is told apart from an escaped DEL.
_DIFFERS_FROM_PHP = re.compile(r"\\\\|\\u007f|/")
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
    plain = _as_php(payload)
    text = _ENCODER.encode(plain)
    if "\\ud" in text:
        json.dumps(plain, ensure_ascii=False).encode("utf-8")
    return _DIFFERS_FROM_PHP.sub(lambda match: _AS_PHP[match.group()], text).encode("ascii")


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
