"""Signing with a private key, wherever it lies."""

import asyncio
import hashlib
from concurrent.futures import Future
from typing import Protocol, final, runtime_checkable

from hanaper.refusal import TokenAway
from hanaper.signing.verifier import Verifier

LONGEST_WAIT_S = 5.0
"""For a signature from elsewhere: less than any request or transaction waits for the database (decision 0016)."""


class SigningFailed(Exception):
    """The signer made a signature that its own public key rejects. It must not leave the process."""


class PrivateKey(Protocol):
    """A private key with its published half: in this process (`KeyPair`), or elsewhere.

    It makes raw signatures, RSASSA-PKCS1-v1_5 over a SHA-256 (RFC 8017 8.2; protocol.md 1.4), that nobody has verified.
    Only `Signer` asks it for any.
    """

    @property
    def kid(self) -> str:
        """The key's identifier."""

    @property
    def public_pem(self) -> str:
        """The public half, as it is published."""

    def sign_digest(self, digest: bytes) -> bytes:
        """The signature of a message with this SHA-256.

        Raises:
            TokenAway: it cannot be had now.
        """


@runtime_checkable
class DistantKey(PrivateKey, Protocol):
    """A private key in a device: its signatures take longer than an event loop may stand still."""

    def ask(self, digest: bytes) -> Future[bytes]:
        """Have a signature made elsewhere.

        Raises:
            TokenAway: it cannot be had now.
        """


class Signer:
    """Signs with one RSA key, and verifies before release.

    One faulty RSA-CRT signature gives the private key away (Boneh, DeMillo, Lipton 1997), and a wrong one breaks every
    client; the check costs about 3 % of the signature. It stands here, once for every kind of key.
    """

    def __init__(self, key: PrivateKey) -> None:
        """Sign with a key.

        Raises:
            ValueError: its public half is none that is accepted here.
        """
        self._key = key
        self._distant = key if isinstance(key, DistantKey) else None
        self._verifier = Verifier.from_pem(key.public_pem.encode("ascii"))

    @property
    def kid(self) -> str:
        """The key's identifier."""
        return self._key.kid

    @property
    def public_pem(self) -> str:
        """The public half."""
        return self._key.public_pem

    @property
    def is_distant(self) -> bool:
        """Whether its signatures take longer than an event loop may stand still."""
        return self._distant is not None

    @final
    def sign(self, message: bytes) -> bytes:
        """Sign.

        Raises:
            SigningFailed: the signature does not verify.
            TokenAway: the key is elsewhere, and cannot be had now.
        """
        return self.sign_digest(hashlib.sha256(message).digest())

    @final
    def sign_digest(self, digest: bytes) -> bytes:
        """Sign a message of which only the SHA-256 is at hand. The same signature as `sign`.

        Raises:
            SigningFailed: the signature does not verify.
            TokenAway: the key is elsewhere, and cannot be had now.
        """
        return self._verified(digest, self._raw(digest))

    @final
    async def sign_meanwhile(self, message: bytes) -> bytes:
        """The same signature as `sign`. A distant key keeps the event loop from nothing else.

        Raises:
            SigningFailed: the signature does not verify.
            TokenAway: the key is elsewhere, and cannot be had now.
        """
        if self._distant is None:
            return self.sign(message)
        digest = hashlib.sha256(message).digest()
        begun = self._distant.ask(digest)
        try:
            raw = await asyncio.wait_for(asyncio.wrap_future(begun), LONGEST_WAIT_S)
        except TimeoutError:
            raise TokenAway(f"signing key {self.kid} has not signed within {LONGEST_WAIT_S:g} s") from None
        return self._verified(digest, raw)

    def _raw(self, digest: bytes) -> bytes:
        return self._key.sign_digest(digest)

    def _verified(self, digest: bytes, signature: bytes) -> bytes:
        if not self._verifier.accepts_digest(digest, signature):
            raise SigningFailed(f"key {self.kid} made a signature that does not verify")
        return signature
