"""What an API key looks like, and its digest (reliability.md 4.1).

`hnp_live_` or `hnp_test_`, 43 base62 characters (256 bits), 6 base62 characters of CRC-32 over all before them. The
prefix lets secret scanners find a leaked key, the checksum catches a typing error before the database is asked.
"""

import hashlib
import hmac
import math
import re
import secrets
import string
import zlib
from functools import cache
from typing import Literal

from hanaper.refusal import Invalid

PUBLISHED_SAMPLE = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
"""The key in the reference system's public documentation: everybody knows it."""

LONGEST = 255
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_CHARACTERS = 43
_CHECKSUM_CHARACTERS = 6
_OWN = re.compile(r"hnp_(?:live|test)_[0-9A-Za-z]{49}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_LEAST_IMPORTED_CHARACTERS = 32
_LEAST_IMPORTED_BITS = 100


def new(kind: Literal["live", "test"]) -> str:
    """Draw a new API key."""
    body = f"hnp_{kind}_" + "".join(secrets.choice(_BASE62) for _ in range(_SECRET_CHARACTERS))
    return body + _checksum(body)


def normal(presented: str) -> str | None:
    """The form of a presented key that is digested; None when it cannot be a key of this server.

    UUID keys are compared without regard to case, as the reference system does.
    """
    if not presented.isascii() or not presented.isprintable() or len(presented) > LONGEST:
        return None
    if presented.startswith("hnp_"):
        body, checksum = presented[:-_CHECKSUM_CHARACTERS], presented[-_CHECKSUM_CHARACTERS:]
        return presented if _OWN.fullmatch(presented) and _checksum(body) == checksum else None
    return presented.lower() if _UUID.fullmatch(presented) else presented


def imported(secret: str) -> str:
    """Check a key that another system made.

    Returns:
        The form that is digested.

    Raises:
        Invalid: the published sample, or a key that can be guessed. The text does not repeat the key.
    """
    found = normal(secret)
    if found is None or found.startswith("hnp_"):
        raise Invalid("this is not a key to import: printable ASCII, at most 255 characters, not one of hanaper's own")
    if found == PUBLISHED_SAMPLE:
        raise Invalid("this is the sample key of the reference system's public documentation: make a new one")
    if _UUID.fullmatch(found):
        if not _UUID4.fullmatch(found):
            raise Invalid("of UUIDs only random ones (version 4) are imported: make a new key instead")
        return found
    bits = len(found) * math.log2(len(set(found)) or 1)
    if len(found) < _LEAST_IMPORTED_CHARACTERS or bits < _LEAST_IMPORTED_BITS:
        raise Invalid(
            f"this key can be guessed: {len(found)} characters, at most {bits:.0f} bits; "
            f"at least {_LEAST_IMPORTED_CHARACTERS} characters and {_LEAST_IMPORTED_BITS} bits are needed"
        )
    return found


def digest(pepper: bytes, key: str) -> bytes:
    """HMAC-SHA-256 of a key in its normal form, 32 bytes.

    A fast digest is right here: the keys are random, and a slow one would let anybody load the server
    (reliability.md 4.1).
    """
    keyed = _keyed(pepper).copy()
    keyed.update(key.encode("ascii"))
    return keyed.digest()


@cache
def _keyed(pepper: bytes) -> hmac.HMAC:
    """The state after the key has been taken in, which is half of the work."""
    return hmac.new(pepper, digestmod=hashlib.sha256)


def hint(key: str) -> str:
    """Enough of a key to recognise it by: its prefix and its last four characters."""
    prefix = key[:9] if key.startswith("hnp_") else ""
    return f"{prefix}…{key[-4:]}"


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode("ascii"))
    characters = []
    for _ in range(_CHECKSUM_CHARACTERS):
        value, digit = divmod(value, len(_BASE62))
        characters.append(_BASE62[digit])
    return "".join(reversed(characters))
