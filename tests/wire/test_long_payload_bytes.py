"""A payload that is encoded piece by piece has the bytes of one that is encoded at once."""

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from hanaper.protocol import envelope, payload
from hanaper.protocol.long_payload import LongPayload

HEAD: payload.Payload = {"code": 815, "message": "Generated license keys"}
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.from_regex(r"[a-f0-9-]{1,40}", fullmatch=True))


@given(
    pieces=st.lists(TEXTS, max_size=6), timestamp=st.integers(0, 2**40), signature=st.binary(min_size=1, max_size=64)
)
def test_the_bytes_do_not_depend_on_the_pieces(pieces: list[list[str]], timestamp: int, signature: bytes) -> None:
    long_payload = LongPayload(HEAD, "licenseKeys")
    for piece in pieces:
        long_payload.add(piece)
    digest = long_payload.finish({"timestamp": timestamp})
    together = [text for piece in pieces for text in piece]
    at_once = payload.encode({**HEAD, "licenseKeys": together, "timestamp": timestamp})
    assert digest == hashlib.sha256(base64.b64encode(at_once)).digest()
    expected = envelope.seal(at_once, base64.b64encode(at_once), "product", signature)
    assert long_payload.sealed("product", signature) == expected
