"""Signing with a private key."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from hanaper.signing.key_pair import KeyPair
from hanaper.signing.verifier import Verifier

_PADDING = padding.PKCS1v15()
_HASH = hashes.SHA256()
_PREHASHED = Prehashed(_HASH)


class SigningFailed(Exception):
    """The signer made a signature that its own public key rejects. It must not leave the process."""


class Signer:
    """Signs with one RSA key: RSASSA-PKCS1-v1_5, SHA-256 (RFC 8017 8.2; protocol.md 1.4)."""

    def __init__(self, pair: KeyPair) -> None:
        self._pair = pair
        self._verifier = Verifier(pair.private_key.public_key())

    @property
    def kid(self) -> str:
        """The key's identifier."""
        return self._pair.kid

    @property
    def public_pem(self) -> str:
        """The public half."""
        return self._pair.public_pem

    def sign(self, message: bytes) -> bytes:
        """Sign, and verify before release.

        One faulty RSA-CRT signature gives the private key away (Boneh, DeMillo, Lipton 1997), and a wrong one breaks
        every client; the check costs about 3 % of the signature.

        Raises:
            SigningFailed: the signature does not verify.
        """
        signature = self._raw(message)
        if not self._verifier.accepts(message, signature):
            raise SigningFailed(f"key {self.kid} made a signature that does not verify")
        return signature

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign a message of which only the SHA-256 is at hand, and verify before release. The same signature as `sign`.

        Raises:
            SigningFailed: the signature does not verify.
        """
        signature = self._pair.private_key.sign(digest, _PADDING, _PREHASHED)
        if not self._verifier.accepts_digest(digest, signature):
            raise SigningFailed(f"key {self.kid} made a signature that does not verify")
        return signature

    def _raw(self, message: bytes) -> bytes:
        return self._pair.private_key.sign(message, _PADDING, _HASH)
