"""A signing key that lies in a token."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from hanaper.refusal import TokenAway
from hanaper.signing.signer import LONGEST_WAIT_S


class Signing(Protocol):
    """The token, as far as its keys need it."""

    @property
    def label(self) -> str:
        """Names the token."""

    def begin_signing(self, kid: str, public_pem: str, digest: bytes) -> Future[bytes]:
        """Have a raw signature made."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A private key in a token, with its public half. See `DistantKey`.

    Attributes:
        kid: names it here and in the token.
        public_pem: SubjectPublicKeyInfo, PEM, with a final newline.
        bits: length of the modulus.
    """

    token: Signing = field(repr=False)
    kid: str
    public_pem: str
    bits: int

    def ask(self, digest: bytes) -> Future[bytes]:
        """Have the raw signature made."""
        return self.token.begin_signing(self.kid, self.public_pem, digest)

    def sign_digest(self, digest: bytes) -> bytes:
        """Wait for the raw signature.

        Raises:
            TokenAway: the token does not answer.
        """
        begun = self.ask(digest)
        try:
            return begun.result(LONGEST_WAIT_S)
        except TimeoutError:
            begun.cancel()
            raise TokenAway(f"token {self.token.label!r} has not signed within {LONGEST_WAIT_S:g} s") from None
