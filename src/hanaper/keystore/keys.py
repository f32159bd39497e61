"""Private keys in the database: made, wrapped, loaded, proven."""

import os
from datetime import datetime
from typing import Self

from hanaper.keystore import kek_file, store
from hanaper.keystore.models import SigningKey, WrappedSecret
from hanaper.keystore.wrapping import KeyEncryptionKey
from hanaper.refusal import Misconfigured
from hanaper.settings import Settings
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.keyring import Keyring
from hanaper.signing.prove import proven_signer
from hanaper.signing.signer import Signer
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

ALGORITHM = "RSA-SHA256"
API_KEY_PEPPER = "api-key-pepper"
_PEPPER_BYTES = 32


class Keystore:
    """The signing keys of an installation, opened with its key encryption key."""

    def __init__(self, kek: KeyEncryptionKey, kek_shown: str) -> None:
        """Open a keystore.

        Args:
            kek: the key encryption key.
            kek_shown: its file, for error texts.
        """
        self._kek = kek
        self._kek_shown = kek_shown

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The keystore of the key encryption key that the settings name.

        Raises:
            Misconfigured: the key encryption key is missing, open to others, or unusable.
        """
        file = settings.key_encryption_key
        named = settings.key_encryption_key_file is not None
        return cls(kek_file.read(file, named_by_setting=named), str(file))

    def add(self, session: Session, pair: KeyPair, *, product_id: int | None, now: datetime) -> SigningKey:
        """Store a new active key, of a product or (None) the global one.

        Generate the pair before the transaction begins: it takes up to a second.
        """
        row = SigningKey(
            product_id=product_id,
            version=1,
            kid=pair.kid,
            algorithm=ALGORITHM,
            bits=pair.bits,
            public_pem=pair.public_pem,
            kek_id=self._kek.kek_id,
            state=store.ACTIVE,
            created_at=now,
        )
        row.private_ciphertext = self._kek.wrap(pair.private_der(), row=_binding(row))
        store.add(session, row)
        return row

    def open(self, row: SigningKey) -> Signer:
        """Decrypt and prove a key.

        Raises:
            Misconfigured: wrong key encryption key, or a damaged row; names the file and the cure.
        """
        self._same_kek(row.kek_id, f"signing key {row.kid}")
        try:
            return proven_signer(self._kek.unwrap(row.private_ciphertext, row=_binding(row)), row.public_pem)
        except ValueError as error:
            owner = "the global key" if row.product_id is None else f"the key of product {row.product_id}"
            raise Misconfigured(
                f"signing key {row.kid} ({owner}) in the database is damaged, {error}: "
                "restore the database from a backup"
            ) from error

    def keyring(self, storage: Storage) -> Keyring:
        """Open every key that signs.

        Raises:
            Misconfigured: there is no global key, or one of the keys cannot be opened.
        """
        rows = storage.read(store.usable)
        signers = {row.id: self.open(row) for row in rows}
        global_ids = [row.id for row in rows if row.product_id is None]
        if not global_ids:
            raise Misconfigured(f"{storage.database.shown} has no global signing key: run `hanaper init`")

        def fetch(key_id: int) -> Signer:
            row = storage.read(lambda session: store.find(session, key_id))
            if row is None:
                raise Misconfigured(f"signing key {key_id} is not in the database")
            return self.open(row)

        return Keyring(global_ids[0], signers, fetch)

    def make_pepper(self, session: Session, now: datetime) -> None:
        """Make the secret that API key digests are keyed with, if there is none yet.

        It is a secret of its own, not derived from the key encryption key, so that the latter can be exchanged.
        """
        if store.secret(session, API_KEY_PEPPER) is None:
            ciphertext = self._kek.wrap(os.urandom(_PEPPER_BYTES), row=API_KEY_PEPPER)
            store.add_secret(
                session,
                WrappedSecret(name=API_KEY_PEPPER, ciphertext=ciphertext, kek_id=self._kek.kek_id, created_at=now),
            )

    def pepper(self, session: Session) -> bytes:
        """The secret that API key digests are keyed with.

        Raises:
            Misconfigured: missing, sealed with another key encryption key, or damaged.
        """
        return self.open_pepper(store.secret(session, API_KEY_PEPPER))

    def open_pepper(self, row: WrappedSecret | None) -> bytes:
        """Decrypt the secret that API key digests are keyed with.

        Raises:
            Misconfigured: missing, sealed with another key encryption key, or damaged.
        """
        if row is None:
            raise Misconfigured("the database has no secret for API keys: run `hanaper init`")
        self._same_kek(row.kek_id, "the secret for API keys")
        try:
            return self._kek.unwrap(row.ciphertext, row=API_KEY_PEPPER)
        except ValueError as error:
            raise Misconfigured(
                "the secret for API keys in the database is damaged: restore the database from a backup"
            ) from error

    def _same_kek(self, kek_id: str, what: str) -> None:
        if kek_id != self._kek.kek_id:
            raise Misconfigured(
                f"the key encryption key {self._kek_shown} is not the one {what} was encrypted with: "
                "put the right file back (each database has its own)"
            )


def _binding(row: SigningKey) -> str:
    """Binds a ciphertext to its row: see `KeyEncryptionKey.wrap`."""
    return f"{row.kid}|{row.product_id or 'global'}|{row.version}|{row.algorithm}"
