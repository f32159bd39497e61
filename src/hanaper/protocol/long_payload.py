"""A payload with one long array, encoded, put into base64 and hashed piece by piece as it grows (protocol.md 1.3, 1.4).

The bytes are those of `payload.encode` and `envelope.seal`. Done at once, megabytes would keep everybody else waiting.
"""

import base64
import hashlib
from collections.abc import Sequence

from hanaper.protocol.payload import Payload, encode, encode_items


class LongPayload:
    """Grows by `add`, and is complete with `finish`."""

    def __init__(self, head: Payload, array_name: str) -> None:
        """Begin.

        Args:
            head: the fields before the array; at least one.
            array_name: name of the array of texts.
        """
        self._base64: list[bytes] = []
        self._payload: list[bytes] = []
        self._rest = b""
        self._digest = hashlib.sha256()
        self._is_empty = True
        # `encode` with an empty array ends in "[]}".
        self._put(encode({**head, array_name: []})[:-2])

    def add(self, texts: Sequence[str]) -> None:
        """Add texts to the array.

        Raises:
            ValueError: a text that is not Unicode.
        """
        if texts:
            self._put((b"" if self._is_empty else b",") + encode_items(list(texts)))
            self._is_empty = False

    def finish(self, tail: Payload) -> bytes:
        """End the array, add the fields behind it, and give the SHA-256 of the base64 text: what is signed."""
        self._put(b"]," + encode(tail)[1:])
        self._take(base64.b64encode(self._rest))
        self._rest = b""
        return self._digest.digest()

    def sealed(self, private_key_used: str, signature: bytes) -> bytes:
        """The HTTP body, see `envelope.seal`."""
        return b"".join(
            (
                b'{"response":',
                *self._payload,
                b',"response_base64":"',
                *self._base64,
                b'","private_key_used":"%b","signature":"' % private_key_used.encode("ascii"),
                base64.b64encode(signature).replace(b"/", b"\\/"),
                b'"}',
            )
        )

    def _put(self, piece: bytes) -> None:
        self._payload.append(piece)
        whole = self._rest + piece
        # Base64 takes three bytes at a time; what is left over waits for the next piece.
        cut = len(whole) - len(whole) % 3
        self._rest = whole[cut:]
        self._take(base64.b64encode(whole[:cut]))

    def _take(self, text: bytes) -> None:
        self._digest.update(text)
        self._base64.append(text.replace(b"/", b"\\/"))
