"""The payload encoder against an independent one: PHP's json_encode without flags, written down a character at a time.

It follows php_json_escape_string and php_json_encode_array of PHP's ext/json, as far as payloads go.
"""

import json
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hanaper.protocol import payload

_SHORT = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", '"': '"', "\\": "\\", "/": "/"}


def php_string(text: str) -> str:
    written = '"'
    for character in text:
        point = ord(character)
        if character in _SHORT:
            written += "\\" + _SHORT[character]
        elif point < 0x20 or 0x80 <= point < 0x10000:
            written += f"\\u{point:04x}"
        elif point >= 0x10000:
            above = point - 0x10000
            written += f"\\u{0xD800 | above >> 10:04x}\\u{0xDC00 | above & 0x3FF:04x}"
        else:
            written += character
    return written + '"'


def php_json_encode(value: Any) -> str:
    if isinstance(value, str):
        return php_string(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return f"{value:d}"
    if isinstance(value, list) or not value:
        return "[" + ",".join(php_json_encode(item) for item in value) + "]"
    return "{" + ",".join(php_string(name) + ":" + php_json_encode(item) for name, item in value.items()) + "}"


def as_php_sees_it(value: Any) -> Any:
    """What comes back: PHP has one kind of array, so an empty object is an empty array."""
    if isinstance(value, dict):
        return {name: as_php_sees_it(item) for name, item in value.items()} or []
    if isinstance(value, list):
        return [as_php_sees_it(item) for item in value]
    return value


# Pieces that meet each other badly: escapes, halves of escapes, and their look-alikes.
AWKWARD = ["\\", "/", '"', "u007f", "\x7f", "\\u007f", "\\ud83d", "ud83d", "\U0001f600", "é", "\0", "\n", "\u2028", "a"]
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(st.sampled_from(AWKWARD)).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(texts, values, max_size=6)

# A busy machine is no failure.
unhurried = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(content=payloads)
@example(content={})
@example(content={"a": {}, "b": [[], {}]})
@example(content={"\x7f": "\\u007f\x7f\\\\/"})
def test_the_bytes_are_those_of_php(content: dict[str, Any]) -> None:
    assert payload.encode(content) == php_json_encode(content).encode("ascii")


@unhurried
@given(content=payloads)
def test_what_was_encoded_comes_back(content: dict[str, Any]) -> None:
    encoded = payload.encode(content)
    assert encoded.isascii()
    back = json.loads(encoded)
    assert back == as_php_sees_it(content)
    assert json.dumps(back) == json.dumps(as_php_sees_it(content)), "the order of names"


@unhurried
@given(before=texts, surrogate=st.characters(categories=["Cs"]), after=texts)
def test_no_text_with_a_lone_surrogate_is_encoded(before: str, surrogate: str, after: str) -> None:
    try:
        encoded = payload.encode({"v": before + surrogate + after})
    except ValueError:
        return
    raise AssertionError(encoded)
