"""What an idempotency key is, and what makes two requests the same (protocol.md 7.1)."""

import hashlib
import json
import re
from collections.abc import Mapping

LONGEST_KEY = 255
NOT_COMPARED = frozenset({"api_key", "idempotencyKey", "idempotency_key"})
"""Parameters that say who asks and under which key, not what is asked."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


def key_of(text: str) -> str | None:
    """The idempotency key in a header or a field; None where the text is none.

    A key is 1 to 255 visible ASCII characters. The quotes of a structured field (RFC 8941, 3.3.3) are taken off.
    """
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return text if _KEY.fullmatch(text) else None


def scope_of(api_key_id: int, endpoint: str, key: str) -> bytes:
    """Where a key counts: for one API key on one endpoint. 32 bytes."""
    return hashlib.sha256(f"{api_key_id}\n{endpoint}\n{key}".encode("ascii")).digest()


def fingerprint_of(parameters: Mapping[str, object]) -> bytes:
    """What is asked, as 32 bytes: equal for the same names and values, in whatever order or encoding they came.

    A JSON number equals the same digits in a form.
    """
    compared = {name: as_text(value) for name, value in parameters.items() if name not in NOT_COMPARED}
    return hashlib.sha256(json.dumps(compared, sort_keys=True, separators=(",", ":")).encode("ascii")).digest()


def as_text(value: object) -> object:
    """A JSON number as its digits; anything else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
