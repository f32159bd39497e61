"""What encrypts the secrets in the database: one key encryption key, or two while one is exchanged for the other."""

from hanaper.keystore import kek_file
from hanaper.keystore.wrapping import KeyEncryptionKey
from hanaper.refusal import Misconfigured
from hanaper.settings import Settings


class Encryption:
    """Encrypts with the key encryption key of the settings, and opens what that one or the other has encrypted."""

    def __init__(self, kek: KeyEncryptionKey, shown: str, other: KeyEncryptionKey | None = None) -> None:
        """Take the keys.

        Args:
            kek: the key encryption key.
            shown: its file, for error texts.
            other: a second one, while one is exchanged for the other: opens what it has encrypted, encrypts nothing.
        """
        self._kek = kek
        self._shown = shown
        self._keks = {each.kek_id: each for each in (kek, other) if each is not None}

    @property
    def kek_id(self) -> str:
        """Which key encryption key it encrypts with."""
        return self._kek.kek_id

    def wrap(self, secret: bytes, *, row: str) -> bytes:
        """Encrypt: see `KeyEncryptionKey.wrap`."""
        return self._kek.wrap(secret, row=row)

    def unwrap(self, kek_id: str, wrapped: bytes, *, row: str, what: str) -> bytes:
        """Decrypt.

        Args:
            kek_id: what it was encrypted with.
            wrapped: the ciphertext.
            row: names the row it belongs to.
            what: for error texts.

        Raises:
            Misconfigured: it was encrypted with another key encryption key, or is damaged.
        """
        kek = self._keks.get(kek_id)
        if kek is None:
            raise Misconfigured(
                f"the key encryption key {self._shown} is not the one {what} was encrypted with: "
                "put the right file back (each database has its own)"
            )
        try:
            return kek.unwrap(wrapped, row=row)
        except ValueError as error:
            raise damaged(what, error) from error


def configured(settings: Settings) -> Encryption:
    """By the key encryption key that the settings name, and the other one if they name one.

    Raises:
        Misconfigured: a file is missing, open to others, or unusable.
    """
    file = settings.key_encryption_key
    other = settings.other_key_encryption_key_file
    return Encryption(
        kek_file.read(file, named_by_setting=settings.key_encryption_key_file is not None),
        str(file),
        None if other is None else kek_file.read(other.expanduser().absolute(), named_by_setting=True),
    )


def damaged(what: str, error: ValueError) -> Misconfigured:
    """Of a secret in the database that decrypts to nothing, or to something else; `error` says what is wrong."""
    return Misconfigured(f"{what} in the database is damaged, {error}: restore the database from a backup")
