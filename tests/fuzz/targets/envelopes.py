"""Envelopes as a verifier reads them."""

import json
from collections.abc import Iterator

from tests.fuzz.targets import payloads

from hanaper.protocol import envelope


def run(data: bytes) -> None:
    try:
        found = envelope.decode(data)
    except ValueError:
        return
    # The names may come in another order, and the object beside what is signed in other words; not what is signed.
    try:
        found.private_key_used.encode("ascii")
        found.payload_bytes.decode("utf-8")
    except UnicodeError:
        return
    outer = json.loads(data)
    assert outer["response_base64"].encode() == found.response_base64
    assert isinstance(found.signature, bytes)


def seeds() -> Iterator[bytes]:
    for text in (b"{}", b"[]", b'{"code":815,"timestamp":1}', b'{"a":1.0}', b'{"a":true,"b":[null,"\\u00e9"]}'):
        yield envelope.Envelope(text, "product", payloads.SIGNATURE[:4]).encode()
    yield b'{"response":1,"response_base64":"MQ==","private_key_used":"","signature":""}'
    yield b'{"response":1,"response_base64":"MR==","private_key_used":"","signature":"AAA"}'
