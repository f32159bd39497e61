"""The bytes inside `response_base64`: a frozen table. Real PHP 8.2 wrote the same for each row."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from hanaper.protocol import codes, payload

HIGH, LOW = chr(0xD83D), chr(0xDE00)

FROZEN: list[tuple[str, Any, bytes]] = [
    ("slash", "a/b//", rb'"a\/b\/\/"'),
    ("URL", "https://example.org/?a=1&b=2#c", rb'"https:\/\/example.org\/?a=1&b=2#c"'),
    ("apostrophe", "can't", b'"can\'t"'),
    ("ampersand", "HelpDesk & Support", b'"HelpDesk & Support"'),
    ("angle brackets", "</script><b>", rb'"<\/script><b>"'),
    ("quote", 'say "x"', rb'"say \"x\""'),
    ("backslash", "a\\b", rb'"a\\b"'),
    ("backslash before slash", "\\/", rb'"\\\/"'),
    ("two backslashes before slash", "\\\\/", rb'"\\\\\/"'),
    ("backslash before quote", '\\"', rb'"\\\""'),
    ("backslash at the end", "a\\", rb'"a\\"'),
    ("short escapes", "\b\f\n\r\t", rb'"\b\f\n\r\t"'),
    ("NUL", "\0", rb'"\u0000"'),
    ("other controls", "\x01\x07\x0b\x0e\x1b\x1f", rb'"\u0001\u0007\u000b\u000e\u001b\u001f"'),
    ("DEL stands raw", "a\x7fb", b'"a\x7fb"'),
    ("DEL at both ends", "\x7f\x7f", b'"\x7f\x7f"'),
    ("the text of DEL's escape", "\\u007f", rb'"\\u007f"'),
    ("DEL after a backslash", "\\\x7f", b'"\\\\\x7f"'),
    ("the text of DEL's escape after a backslash", "\\\\u007f", rb'"\\\\u007f"'),
    ("DEL, then the text of its escape", "\x7f\\u007f\x7f", b'"\x7f\\\\u007f\x7f"'),
    ("C1 controls", "\x80\x9f", rb'"\u0080\u009f"'),
    ("Latin", "é", rb'"\u00e9"'),
    ("hex digits in lower case", "\uabcd\uefef", rb'"\uabcd\uefef"'),
    ("Greek and Chinese", "ω日本", rb'"\u03c9\u65e5\u672c"'),
    ("line separators", "\u2028\u2029", rb'"\u2028\u2029"'),
    ("byte order mark", "\ufeff", rb'"\ufeff"'),
    ("last of the basic plane", "\ud7ff\ue000\uffff", rb'"\ud7ff\ue000\uffff"'),
    ("first of the astral planes", "\U00010000", rb'"\ud800\udc00"'),
    ("emoji", "\U0001f600", rb'"\ud83d\ude00"'),
    ("last of all", "\U0010ffff", rb'"\udbff\udfff"'),
    ("the text of a surrogate's escape", "\\ud800", rb'"\\ud800"'),
    ("decomposed stays decomposed", "e\u0301", rb'"e\u0301"'),
    ("blanks stay", "  a  b ", b'"  a  b "'),
    ("empty text", "", b'""'),
    ("zero", 0, b"0"),
    ("negative", -1, b"-1"),
    ("timestamp", 1709003415, b"1709003415"),
    ("largest integer of PHP", 2**63 - 1, b"9223372036854775807"),
    ("smallest integer of PHP", -(2**63), b"-9223372036854775808"),
    ("true", True, b"true"),
    ("false", False, b"false"),
    ("null", None, b"null"),
    ("digits as text", "400", b'"400"'),
    ("empty array", [], b"[]"),
    ("empty object", {}, b"[]"),
    ("nested empty ones", [[], {}, [{}]], b"[[],[],[[]]]"),
    ("object with an empty object", {"meta_data": {}}, b'{"meta_data":[]}'),
    ("array", ["k1", "k2"], b'["k1","k2"]'),
    ("mixed array", [1, "1", True, None], b'[1,"1",true,null]'),
    ("order of names", {"b": 1, "a": 2, "B": 3}, b'{"b":1,"a":2,"B":3}'),
    ("order inside", {"z": {"y": 1, "x": {"w": 1, "v": 2}}}, b'{"z":{"y":1,"x":{"w":1,"v":2}}}'),
    ("names are escaped like values", {'/"\\\x7f\n\u00e9': 1}, b'{"\\/\\"\\\\\x7f\\n\\u00e9":1}'),
    ("name without characters", {"": 1}, b'{"":1}'),
    ("errors", {"quantity": ["The quantity field is required."]}, b'{"quantity":["The quantity field is required."]}'),
]


@pytest.mark.parametrize(("value", "expected"), [row[1:] for row in FROZEN], ids=[row[0] for row in FROZEN])
def test_a_value_has_exactly_these_bytes(value: Any, expected: bytes) -> None:
    assert payload.encode({"v": value}) == b'{"v":' + expected + b"}"


@pytest.mark.parametrize("number", range(0x20))
def test_each_control_character_has_its_escape(number: int) -> None:
    short = {8: b"\\b", 9: b"\\t", 10: b"\\n", 12: b"\\f", 13: b"\\r"}
    assert payload.encode({"v": chr(number)}) == b'{"v":"%b"}' % short.get(number, b"\\u%04x" % number)


def test_every_other_ascii_character_stands_raw_save_three() -> None:
    escaped = {'"': b'\\"', "\\": b"\\\\", "/": b"\\/"}
    for character in map(chr, range(0x20, 0x80)):
        expected = escaped.get(character, character.encode())
        assert payload.encode({"v": character}) == b'{"v":"%b"}' % expected


def test_the_worked_example_of_the_protocol() -> None:
    assert payload.encode(
        {"code": 815, "message": "Generated license keys", "licenseKeys": ["k1", "k2"], "timestamp": 1732388528}
    ) == (b'{"code":815,"message":"Generated license keys","licenseKeys":["k1","k2"],"timestamp":1732388528}')


def test_code_400_is_text() -> None:
    code = codes.LICENSE_DEACTIVATED
    content: dict[str, Any] = {"code": code.on_wire, "message": code.message, "timestamp": 1}
    assert payload.encode(content) == b'{"code":"400","message":"License key deactivated","timestamp":1}'


def test_a_label_is_written_as_its_text() -> None:
    assert payload.encode({"v": codes.SignedBy.GLOBAL}) == b'{"v":"global"}'


@pytest.mark.parametrize("value", [MappingProxyType({"a": "\U0001f600"}), {"a": "\U0001f600"}], ids=["view", "dict"])
def test_any_mapping_is_an_object(value: Mapping[str, str]) -> None:
    assert payload.encode({"v": value}) == rb'{"v":{"a":"\ud83d\ude00"}}'
    assert payload.encode(MappingProxyType({"v": ("a", ())})) == b'{"v":["a",[]]}'


@pytest.mark.parametrize(
    "content",
    [
        {"v": HIGH},
        {"v": LOW},
        {"v": f"a{LOW}b"},
        {"v": LOW + HIGH},
        {"v": HIGH + LOW},  # Two code units that Python does not join; json.dumps would write a valid pair.
        {"v": "\U0001f600" + HIGH},
        {HIGH: 1},
        {"v": [{"w": [LOW]}]},
    ],
    ids=ascii,
)
def test_a_lone_surrogate_is_no_text(content: Any) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        payload.encode(content)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.0, "no float values"),
        (1.5, "no float values"),
        (float("nan"), "no float values"),
        (float("inf"), "no float values"),
        (b"text", "no bytes values"),
        (bytearray(b"text"), "no bytearray values"),
        ({1, 2}, "no set values"),
        (1 + 2j, "no complex values"),
        (range(2), "no range values"),
        ({None: 1}, "names in a payload are text"),
        ({1: 1}, "names in a payload are text"),
        ({True: 1}, "names in a payload are text"),
        ({b"a": 1}, "names in a payload are text"),
        ({"a": 1, 2: 1}, "names in a payload are text"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_the_protocol_does_not_have_is_refused_at_every_depth(value: Any, message: str, depth: int) -> None:
    content: Any = {"v": value}
    for _ in range(depth):
        content = {"v": [content]}
    with pytest.raises(TypeError, match=message):
        payload.encode(content)


def test_the_outermost_names_are_text_too() -> None:
    content: Any = {1: 1}
    with pytest.raises(TypeError, match="names in a payload are text"):
        payload.encode(content)
