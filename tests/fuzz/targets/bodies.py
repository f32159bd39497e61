"""Bodies: the first line is the Content-Type."""

import json
from collections.abc import Iterator
from urllib.parse import quote_from_bytes

from tests.fuzz.asked import request, result
from tests.support import malformed

from hanaper.idempotency.rules import fingerprint_of
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.web.body import MOST_FIELDS, Parameters, read_body
from hanaper.web.parameters import clean

MOST_BYTES = 4096
_FORM = malformed.FORM.encode()
_JSON = malformed.JSON.encode()
_ALLOWED = (codes.BODY_TOO_LARGE, codes.UNREADABLE_BODY, codes.UNSUPPORTED_CONTENT_TYPE)


def run(data: bytes) -> None:
    kind, _, body = data.partition(b"\n")
    try:
        found = _read(kind, body)
    except Refusal as refusal:
        assert refusal.code in _ALLOWED
        return
    assert all(type(name) is str for name in found)
    cleaned = clean(found)
    assert clean(cleaned) == cleaned
    assert len(fingerprint_of(cleaned)) == 32
    if _are_texts(found):
        assert _read(_JSON, json.dumps(found).encode(), most=10**6) == found
        assert len(found) <= MOST_FIELDS or kind.lower().startswith(_JSON)
        if len(found) <= MOST_FIELDS:
            assert _read(_FORM, _urlencoded(found), most=10**6) == found


def seeds() -> Iterator[bytes]:
    for row in malformed.corpus():
        kinds = [value for name, value in row.headers if name.lower() == "content-type"]
        if len(kinds) == 1 and len(row.body) < MOST_BYTES:
            yield kinds[0] + b"\n" + row.body


def _read(kind: bytes, body: bytes, most: int = MOST_BYTES) -> Parameters:
    return result(read_body(request([(b"content-type", kind)], body), most))


def _are_texts(found: Parameters) -> bool:
    """Whether it can be written in any encoding."""
    try:
        return all(isinstance(value, str) and (name + value).encode() is not None for name, value in found.items())
    except UnicodeEncodeError:
        return False


def _urlencoded(found: Parameters) -> bytes:
    pairs = [
        f"{quote_from_bytes(name.encode())}={quote_from_bytes(str(value).encode())}" for name, value in found.items()
    ]
    return "&".join(pairs).encode()
