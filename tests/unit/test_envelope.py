"""Reading envelopes back: what is none, and what contradicts itself."""

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hanaper.protocol import envelope
from hanaper.protocol.envelope import Envelope


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def body(**changes: Any) -> bytes:
    outer = {
        "response": {"code": 100},
        "response_base64": b64('{"code":100}'),
        "private_key_used": "global",
        "signature": "AAAA",
    }
    return json.dumps({name: value for name, value in (outer | changes).items() if value is not ...}).encode()


def test_an_envelope_is_read() -> None:
    assert envelope.decode(body()) == Envelope(b'{"code":100}', "global", bytes(3))


def test_more_names_than_four_are_ignored() -> None:
    assert envelope.decode(body(signature_metadata={"algorithm": "x"})) == envelope.decode(body())


@pytest.mark.parametrize(
    "text", [b"", b"garbage", b"{", b"\xff\xfe", b'{"a":1}{}', b"[" * 100_000, b"\0", b'{"response": ' * 5000]
)
def test_what_is_no_json_is_no_envelope(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not an envelope: the text is not JSON$"):
        envelope.decode(text)


@pytest.mark.parametrize("text", [b"[]", b"1", b"null", b'"text"', b"true", b"[{}]"])
def test_json_that_is_no_object_is_no_envelope(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not an envelope: the JSON is not an object$"):
        envelope.decode(text)


@pytest.mark.parametrize("name", ["response_base64", "private_key_used", "signature"])
@pytest.mark.parametrize("value", [..., None, 1, True, [], {}, ["AAAA"]], ids=repr)
def test_three_of_the_four_are_text(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^not an envelope: {name} is missing or not text$"):
        envelope.decode(body(**{name: value}))


@pytest.mark.parametrize("name", ["response_base64", "signature"])
@pytest.mark.parametrize("text", ["*", "A", "AAA", "AAAA=", "AA==AA==", "AAAA\n", "é", "-_-_", chr(0xD800)], ids=ascii)
def test_what_is_no_base64_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is not (canonical )?base64$"):
        envelope.decode(body(**{name: text}))


@pytest.mark.parametrize("text", ["AB==", "AAB=", "//=="])
def test_base64_with_spare_bits_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^signature is not canonical base64$"):
        envelope.decode(body(signature=text))


def test_the_text_for_no_key_is_no_signature() -> None:
    with pytest.raises(ValueError, match=r"^signature is not base64$"):
        envelope.decode(body(signature="Private key not set"))


@pytest.mark.parametrize("text", ["", "garbage", '{"code":100', '{"code":100}x'])
def test_what_is_signed_must_be_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"^response_base64 does not hold JSON$"):
        envelope.decode(body(response_base64=b64(text)))


def test_what_is_signed_must_be_json_of_reasonable_depth() -> None:
    with pytest.raises(ValueError, match=r"^response_base64 does not hold JSON$"):
        envelope.decode(body(response_base64=b64("[" * 50_000 + "]" * 50_000)))


@pytest.mark.parametrize(
    ("response", "signed"),
    [
        (..., '{"code":100}'),
        (None, '{"code":100}'),
        ({}, '{"code":100}'),
        ([], "{}"),
        ({"code": 101}, '{"code":100}'),
        ({"code": "100"}, '{"code":100}'),
        ({"code": 100.0}, '{"code":100}'),
        ({"code": True}, '{"code":1}'),
        ({"code": 0}, '{"code":false}'),
        ({"code": 100, "more": 1}, '{"code":100}'),
        ({"keys": ["a", "b"]}, '{"keys":["b","a"]}'),
        ({"a": {"b": [{"c": 1}]}}, '{"a":{"b":[{"c":2}]}}'),
        ({"a": "e\u0301"}, '{"a":"\u00e9"}'),
        ({"a": "A"}, '{"a":"a"}'),
        ({"a": ""}, '{"a":null}'),
    ],
)
def test_a_response_that_differs_from_what_is_signed_is_refused(response: Any, signed: str) -> None:
    with pytest.raises(ValueError, match=r"^response differs from the signed response_base64$"):
        envelope.decode(body(response=response, response_base64=b64(signed)))


@pytest.mark.parametrize(
    ("response", "signed"),
    [
        ({"a": 1, "b": 2}, '{"b":2,"a":1}'),
        ({"a": "/é"}, '{"a":"\\/\\u00e9"}'),
        ({"a": [1, {"b": None}]}, ' { "a" : [ 1 , { "b" : null } ] } '),
        (None, "null"),
    ],
)
def test_the_order_of_names_and_the_spelling_do_not_count(response: Any, signed: str) -> None:
    found = envelope.decode(body(response=response, response_base64=b64(signed)))
    assert found.payload_bytes == signed.encode(), "what is signed is kept as it came"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(payload=st.dictionaries(st.text(), st.text() | st.integers()), signature=st.binary(max_size=300))
def test_what_was_encoded_can_be_decoded(payload: dict[str, Any], signature: bytes) -> None:
    text = json.dumps(payload).encode()
    sealed = Envelope(text, "product", signature)
    assert envelope.decode(sealed.encode()) == sealed


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.binary() | st.text().map(str.encode))
def test_noise_is_refused_and_never_an_accident(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not an envelope: "):
        envelope.decode(text)
