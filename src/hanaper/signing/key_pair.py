"""RSA key pairs: a private key with its published half."""

import hashlib
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from hanaper.refusal import Misconfigured
from hanaper.settings import MINIMUM_KEY_BITS

PUBLIC_EXPONENT = 65537
_PADDING = padding.PKCS1v15()
_PREHASHED = Prehashed(hashes.SHA256())


def published(public_key: rsa.RSAPublicKey) -> tuple[str, str]:
    """A public key as it is published: SubjectPublicKeyInfo as PEM with a final newline, and the `kid`."""
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    der = public_key.public_bytes(serialization.Encoding.DER, spki)
    pem = public_key.public_bytes(serialization.Encoding.PEM, spki)
    return pem.decode("ascii"), hashlib.sha256(der).hexdigest()[:16]


def published_numbers(modulus: int, exponent: int) -> tuple[str, str]:
    """The same for a key of which only the numbers are at hand.

    Raises:
        ValueError: they are no RSA key's.
    """
    return published(rsa.RSAPublicNumbers(exponent, modulus).public_key())


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """An RSA private key with its public half.

    Attributes:
        private_key: kept out of `repr`.
        public_pem: SubjectPublicKeyInfo, PEM, with a final newline.
        kid: the first 16 hex digits of the SHA-256 of the DER SubjectPublicKeyInfo.
    """

    private_key: rsa.RSAPrivateKey
    public_pem: str
    kid: str

    def __repr__(self) -> str:
        return f"KeyPair(kid={self.kid!r}, bits={self.bits})"

    @classmethod
    def of(cls, private_key: rsa.RSAPrivateKey) -> Self:
        """The pair of a private key."""
        return cls(private_key, *published(private_key.public_key()))

    @classmethod
    def generate(cls, bits: int) -> Self:
        """Make a new key pair.

        Args:
            bits: length of the modulus; 2048, 3072 and 4096 are offered.

        Raises:
            Misconfigured: fewer than 2048 bits.
        """
        if bits < MINIMUM_KEY_BITS:
            raise Misconfigured(f"an RSA key of {bits} bits is too short: use 2048, 3072 or 4096")
        return cls.of(rsa.generate_private_key(PUBLIC_EXPONENT, bits))

    @property
    def bits(self) -> int:
        """Length of the modulus."""
        return self.private_key.key_size

    def sign_digest(self, digest: bytes) -> bytes:
        """The raw signature, which nobody has verified yet: see `Signer`."""
        return self.private_key.sign(digest, _PADDING, _PREHASHED)

    def private_der(self) -> bytes:
        """The private key as unencrypted PKCS#8 DER. Secret: only for wrapping."""
        return self.private_key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
