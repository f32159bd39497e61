"""Reading request bodies: three encodings, one result, and a refusal for everything else."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from hanaper.protocol import codes
from hanaper.protocol.codes import Code
from hanaper.refusal import Refusal
from hanaper.web.body import MOST_FIELDS, Parameters, parse_json, parse_multipart, parse_urlencoded, read_body

FORM = "application/x-www-form-urlencoded"
CRLF = b"\r\n"


def request(chunks: Iterable[bytes], *headers: tuple[str, str]) -> Request:
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return waiting.pop(0)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def read(body: bytes, content_type: str | None, *more: tuple[str, str], most_bytes: int = 10_000) -> Parameters:
    headers = [("content-type", content_type)] if content_type is not None else []
    return asyncio.run(read_body(request([body], *headers, *more), most_bytes))


def reason(refused: Refusal, code: Code) -> str:
    assert refused.code is code
    assert list(refused.payload) == ["errors"]
    errors: Any = refused.payload["errors"]
    assert list(errors) == ["request"]
    (text,) = errors["request"]
    assert isinstance(text, str)
    return text


def part(disposition: bytes, content: bytes, *headers: bytes) -> bytes:
    lines = [b"Content-Disposition: " + disposition, *headers]
    return b"--B" + CRLF + CRLF.join(lines) + CRLF + CRLF + content + CRLF


def field(name: bytes, content: bytes) -> bytes:
    return part(b'form-data; name="%b"' % name, content)


END = b"--B--" + CRLF


# --- application/x-www-form-urlencoded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1&a=2", {"a": "2"}),
        (b"a=1&b=2&a=", {"a": "", "b": "2"}),
        (b"&&a=1&", {"a": "1"}),
        (b"a", {"a": ""}),
        (b"a=", {"a": ""}),
        (b"=1", {"": "1"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a+b=c+d", {"a b": "c d"}),
        (b"a%20b=c%2Bd%26e%3D", {"a b": "c+d&e="}),
        (b"a=%C3%A9%f0%9f%98%80", {"a": "é\U0001f600"}),
        ("a=é".encode(), {"a": "é"}),
        (b"a=100%&b=%zz&c=%4", {"a": "100%", "b": "%zz", "c": "%4"}),
        (b"a=%00%0a", {"a": "\0\n"}),
        (b"a[]=1&a[]=2&b[c]=3", {"a[]": "2", "b[c]": "3"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
        (b"a=%EF%BB%BF1", {"a": "\ufeff1"}),
    ],
)
def test_a_form_is_read_as_browsers_write_it(text: bytes, expected: Parameters) -> None:
    assert parse_urlencoded(text) == expected


@pytest.mark.parametrize(
    "text", [b"a=%ff", b"%c3=1", b"a=\xff", b"a=%ed%a0%80", b"a=%c0%af", b"a=%f4%90%80%80", "a=é".encode("latin-1")]
)
def test_a_form_that_is_not_utf_8_is_refused(text: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_urlencoded(text)
    assert reason(caught.value, codes.UNREADABLE_BODY) == "The text is not UTF-8."


def test_a_form_has_64_fields_at_most() -> None:
    assert MOST_FIELDS == 64
    assert len(parse_urlencoded(b"&".join(b"a%d=1" % number for number in range(64)))) == 64
    for text in (b"&".join(b"a%d=1" % number for number in range(65)), b"&" * 64, b"a=1" + b"&" * 100_000):
        with pytest.raises(Refusal) as caught:
            parse_urlencoded(text)
        assert reason(caught.value, codes.UNREADABLE_BODY) == "There are more than 64 fields."


# --- multipart/form-data


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (END, {}),
        (field(b"a", b"1") + END, {"a": "1"}),
        (field(b"a", b"1") + field(b"b", b"2") + END, {"a": "1", "b": "2"}),
        (field(b"a", b"1") + field(b"a", b"2") + END, {"a": "2"}),
        (field(b"a", b"") + END, {"a": ""}),
        (field(b"", b"1") + END, {"": "1"}),
        (field(b"a", b"1\r\n2\n--B") + END, {"a": "1\r\n2\n--B"}),
        (field(b"a", b"\r\n") + END, {"a": "\r\n"}),
        (field(b"a", "é\U0001f600".encode()) + END, {"a": "é\U0001f600"}),
        (field("é".encode(), b"1") + END, {"é": "1"}),
        (field(b"a b;c=d", b"1") + END, {"a b;c=d": "1"}),
        (field(rb"a\"b", b"1") + END, {'a"b': "1"}),
        (part(b"form-data; name=a", b"1") + END, {"a": "1"}),
        (part(b"FORM-DATA; NAME=a", b"1") + END, {"a": "1"}),
        (part(b'form-data; name="a"', b"1", b"Content-Type: text/plain; charset=utf-8") + END, {"a": "1"}),
        (part(b'form-data; name="a"', b'{"b":1}', b"Content-Type: application/json") + END, {"a": '{"b":1}'}),
        (field(b"a", b"1") + END + b"epilogue", {"a": "1"}),
        (field(b"a", b"1") + b"--B--", {"a": "1"}),
    ],
)
def test_multipart_fields_are_read(body: bytes, expected: Parameters) -> None:
    assert parse_multipart(body, b"B") == expected


def test_the_name_of_a_header_has_no_case() -> None:
    body = field(b"a", b"1").replace(b"Content-Disposition", b"cOnTeNt-DiSpOsItIoN") + END
    assert parse_multipart(body, b"B") == {"a": "1"}


MALFORMED = "The multipart body is malformed."
CUT_OFF = "The multipart body is cut off."
NAMELESS = "A part of the multipart body has no name."
NO_FILES = "Files are not accepted."


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a=1", MALFORMED),
        (b'{"a":1}', MALFORMED),
        (b"--C\r\n", MALFORMED),
        (field(b"a", b"1").replace(b"\r\n", b"\n") + END, MALFORMED),
        (b"--B\r\nno colon\r\n\r\n1\r\n" + END, MALFORMED),
        (b"--B\r\n" + b"X-Much: " + b"x" * 100_000 + b"\r\n\r\n1\r\n" + END, MALFORMED),
        (b"--B\r\n" + b"X: y\r\n" * 1000 + b"\r\n1\r\n" + END, MALFORMED),
        (field(b"a", b"1"), CUT_OFF),
        (field(b"a", b"1") + b"--B", CUT_OFF),
        (field(b"a", b"1") + b"--B-", CUT_OFF),
        (field(b"a", b"1")[:-5], CUT_OFF),
        (b"--B\r\nContent-Disposition: form-data; name", CUT_OFF),
        (b"--B", CUT_OFF),
        (b"--B\r\n\r\n1\r\n" + END, NAMELESS),
        (b"--B\r\nContent-Type: text/plain\r\n\r\n1\r\n" + END, NAMELESS),
        (part(b"form-data", b"1") + END, NAMELESS),
        (part(b"form-data; filename=a", b"1") + END, NAMELESS),
        (part(b"attachment; name=a", b"1") + END, NAMELESS),
        (part(b"", b"1") + END, NAMELESS),
        (part(b"form-data; name*=utf-8''a", b"1") + END, NAMELESS),
        (part(b'form-data; name="a"; filename="a.txt"', b"1") + END, NO_FILES),
        (part(b'form-data; name="a"; filename=""', b"") + END, NO_FILES),
        (part(b'form-data; name="a"; FileName="x"', b"1") + END, NO_FILES),
        (field(b"a", b"\xff") + END, "The text is not UTF-8."),
        (field(b"\xff", b"1") + END, "The text is not UTF-8."),
        (field(b"a", b"\xed\xa0\x80") + END, "The text is not UTF-8."),
    ],
)
def test_other_multipart_bodies_are_refused_with_the_reason(body: bytes, expected: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_multipart(body, b"B")
    assert reason(caught.value, codes.UNREADABLE_BODY) == expected


def test_a_multipart_body_needs_its_boundary() -> None:
    with pytest.raises(Refusal) as caught:
        parse_multipart(field(b"a", b"1") + END, b"")
    assert reason(caught.value, codes.UNREADABLE_BODY) == "The multipart boundary is missing."


def test_a_boundary_beyond_reason_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        parse_multipart(b"--" + b"B" * 1000 + b"--\r\n", b"B" * 1000)
    assert reason(caught.value, codes.UNREADABLE_BODY) == MALFORMED


def test_a_multipart_body_has_64_fields_at_most() -> None:
    assert len(parse_multipart(b"".join(field(b"a%d" % number, b"1") for number in range(64)) + END, b"B")) == 64
    with pytest.raises(Refusal) as caught:
        parse_multipart(field(b"a", b"1") * 65 + END, b"B")
    assert reason(caught.value, codes.UNREADABLE_BODY) == "There are more than 64 fields."


# --- application/json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{}", {}),
        (b"[]", {}),
        (b" \n[ ]\t", {}),
        (b'{"a":1}', {"a": 1}),
        (b' {"a": "1" } ', {"a": "1"}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (
            b'{"a":true,"b":null,"c":1.5,"d":[1],"e":{"f":[]}}',
            {"a": True, "b": None, "c": 1.5, "d": [1], "e": {"f": []}},
        ),
        (rb'{"a":"\u00e9\ud83d\ude00\/"}', {"a": "é\U0001f600/"}),
        ('{"é":"é"}'.encode(), {"é": "é"}),
        (b'{"":""}', {"": ""}),
        (b'{"a":-0}', {"a": 0}),
        (b'{"a":' + b"9" * 40 + b"}", {"a": 10**40 - 1}),
        (b'{"a":' + b"9" * 41 + b"}", {"a": "9" * 41}),
        (b'{"a":-' + b"9" * 40 + b"}", {"a": "-" + "9" * 40}),
        (b'{"a":' + b"9" * 5000 + b"}", {"a": "9" * 5000}),
        (b'{"a":1e400}', {"a": float("inf")}),
        (b'{"a":' + b"[" * 63 + b"]" * 63 + b',"b":1}', None),
    ],
)
def test_a_json_object_is_read(text: bytes, expected: Parameters | None) -> None:
    assert parse_json(text) == (json.loads(text) if expected is None else expected)


@pytest.mark.parametrize("text", [b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", b'{"a":' * 65 + b"1" + b"}" * 65])
def test_json_that_is_nested_deeper_than_64_is_refused_whatever_the_interpreter_can_do(text: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_json(text)
    assert reason(caught.value, codes.UNREADABLE_BODY) == "The JSON body is nested more than 64 deep."


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"}",
        b'{"a":1',
        b'{"a":1,}',
        b"{'a':1}",
        b"{a:1}",
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":0x10}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":"\n"}',
        b'{"a":"\\x"}',
        b'{"a":"\\ud8"}',
        b'{"a":1} {"b":2}',
        b'{"a":1}garbage',
        b"/* */{}",
        b"a=1",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_json(text)
    assert reason(caught.value, codes.UNREADABLE_BODY) == "The body is not valid JSON."


@pytest.mark.parametrize("text", [b"1", b'"text"', b"null", b"true", b"[1]", b"[{}]", b"[[]]", b"0", b'""', b"false"])
def test_json_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_json(text)
    assert reason(caught.value, codes.UNREADABLE_BODY) == "The JSON body must be an object."


@pytest.mark.parametrize(
    "text",
    [b'{"a":"\xff"}', '{"a":"é"}'.encode("latin-1"), '{"a":1}'.encode("utf-16"), '{"a":"\xe9"}'.encode("utf-32")],
)
def test_json_that_is_not_utf_8_is_refused(text: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_json(text)
    assert reason(caught.value, codes.UNREADABLE_BODY) == "The text is not UTF-8."


# --- whichever


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=1&b=%C3%A9", FORM),
        (b"a=1&b=%C3%A9", "APPLICATION/X-WWW-Form-Urlencoded; Charset=UTF-8"),
        (b"a=1&b=%C3%A9", FORM + ' ; charset="utf8"'),
        (b'{"a":"1","b":"\\u00e9"}', "application/json"),
        (b'{"a":"1","b":"\xc3\xa9"}', "application/json; charset=utf-8"),
        (b"\n" + b'{"a":"1","b":"\xc3\xa9"}' + b"\n", "Application/JSON"),
        (field(b"a", b"1") + field(b"b", "é".encode()) + END, "multipart/form-data; boundary=B"),
        (field(b"a", b"1") + field(b"b", "é".encode()) + END, 'Multipart/Form-Data; charset=utf-8; Boundary="B"'),
    ],
)
def test_the_content_type_says_which_encoding_it_is(body: bytes, content_type: str) -> None:
    assert read(body, content_type) == {"a": "1", "b": "é"}


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t "], ids=["nothing", "blank", "blanks"])
@pytest.mark.parametrize(
    "content_type",
    [None, "", FORM, "application/json", "multipart/form-data", "text/plain", "application/json;charset=x"],
)
def test_an_empty_body_has_no_parameters_whatever_its_type(body: bytes, content_type: str | None) -> None:
    assert read(body, content_type) == {}


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/xml",
        "text/json",
        "application/jsonp",
        "application",
        "*/*",
        ";",
        "json",
        "\xff",
    ],
)
def test_another_content_type_is_refused(content_type: str | None) -> None:
    with pytest.raises(Refusal) as caught:
        read(b"a=1", content_type)
    assert reason(caught.value, codes.UNSUPPORTED_CONTENT_TYPE) == (
        "Content-Type must be application/x-www-form-urlencoded, multipart/form-data or application/json."
    )


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "utf-7", "ascii", "nonsense", "utf_8"])
@pytest.mark.parametrize("kind", [FORM, "application/json", "multipart/form-data; boundary=B", "text/plain"])
def test_another_charset_is_refused(kind: str, charset: str) -> None:
    with pytest.raises(Refusal) as caught:
        read(b"a=1", f"{kind}; charset={charset}")
    assert reason(caught.value, codes.UNSUPPORTED_CONTENT_TYPE) == "The charset must be utf-8."


@pytest.mark.parametrize("body", [b"", b"a=1"])
def test_two_content_types_are_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        read(body, FORM, ("content-type", FORM))
    assert reason(caught.value, codes.UNSUPPORTED_CONTENT_TYPE) == "There is more than one Content-Type header."


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_a_body_as_it_is_needs_no_content_encoding(encoding: str) -> None:
    assert read(b"a=1", FORM, ("content-encoding", encoding)) == {"a": "1"}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_a_compressed_body_is_refused(encoding: str) -> None:
    with pytest.raises(Refusal) as caught:
        read(b"a=1", FORM, ("content-encoding", encoding))
    assert reason(caught.value, codes.UNSUPPORTED_CONTENT_TYPE) == (
        "Content-Encoding is not supported: send the body as it is."
    )


def test_the_second_content_encoding_counts_too() -> None:
    with pytest.raises(Refusal) as caught:
        read(b"a=1", FORM, ("content-encoding", "identity"), ("content-encoding", "gzip"))
    assert reason(caught.value, codes.UNSUPPORTED_CONTENT_TYPE).startswith("Content-Encoding")


@pytest.mark.parametrize("content_type", ["multipart/form-data", 'multipart/form-data; boundary=""'])
def test_multipart_without_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(Refusal) as caught:
        read(field(b"a", b"1") + END, content_type)
    assert reason(caught.value, codes.UNREADABLE_BODY) == "The multipart boundary is missing."


def test_a_body_may_have_exactly_the_most_bytes() -> None:
    assert read(b"a=12", FORM, most_bytes=4) == {"a": "12"}
    with pytest.raises(Refusal) as caught:
        read(b"a=123", FORM, most_bytes=4)
    assert reason(caught.value, codes.BODY_TOO_LARGE) == "The body must not be larger than 4 bytes."
    assert caught.value.headers == {"Connection": "close"}


def test_a_body_that_announces_too_much_is_refused_before_it_is_read() -> None:
    announced = request([], ("content-type", FORM), ("content-length", "10001"))

    async def never() -> Message:
        raise AssertionError("the body was read")

    announced._receive = never  # noqa: SLF001 -- it must not be called
    with pytest.raises(Refusal) as caught:
        asyncio.run(read_body(announced, 10_000))
    assert caught.value.code is codes.BODY_TOO_LARGE


@pytest.mark.parametrize("announced", ["3", "0", "", "garbage", "-1", "9" * 30, "\xb2"])
def test_what_counts_is_what_is_received(announced: str) -> None:
    assert read(b"a=1", FORM, ("content-length", announced)) == {"a": "1"}
    with pytest.raises(Refusal):
        read(b"a=" + b"x" * 10_000, FORM, ("content-length", announced))


def test_a_body_without_end_is_cut_off_at_the_limit() -> None:
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 1000
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    endless = Request({"type": "http", "method": "POST", "headers": [(b"content-type", FORM.encode())]}, receive)
    with pytest.raises(Refusal) as caught:
        asyncio.run(read_body(endless, 4096))
    assert caught.value.code is codes.BODY_TOO_LARGE
    assert received == 5000


def test_a_body_may_come_in_pieces() -> None:
    text = "a=é&b=2".encode()
    pieces = [text[start : start + 1] for start in range(len(text))]
    assert asyncio.run(read_body(request(pieces, ("content-type", FORM)), 100)) == {"a": "é", "b": "2"}


PIECES = [
    *rb'--B;--;Content-Disposition: form-data; name=;";a;=;:;{;};[;];,;1;&;%;%41;\u; ;filename=;*'.split(b";"),
    *(b"\r\n", b"\r", b"\n", b";", b"\0", b"\xff"),
]
noise = st.lists(st.sampled_from(PIECES) | st.binary(max_size=5), max_size=40).map(b"".join)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=noise, kind=st.sampled_from([FORM, "application/json", "multipart/form-data; boundary=B"]))
def test_noise_is_read_or_refused_and_never_an_accident(body: bytes, kind: str) -> None:
    try:
        found = read(body, kind)
    except Refusal as refused:
        reason(refused, codes.UNREADABLE_BODY)
    else:
        assert all(isinstance(name, str) for name in found)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(header=st.text(st.characters(max_codepoint=255), max_size=60))
def test_a_content_type_of_noise_is_refused_and_never_an_accident(header: str) -> None:
    with pytest.raises(Refusal) as caught:
        read(b"a=1", "x" + header)
    assert reason(caught.value, codes.UNSUPPORTED_CONTENT_TYPE)
