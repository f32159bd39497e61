"""The short ways of the payload encoder, for license keys above all: the same bytes as the long way gives."""

import json
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hanaper.protocol import payload

unhurried = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def reference(value: Any) -> str:
    """What the standard library writes, with the three things that PHP has otherwise; a value at a time."""
    match value:
        case str():
            # DEL stands raw, and a slash is escaped; neither is a part of any other escape.
            return (
                '"' + "\x7f".join(json.dumps(str(part))[1:-1] for part in value.split("\x7f")).replace("/", "\\/") + '"'
            )
        case list() | tuple():
            return "[" + ",".join(reference(item) for item in value) + "]"
        case dict():
            fields = [f"{reference(name)}:{reference(item)}" for name, item in value.items()]
            return "{" + ",".join(fields) + "}" if fields else "[]"
    return json.dumps(value)


plain = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\/'))
any_text = st.text(st.characters(exclude_categories=["Cs"]))
surrogates = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)
ODD = [
    "/",
    "\\",
    '"',
    "\x7f",
    "\0",
    "\n",
    "é",
    "\u2028",
    "\U0001f600",
    "\\u007f",
    "a\x7f/",
    "\\ud800",
    '","',
    "\x1f",
    "\x80",
]


@unhurried
@given(values=st.lists(plain))
@example(values=[])
@example(values=[""])
@example(values=["", ""])
@example(values=["'<&>", "{}[]:,", "a b"])
def test_lists_of_plain_texts(values: list[str]) -> None:
    expected = f'{{"licenseKeys":{reference(values)}}}'.encode("ascii")
    assert payload.encode({"licenseKeys": values}) == expected
    assert payload.encode({"licenseKeys": tuple(values)}) == expected
    assert payload.encode({"v": [values]}) == f'{{"v":[{reference(values)}]}}'.encode("ascii")


@pytest.mark.parametrize("odd", ODD, ids=ascii)
@settings(unhurried, max_examples=40)
@given(data=st.data())
def test_one_odd_text_among_plain_ones(odd: str, data: st.DataObject) -> None:
    """Wherever it stands, in its text and in the list."""
    values = data.draw(st.lists(plain, max_size=5))
    before, after = data.draw(plain), data.draw(plain)
    values.insert(data.draw(st.integers(0, len(values))), before + odd + after)
    assert payload.encode({"v": values}) == f'{{"v":{reference(values)}}}'.encode("ascii")


@unhurried
@given(values=st.lists(any_text))
def test_lists_of_any_texts(values: list[str]) -> None:
    encoded = payload.encode({"v": values})
    assert encoded == f'{{"v":{reference(values)}}}'.encode("ascii")
    assert json.loads(encoded) == {"v": values}


@unhurried
@given(values=st.lists(any_text | plain, min_size=1))
def test_an_array_piece_by_piece_is_the_array(values: list[str]) -> None:
    whole = payload.encode({"v": values})
    for cut in {0, 1, len(values) // 2, len(values)}:
        pieces = [payload.encode_items(part) for part in (values[:cut], values[cut:]) if part]
        assert b'{"v":[' + b",".join(pieces) + b"]}" == whole
    assert payload.encode_items([]) == b""


@unhurried
@given(
    content=st.dictionaries(
        any_text,
        st.recursive(
            st.none() | st.booleans() | st.integers() | any_text | st.lists(plain),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
            max_leaves=12,
        ),
    )
)
def test_any_payload(content: dict[str, Any]) -> None:
    assert payload.encode(content) == reference(content).encode("ascii")


@unhurried
@given(texts=st.lists(plain | any_text, max_size=4), broken=st.tuples(any_text, surrogates, any_text), data=st.data())
def test_a_lone_surrogate_anywhere_is_no_text(
    texts: list[str], broken: tuple[str, str, str], data: st.DataObject
) -> None:
    text = "".join(broken)
    values = list(texts)
    values.insert(data.draw(st.integers(0, len(values))), text)
    contents: list[Any] = [
        {"v": text},
        {"v": values},
        {"v": tuple(values)},
        {"v": [values, 1]},
        {"v": {"w": values}},
        {text: 1},
        {"v": {text: 1}},
    ]
    for content in contents:
        with pytest.raises(ValueError, match="surrogates not allowed"):
            payload.encode(content)
    with pytest.raises(ValueError, match="surrogates not allowed"):
        payload.encode_items(values)


class Word(StrEnum):
    """Text of another type."""

    PLAIN = "plain"
    SLASH = "a/b"


class Number(IntEnum):
    """A number of another type."""

    ONE = 1


class Text(str):
    """Text that shows itself otherwise."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"

    def __repr__(self) -> str:
        return "something else"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([Word.PLAIN, "b"], b'["plain","b"]'),
        ([Word.SLASH], b'["a\\/b"]'),
        ([Text("text"), "b"], b'["text","b"]'),
        (Text("a/b"), b'"a\\/b"'),
        (Number.ONE, b"1"),
        ([Number.ONE, 2], b"[1,2]"),
        (True, b"true"),
        ([True, "a"], b'[true,"a"]'),
        (["a", None], b'["a",null]'),
        (["a", ["b"]], b'["a",["b"]]'),
        (["a", {}], b'["a",[]]'),
        ([["a"], ["b", "c"]], b'[["a"],["b","c"]]'),
        (2**70, b"1180591620717411303424"),
        (-(2**63), b"-9223372036854775808"),
    ],
    ids=repr,
)
def test_what_only_looks_like_plain_text_or_a_plain_number(value: Any, expected: bytes) -> None:
    assert payload.encode({"v": value}) == b'{"v":' + expected + b"}"


@pytest.mark.parametrize("stranger", [1.0, b"a", range(2), {1: "a"}, {"a": {1.5}}], ids=repr)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_stranger_among_plain_texts_is_refused(stranger: Any, place: int) -> None:
    values: list[Any] = ["a", "b"]
    values.insert(place, stranger)
    with pytest.raises(TypeError):
        payload.encode({"v": values})


def test_a_thousand_license_keys() -> None:
    keys = [f"{number:08X}-ABCD" for number in range(1000)]
    content: dict[str, Any] = {"code": 815, "message": "Generated", "licenseKeys": keys, "timestamp": 1}
    assert payload.encode(content) == json.dumps(content, separators=(",", ":")).encode("ascii")
