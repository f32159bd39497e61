"""The envelope: the four keys around every answer (protocol.md 1.1)."""

import base64
import binascii
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Envelope:
    """One signed answer.

    Attributes:
        payload_bytes: the exact bytes of `response`.
        private_key_used: "product" or "global".
        signature: the raw RSA signature over the ASCII text of `response_base64`.
    """

    payload_bytes: bytes
    private_key_used: str
    signature: bytes

    @property
    def response_base64(self) -> bytes:
        """The signed message: standard base64 of the payload bytes, padded, one line, as ASCII bytes."""
        return base64.b64encode(self.payload_bytes)

    def encode(self) -> bytes:
        """The HTTP body, see `seal`."""
        return seal(self.payload_bytes, self.response_base64, self.private_key_used, self.signature)


def seal(payload_bytes: bytes, response_base64: bytes, private_key_used: str, signature: bytes) -> bytes:
    """The HTTP body. The payload bytes go in as they stand; nothing is serialised twice.

    Slashes inside the base64 texts are escaped, as in the payload (protocol.md 1.3, last paragraph).

    Args:
        payload_bytes: the exact bytes of `response`.
        response_base64: their base64, which was signed.
        private_key_used: "product" or "global".
        signature: the raw RSA signature.
    """
    return b'{"response":%b,"response_base64":"%b","private_key_used":"%b","signature":"%b"}' % (
        payload_bytes,
        response_base64.replace(b"/", b"\\/"),
        private_key_used.encode("ascii"),
        base64.b64encode(signature).replace(b"/", b"\\/"),
    )


def decode(body: bytes) -> Envelope:
    """Read an envelope back, for a verifier.

    The returned payload is the *decoded `response_base64`*, the only part the signature covers; the `response` object
    beside it must say the same.

    Args:
        body: an HTTP body, or an envelope saved to a file.

    Raises:
        ValueError: not an envelope, base64 that is not canonical, or a `response` that differs from the signed bytes.
    """
    try:
        outer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("not an envelope: the text is not JSON") from error
    if not isinstance(outer, dict):
        raise ValueError("not an envelope: the JSON is not an object")
    texts: dict[str, str] = {}
    for key in ("response_base64", "private_key_used", "signature"):
        value = outer.get(key)
        if not isinstance(value, str):
            raise ValueError(f"not an envelope: {key} is missing or not text")
        texts[key] = value
    payload_bytes = _canonical_base64("response_base64", texts["response_base64"])
    signature = _canonical_base64("signature", texts["signature"])
    try:
        signed = json.loads(payload_bytes)
    except (ValueError, RecursionError) as error:
        raise ValueError("response_base64 does not hold JSON") from error
    if not _same(outer.get("response"), signed):
        raise ValueError("response differs from the signed response_base64")
    return Envelope(payload_bytes, texts["private_key_used"], signature)


def _canonical_base64(name: str, text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{name} is not base64") from error
    if base64.b64encode(raw).decode("ascii") != text:
        raise ValueError(f"{name} is not canonical base64")
    return raw


def _same(left: object, right: object) -> bool:
    """Equality as JSON has it: `1`, `1.0` and `true` differ, the order of names does not matter."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
