"""Idempotency keys: header lines, an empty line, and a JSON object."""

from collections.abc import Iterator

from tests.fuzz.asked import in_two, request

from hanaper.access.authenticate import Caller
from hanaper.idempotency import rules
from hanaper.protocol import codes, payload
from hanaper.refusal import Refusal
from hanaper.storage.scope import EVERYTHING
from hanaper.web.idempotent import keyed

CALLER = Caller(1, EVERYTHING)


def run(data: bytes) -> None:
    parts = in_two(data)
    if parts is None:
        return
    headers, parameters = parts
    given = [value for name, value in headers if name == b"idempotency-key"]
    try:
        found = keyed(request(headers), parameters, CALLER, "generate")
    except Refusal as refusal:
        assert refusal.code is codes.INCORRECT_DATA_LICENSE_CREATE
        payload.encode(refusal.payload)
        return
    assert len(given) < 2
    if found is None:
        assert not given
        return
    assert len(found.scope) == len(found.fingerprint) == 32
    if given:
        # It is the text between the quotes, and no two texts are one key.
        bare = given[0].strip(b" \t").decode("latin-1")
        key = rules.key_of(bare)
        assert key in (bare, bare[1:-1])
        assert 0 < len(key or "") <= rules.LONGEST_KEY
        assert found.scope == keyed_as(f'"{key}"'.encode()) != keyed_as(f"{key}x".encode())


def keyed_as(line: bytes) -> bytes | None:
    try:
        found = keyed(request([(b"idempotency-key", line)]), {}, CALLER, "generate")
    except Refusal:
        return None
    return None if found is None else found.scope


def seeds() -> Iterator[bytes]:
    for value in (
        b"k",
        b'"k"',
        b'""',
        b'"',
        b"a b",
        b"\xa0",
        b"a" * 255,
        b"a" * 256,
        b'"' + b"a" * 255 + b'"',
        b"\t k\t",
    ):
        yield b"Idempotency-Key: " + value
    yield b'Idempotency-Key: a\n\n{"quantity":1}'
    yield b"Idempotency-Key: a\nidempotency-key: b"
    yield from (b'\n\n{"idempotency_key":%b}' % value for value in (b'"k"', b"1", b"1.5", b"[]", b"true", b'"\\u00e9"'))
