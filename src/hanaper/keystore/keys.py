"""Private keys in the database, or in a token: made, wrapped, loaded, proven."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Self, TypeAlias

from hanaper.keystore import encryption, store
from hanaper.keystore.models import SigningKey
from hanaper.refusal import Fault, Misconfigured, OutcomeUnknown
from hanaper.settings import Settings
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.keyring import Keyring
from hanaper.signing.prove import proven, proven_signer
from hanaper.signing.signer import Signer
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.token.configured import configured as configured_token
from hanaper.token.key import TokenKey

if TYPE_CHECKING:
    from hanaper.token.token import Token

NewKey: TypeAlias = KeyPair | TokenKey

ALGORITHM = "RSA-SHA256"


class NoToken(Misconfigured):
    """A key is in a token that the settings do not name."""


class Keystore:
    """The signing keys of an installation, opened with its key encryption key and its token."""

    def __init__(self, encryption: encryption.Encryption, token: "Token | None" = None) -> None:
        """Open a keystore.

        Args:
            encryption: of the secrets in the database.
            token: where new signing keys are made; None: in the database.
        """
        self.encryption = encryption
        self.token = token

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The keystore of the key encryption key that the settings name.

        Raises:
            Misconfigured: the key encryption key is missing, open to others, or unusable; or the library for tokens is
                not installed.
        """
        return cls(encryption.configured(settings), configured_token(settings))

    @contextmanager
    def new_key(self, bits: int, *, in_database: bool = False) -> Iterator[NewKey]:
        """Make a key, for the transaction that stores it. What comes of nothing is deleted from the token again.

        Not within the transaction: it takes up to a second, in a token longer.

        Args:
            bits: length of the modulus.
            in_database: also where there is a token.

        Raises:
            Misconfigured: the token cannot be used as it is set up.
            Unavailable: the token does not answer.
        """
        if self.token is None or in_database:
            yield KeyPair.generate(bits)
            return
        key = self.token.generate(bits)
        try:
            yield key
        except OutcomeUnknown:
            raise  # It may be the one that signs by now.
        except BaseException:
            with suppress(Fault):  # `hanaper doctor` finds what is left.
                self.token.destroy(key.kid)
            raise

    def add(
        self,
        session: Session,
        pair: NewKey,
        *,
        product_id: int | None,
        now: datetime,
        version: int = 1,
        state: str = store.ACTIVE,
    ) -> SigningKey:
        """Store a new key, of a product or (None) the global one."""
        row = SigningKey(
            product_id=product_id,
            version=version,
            kid=pair.kid,
            algorithm=ALGORITHM,
            bits=pair.bits,
            public_pem=pair.public_pem,
            state=state,
            created_at=now,
        )
        if isinstance(pair, KeyPair):
            row.kek_id = self.encryption.kek_id
            row.private_ciphertext = self.encryption.wrap(pair.private_der(), row=row.binding)
        else:
            row.token = pair.token.label
        store.add(session, row)
        return row

    def open(self, row: SigningKey) -> Signer:
        """Decrypt a key, or find it in the token, and prove it.

        Raises:
            Misconfigured: wrong key encryption key, or a damaged row, or another token; names what is wrong and the
                cure.
            Unavailable: the token does not answer.
        """
        owner = "the global key" if row.product_id is None else f"the key of product {row.product_id}"
        what = f"signing key {row.kid} ({owner})"
        if row.token is not None:
            token = self._token_of(row.token, what)
            try:
                return proven(token.find(row.kid, row.public_pem, row.bits))
            except ValueError as error:
                raise Misconfigured(
                    f"{what} cannot be had from token {row.token!r}, {error}: put the token back that it was made in, "
                    "or have another key sign by `hanaper signing-key rotate`"
                ) from error
        # A table that somebody has changed by hand may have neither.
        plain = self.encryption.unwrap(row.kek_id or "", row.private_ciphertext or b"", row=row.binding, what=what)
        try:
            return proven_signer(plain, row.public_pem)
        except ValueError as error:
            raise encryption.damaged(what, error) from error

    def destroy(self, row: SigningKey) -> None:
        """Delete from the token what is destroyed in the database.

        Raises:
            Misconfigured: the token is another, or cannot be used as it is set up.
            Unavailable: the token does not answer.
        """
        if row.token is not None and row.state == store.DESTROYED:
            self._token_of(row.token, f"signing key {row.kid}").destroy(row.kid)

    def keyring(self, storage: Storage, *, at_need: bool = False) -> Keyring:
        """Open every key that signs.

        Args:
            storage: the database.
            at_need: those in a token only when they are needed. For commands: they are how one gets away from a token
                that is lost.

        Raises:
            Misconfigured: there is no global key, or one of the keys cannot be opened.
            Unavailable: the token does not answer.
        """
        rows = storage.read(store.usable)
        if self.token is not None and not at_need:
            self.token.require()
        signers = {row.id: self.open(row) for row in rows if row.token is None or not at_need}
        global_row = next((row for row in rows if row.product_id is None), None)
        if global_row is None:
            raise Misconfigured(f"{storage.database.shown} has no global signing key: run `hanaper init`")

        def fetch(key_id: int) -> Signer:
            row = storage.read(lambda session: store.find(session, key_id))
            if row is None:
                raise Misconfigured(f"signing key {key_id} is not in the database")
            return self.open(row)

        return Keyring(global_row.id, signers, fetch, global_version=global_row.version)

    def notice_global(self, session: Session, keyring: Keyring) -> None:
        """Let a keyring sign with the global key that is active now.

        Raises:
            Misconfigured: it cannot be opened; the one before stays.
        """
        row = store.active(session, None)
        if row is not None and row.id != keyring.global_key_id:
            keyring.use_global(row.id, row.version, self.open(row))

    def _token_of(self, label: str, what: str) -> "Token":
        if self.token is None:
            raise NoToken(f"{what} is in token {label!r}: name its library by HANAPER_PKCS11_MODULE")
        if self.token.label != label:
            raise NoToken(f"{what} is in token {label!r}, and HANAPER_PKCS11_TOKEN names {self.token.label!r}")
        return self.token
