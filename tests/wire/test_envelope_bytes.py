"""The HTTP body, byte for byte."""

import json

import pytest

from hanaper.protocol import envelope
from hanaper.protocol.envelope import Envelope

# The payload and the signature are chosen so that both base64 texts have a slash and a plus sign.
PAYLOAD = b'{"code":815,"message":"???>>>","url":"a\\/b","timestamp":1709003415}'
SIGNATURE = bytes([0xFB, 0xEF, 0xFF, 0xFF, 0x3F, 0x00])
BODY = (
    b'{"response":{"code":815,"message":"???>>>","url":"a\\/b","timestamp":1709003415},'
    b'"response_base64":"eyJjb2RlIjo4MTUsIm1lc3NhZ2UiOiI\\/Pz8+Pj4iLCJ1cmwiOiJhXC9iIiwidGltZXN0YW1wIjoxNzA5MDAzNDE1fQ==",'
    b'"private_key_used":"product",'
    b'"signature":"++\\/\\/\\/z8A"}'
)


def test_the_outer_bytes_are_frozen() -> None:
    assert Envelope(PAYLOAD, "product", SIGNATURE).encode() == BODY


def test_what_is_signed_has_its_slashes_plain() -> None:
    """The escapes belong to the outer JSON; a client that parses it has the text that was signed."""
    signed = Envelope(PAYLOAD, "product", SIGNATURE).response_base64
    assert signed == (b"eyJjb2RlIjo4MTUsIm1lc3NhZ2UiOiI/Pz8+Pj4iLCJ1cmwiOiJhXC9iIiwidGltZXN0YW1wIjoxNzA5MDAzNDE1fQ==")
    assert json.loads(BODY)["response_base64"] == signed.decode()


def test_the_outer_bytes_can_be_read_back() -> None:
    assert envelope.decode(BODY) == Envelope(PAYLOAD, "product", SIGNATURE)


@pytest.mark.parametrize("label", ["product", "global"])
def test_four_names_in_this_order_and_nothing_after_them(label: str) -> None:
    body = Envelope(b'{"code":100}', label, b"\0").encode()
    assert body == (
        b'{"response":{"code":100},"response_base64":"eyJjb2RlIjoxMDB9","private_key_used":"'
        + label.encode()
        + b'","signature":"AA=="}'
    )
