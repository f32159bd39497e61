"""What an idempotency key is, and which requests are the same (protocol.md 7.1)."""

import hashlib
import json
from typing import Any, Literal, TypeAlias
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanaper.idempotency.rules import LONGEST_KEY, NOT_COMPARED, fingerprint_of, key_of, scope_of
from hanaper.web.body import parse_json, parse_multipart, parse_urlencoded
from hanaper.web.parameters import clean

UUID = "6b3c9f0e-2d41-4a8a-9a57-0f3c1b2d4e5f"
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))

# --- keys ---


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (UUID, UUID),
        ("x", "x"),
        (VISIBLE, VISIBLE),
        ("x" * 255, "x" * 255),
        (f'"{UUID}"', UUID),
        ('"' + "x" * 255 + '"', "x" * 255),
        ('"', '"'),
        ('"x', '"x'),
        ('x"', 'x"'),
        ('""x""', '"x"'),
        ('""""', '""'),
        ('"a\\"b"', 'a\\"b'),
        ('"x";p=1', '"x";p=1'),
        ("a,b", "a,b"),
    ],
)
def test_a_key_is_visible_text_and_its_quotes_are_taken_off(text: str, key: str) -> None:
    assert key_of(text) == key


@pytest.mark.parametrize(
    "text",
    [
        *("", '""', "x" * 256, '"' + "x" * 256 + '"', "x" * 10_000),
        *(" x", "x ", "a b", '" x"', '"a b"', "a, b", "a\tb", "x\n", "x\r\n", "\n"),
        *("\0", "x\0", "\x7f", "\x1f", "\x80", "\x85", "\xa0", "\xff", "é", "日", "😀", "\u2028", chr(0xD800)),
        *("\uff41", "\u0661"),
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_any_other_text_is_no_key(text: str) -> None:
    assert key_of(text) is None


@given(st.text(max_size=300))
def test_whatever_is_a_key_can_be_a_part_of_a_scope(text: str) -> None:
    key = key_of(text)
    if key is not None:
        assert 1 <= len(key) <= LONGEST_KEY
        assert set(key) <= set(VISIBLE)
        assert len(scope_of(1, "generate", key)) == 32


# --- scopes ---

scopes = st.tuples(
    st.integers(1, 2**63 - 1), st.sampled_from(["generate", "activate", "e"]), st.text(VISIBLE, min_size=1)
)


@given(scopes, scopes)
def test_scopes_are_the_same_for_the_same_api_key_endpoint_and_key_alone(
    one: tuple[int, str, str], other: tuple[int, str, str]
) -> None:
    assert (scope_of(*one) == scope_of(*other)) == (one == other)
    assert scope_of(one[0], other[1], one[2]) != scope_of(one[0] - 1, other[1], one[2])


def test_scopes_stay_what_they_are() -> None:
    """Those in the database were made by older versions, and a replica may still be one."""
    assert scope_of(17, "generate", UUID) == hashlib.sha256(b"17\ngenerate\n" + UUID.encode()).digest()


# --- fingerprints ---

Json: TypeAlias = Any
texts = st.text(st.characters(codec="utf-8"), max_size=4)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(), st.floats(allow_nan=False), texts, st.just("1")
)
values: st.SearchStrategy[Json] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
names = st.sampled_from(["a", "b", "quantity", "é", ""]) | st.sampled_from(sorted(NOT_COMPARED)) | texts
requests = st.dictionaries(names, values, max_size=4)


def told_apart(value: Json) -> Json:
    """Equal for values that are the same JSON: to Python 1, 1.0 and True are equal."""
    match value:
        case dict():
            return "object", frozenset((name, told_apart(item)) for name, item in value.items())
        case list():
            return "array", tuple(map(told_apart, value))
    return type(value).__name__, repr(value)


def meant(request: dict[str, Json]) -> Json:
    """What of a request is compared: a number is the text of its digits, as a form has it."""
    compared = {name: value for name, value in request.items() if name not in NOT_COMPARED}
    return told_apart({name: str(value) if type(value) is int else value for name, value in compared.items()})


@given(requests, requests)
def test_two_requests_have_the_same_fingerprint_if_they_are_the_same(
    one: dict[str, Json], other: dict[str, Json]
) -> None:
    assert (fingerprint_of(one) == fingerprint_of(other)) == (meant(one) == meant(other))


@given(requests, names, values)
def test_one_value_is_enough_to_be_another_request(request: dict[str, Json], name: str, value: Json) -> None:
    other = {**request, name: value}
    assert (fingerprint_of(request) == fingerprint_of(other)) == (meant(request) == meant(other))


@given(st.dictionaries(names, values, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_does_not_matter(request: dict[str, Json], chance: Any) -> None:
    turned = list(request.items())
    chance.shuffle(turned)
    assert fingerprint_of(dict(turned)) == fingerprint_of(request)


@given(requests, texts)
def test_who_asks_and_under_which_key_does_not_matter(request: dict[str, Json], text: str) -> None:
    assert {"api_key", "idempotencyKey", "idempotency_key"} == NOT_COMPARED
    assert fingerprint_of({**request, **dict.fromkeys(NOT_COMPARED, text)}) == fingerprint_of(request)


Encoding: TypeAlias = Literal["form", "escaped form", "multipart", "json", "escaped json", "spread json"]
ENCODINGS: tuple[Encoding, ...] = ("form", "escaped form", "multipart", "json", "escaped json", "spread json")


def read(fields: dict[str, str], encoding: Encoding) -> dict[str, object]:
    """The fields as they arrive when they are sent."""
    match encoding:
        case "form":
            return parse_urlencoded("&".join(f"{quote_plus(n)}={quote_plus(v)}" for n, v in fields.items()).encode())
        case "escaped form":
            escaped = {"".join(f"%{byte:02x}" for byte in n.encode()): v for n, v in fields.items()}
            return parse_urlencoded("&".join(f"&{n}={quote_plus(v)}" for n, v in escaped.items()).encode())
        case "multipart":
            parts = [
                b'--X\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (n.encode(), v.encode())
                for n, v in fields.items()
            ]
            return parse_multipart(b"".join([*parts, b"--X--\r\n"]), b"X")
        case "json":
            return parse_json(json.dumps(fields, ensure_ascii=False).encode())
        case "escaped json":
            return parse_json(json.dumps(fields, ensure_ascii=True).encode())
    return parse_json(json.dumps(fields, ensure_ascii=False, indent=2, sort_keys=True).encode())


field_names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters='"\\'), min_size=1)


@given(
    st.dictionaries(field_names, st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=4),
    st.sampled_from(ENCODINGS),
    st.sampled_from(["", " ", "\t", "\r\n"]),
)
def test_the_encoding_and_blanks_around_do_not_matter(fields: dict[str, str], encoding: Encoding, blank: str) -> None:
    sent = {name: f"{blank}{value}{blank}" for name, value in fields.items()}
    assert fingerprint_of(clean(read(sent, encoding))) == fingerprint_of(clean(read(fields, "json")))


@pytest.mark.parametrize("number", [0, 1, -1, 10**30, 10**45])
def test_a_number_in_json_is_its_digits_in_a_form(number: int) -> None:
    in_json = clean(parse_json(b'{"quantity": %d}' % number))
    in_form = clean(parse_urlencoded(b"quantity=%d" % number))
    assert fingerprint_of(in_json) == fingerprint_of(in_form)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"x": true}', '{"x": 1}'),
        ('{"x": true}', '{"x": "true"}'),
        ('{"x": 1.0}', '{"x": 1}'),
        ('{"x": "1"}', '{"x": "01"}'),
        ('{"x": [1]}', '{"x": ["1"]}'),
        ('{"x": []}', '{"x": {}}'),
        ('{"x": [1, 2]}', '{"x": [2, 1]}'),
        ('{"x": "\\ud800"}', '{"x": "\\ud801"}'),
        ('{"x": "\\u00e9"}', '{"x": "e\\u0301"}'),
        ('{"x": "1", "y": "2"}', '{"x": "1"}'),
        ('{"x": "1"}', '{"X": "1"}'),
        ('{"a": "b,c"}', '{"a": "b", "c": ""}'),
    ],
)
def test_another_request_has_another_fingerprint(one: str, other: str) -> None:
    assert fingerprint_of(parse_json(one.encode())) != fingerprint_of(parse_json(other.encode()))


def test_the_order_of_names_does_not_matter_inside_either() -> None:
    one, other = b'{"x": {"a": 1, "b": {"c": 2, "d": 3}}}', b'{"x": {"b": {"d": 3, "c": 2}, "a": 1}}'
    assert fingerprint_of(parse_json(one)) == fingerprint_of(parse_json(other))


def test_fingerprints_stay_what_they_are() -> None:
    """Those in the database were made by older versions, and a replica may still be one."""
    request = {
        "quantity": 3,
        "generator_id": "1",
        "api_key": "secret",
        "note": "é/",
        "deep": {"b": [1, None], "a": 1.5},
    }
    text = b'{"deep":{"a":1.5,"b":[1,null]},"generator_id":"1","note":"\\u00e9/","quantity":"3"}'
    assert fingerprint_of(request) == hashlib.sha256(text).digest()
