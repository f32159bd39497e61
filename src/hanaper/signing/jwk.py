"""Public keys as JSON Web Keys (RFC 7517; RFC 7518, 6.3.1)."""

import base64
from typing import TypedDict

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key


class Jwk(TypedDict):
    """The public half of an RSA signing key."""

    kty: str
    use: str
    alg: str
    kid: str
    n: str
    e: str


def jwk_of(public_pem: str, kid: str) -> Jwk:
    """A public key as a JSON Web Key."""
    key = load_pem_public_key(public_pem.encode("ascii"))
    assert isinstance(key, rsa.RSAPublicKey)  # noqa: S101 -- there are no others in the database
    numbers = key.public_numbers()
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": _number(numbers.n), "e": _number(numbers.e)}


def _number(value: int) -> str:
    """Base64urlUInt (RFC 7518, 2)."""
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
