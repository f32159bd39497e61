"""Checking signatures with a public key."""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from hanaper.protocol.envelope import Envelope
from hanaper.settings import MINIMUM_KEY_BITS

_PADDING = padding.PKCS1v15()
_HASH = hashes.SHA256()
_PREHASHED = Prehashed(_HASH)


class Verifier:
    """Verifies RSASSA-PKCS1-v1_5 signatures with SHA-256 (RFC 8017 8.2; protocol.md 1.4)."""

    def __init__(self, public_key: rsa.RSAPublicKey) -> None:
        self._public_key = public_key

    @classmethod
    def from_pem(cls, pem: bytes) -> "Verifier":
        """Read a public key.

        Raises:
            ValueError: not PEM, not a public key, not RSA, or fewer than 2048 bits.
        """
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ValueError("it is not a PEM public key") from error
        if not isinstance(key, rsa.RSAPublicKey):
            raise ValueError("it is not an RSA key")
        if key.key_size < MINIMUM_KEY_BITS:
            raise ValueError(f"it has {key.key_size} bits, fewer than {MINIMUM_KEY_BITS}")
        return cls(key)

    def accepts(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature was made over these bytes with the private half."""
        return self._accepts(message, signature, _HASH)

    def accepts_digest(self, digest: bytes, signature: bytes) -> bool:
        """Whether the signature was made over a message with this SHA-256."""
        return self._accepts(digest, signature, _PREHASHED)

    def _accepts(self, data: bytes, signature: bytes, algorithm: hashes.SHA256 | Prehashed) -> bool:
        try:
            self._public_key.verify(signature, data, _PADDING, algorithm)
        except InvalidSignature:
            return False
        return True

    def accepts_envelope(self, envelope: Envelope) -> bool:
        """Whether the signature covers the ASCII text of `response_base64`."""
        return self.accepts(envelope.response_base64, envelope.signature)
