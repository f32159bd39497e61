"""Encryption of secrets at rest: AES-256-GCM (NIST SP 800-38D) under the key encryption key."""

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12


class KeyEncryptionKey:
    """The key that encrypts all private keys. It never lies in the database."""

    def __init__(self, secret: bytes) -> None:
        """Take the key.

        Args:
            secret: 32 bytes.
        """
        if len(secret) != KEY_BYTES:
            raise ValueError(f"a key encryption key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(secret)
        self.kek_id = hashlib.sha256(b"hanaper key encryption key id\0" + secret).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"KeyEncryptionKey(kek_id={self.kek_id!r})"

    def wrap(self, secret: bytes, *, row: str) -> bytes:
        """Encrypt.

        Args:
            secret: what to hide.
            row: names the row the ciphertext belongs to. It is authenticated, not stored: a ciphertext that somebody
                moves to another row does not decrypt there.

        Returns:
            Nonce (12 bytes), ciphertext, tag (16 bytes).
        """
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, row.encode("utf-8"))

    def unwrap(self, wrapped: bytes, *, row: str) -> bytes:
        """Decrypt.

        Raises:
            ValueError: another key, another row, or damaged.
        """
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], row.encode("utf-8"))
        except (InvalidTag, ValueError) as error:
            raise ValueError("it does not decrypt") from error
