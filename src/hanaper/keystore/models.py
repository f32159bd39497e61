"""Tables of secrets at rest."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from hanaper.storage.base import NEVER_REUSE_IDS, Base, BigId, Moment, PrimaryKey, UtcDateTime, one_of


class SigningKey(Base):
    """An RSA key pair; the private half is encrypted under the key encryption key, or lies in a PKCS#11 token.

    A key in a token has the token's label in `token`, and is found there by its `kid`.

    `product_id` is empty for the global key. It is no foreign key: products stand above this package, and a key must
    outlive its product for as long as signatures made with it are around.
    """

    __tablename__ = "signing_keys"

    id: Mapped[PrimaryKey]
    product_id: Mapped[int | None] = mapped_column(BigId)
    version: Mapped[int]
    kid: Mapped[str] = mapped_column(String(16), unique=True)
    algorithm: Mapped[str] = mapped_column(String(16))
    bits: Mapped[int]
    public_pem: Mapped[str] = mapped_column(String(2048))
    private_ciphertext: Mapped[bytes | None] = mapped_column(LargeBinary)
    kek_id: Mapped[str | None] = mapped_column(String(16))
    token: Mapped[str | None] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[Moment]
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        one_of("state", "pending", "active", "verify_only", "destroyed"),
        CheckConstraint("bits >= 2048", name="bits"),
        CheckConstraint(
            "(private_ciphertext IS NULL) = (token IS NOT NULL) AND (kek_id IS NULL) = (token IS NOT NULL)",
            name="one_place",
        ),
        CheckConstraint("length(token) BETWEEN 1 AND 32", name="token_length"),
        # Exactly one key signs for a product, and one (product 0) for everything else.
        Index(
            "uq_signing_keys_active",
            text("coalesce(product_id, 0)"),
            unique=True,
            sqlite_where=text("state = 'active'"),
            postgresql_where=text("state = 'active'"),
        ),
        NEVER_REUSE_IDS,
    )

    @property
    def binding(self) -> str:
        """Binds its ciphertext to this row: see `KeyEncryptionKey.wrap`."""
        return f"{self.kid}|{self.product_id or 'global'}|{self.version}|{self.algorithm}"


class WrappedSecret(Base):
    """A secret of the installation, encrypted under the key encryption key, by name."""

    __tablename__ = "wrapped_secrets"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    ciphertext: Mapped[bytes] = mapped_column(LargeBinary)
    kek_id: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[Moment]
