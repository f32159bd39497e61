"""Tables of callers."""

from datetime import datetime

from sqlalchemy import JSON, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hanaper.storage.base import NEVER_REUSE_IDS, Base, Moment, PrimaryKey, UtcDateTime, length_within, one_of


class ApiKey(Base):
    """An API key: its digest, never the key."""

    __tablename__ = "api_keys"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(16))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    hint: Mapped[str] = mapped_column(String(24))
    status: Mapped[str] = mapped_column(String(16))
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    abilities: Mapped[list[str]] = mapped_column(JSON)
    allowed_networks: Mapped[list[str]] = mapped_column(JSON)
    # Null: all products. No foreign key, products stand above this package; ids are never given out twice.
    product_ids: Mapped[list[int] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]

    __table_args__ = (
        one_of("kind", "live", "test", "imported", "demo"),
        one_of("status", "active", "inactive"),
        length_within("name", 100, 1),
        NEVER_REUSE_IDS,
    )


class BlockedEntry(Base):
    """An address, a network or an identifier that is refused with 150."""

    __tablename__ = "block_list"

    id: Mapped[PrimaryKey]
    kind: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(String(255))
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[Moment]

    __table_args__ = (
        UniqueConstraint("kind", "value"),
        one_of("kind", "address", "identifier"),
        length_within("value", 255, 1),
        length_within("reason", 255),
        NEVER_REUSE_IDS,
    )
