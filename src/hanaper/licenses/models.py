"""Tables of the register of license keys (protocol.md 5.3)."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from hanaper.storage.base import (
    NEVER_REUSE_IDS,
    Base,
    BigId,
    Moment,
    PrimaryKey,
    UtcDateTime,
    length_within,
    one_of,
)


class LicenseKey(Base):
    """One license key. Columns are named as on the wire.

    `generator_id` and `batch_id` are no foreign keys: generators and batches stand above this package, and a license
    key outlives its generator. `product_id` is none either: checking it would lock the product's row in every request
    (decision 0007).
    """

    __tablename__ = "license_keys"

    id: Mapped[PrimaryKey]
    product_id: Mapped[int] = mapped_column(BigId)
    generator_id: Mapped[int | None] = mapped_column(BigId)
    batch_id: Mapped[int | None] = mapped_column(BigId)
    contract_id: Mapped[int | None] = mapped_column(BigId)
    source: Mapped[str] = mapped_column(String(16))
    license_key: Mapped[str] = mapped_column(String(255), unique=True)
    owner_name: Mapped[str | None] = mapped_column(String(255))
    owner_email: Mapped[str | None] = mapped_column(String(255))
    activation_limit: Mapped[int]
    validity: Mapped[int]
    assigned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Why the status is `blocked`.
    block_reason: Mapped[str | None] = mapped_column(String(16))

    __table_args__ = (
        one_of("status", "available", "assigned", "reserved", "blocked"),
        one_of("block_reason", "suspended", "revoked"),
        one_of("source", "generator", "manual", "contract", "import"),
        length_within("license_key", 255, 1),
        length_within("owner_name", 255),
        length_within("owner_email", 255),
        CheckConstraint("activation_limit >= 0", name="activation_limit"),
        CheckConstraint("validity >= 0", name="validity"),
        Index(None, "product_id", "status"),
        Index(None, "batch_id"),
        # Most license keys are nobody's yet.
        Index(
            None,
            "owner_email",
            sqlite_where=text("owner_email IS NOT NULL"),
            postgresql_where=text("owner_email IS NOT NULL"),
        ),
        NEVER_REUSE_IDS,
    )


class StagedBatch(Base):
    """A large batch that is still being stored, piece by piece (decision 0009).

    As long as this row is there, the license keys of the batch are taken, but exist for nobody.
    """

    __tablename__ = "staged_batches"

    batch_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    abandoned: Mapped[int]
    touched_at: Mapped[Moment]

    __table_args__ = (CheckConstraint("abandoned IN (0, 1)", name="abandoned"),)


class LicenseKeyMeta(Base):
    """A name and a value that somebody attached to a license key."""

    __tablename__ = "license_key_meta"

    id: Mapped[PrimaryKey]
    license_key_id: Mapped[int] = mapped_column(BigId, ForeignKey("license_keys.id"))
    key: Mapped[str] = mapped_column(String(255))
    value: Mapped[str] = mapped_column(Text)
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]

    __table_args__ = (
        UniqueConstraint("license_key_id", "key"),
        length_within("key", 255, 1),
        NEVER_REUSE_IDS,
    )


class Activation(Base):
    """A device, domain or the like on which a license key is used, or was: rows stay when they end."""

    __tablename__ = "activations"

    id: Mapped[PrimaryKey]
    license_key_id: Mapped[int] = mapped_column(BigId, ForeignKey("license_keys.id"))
    identifier: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16))
    post_url: Mapped[str] = mapped_column(String(2048), default="")
    ip: Mapped[str] = mapped_column(String(45), default="")
    user_agent: Mapped[str] = mapped_column(String(255), default="")
    activated_at: Mapped[Moment]
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]

    __table_args__ = (
        UniqueConstraint("license_key_id", "identifier"),
        one_of("status", "active", "inactive"),
        length_within("identifier", 255, 1),
        length_within("post_url", 2048),
        length_within("user_agent", 255),
        NEVER_REUSE_IDS,
    )
