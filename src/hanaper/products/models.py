"""Tables of products (protocol.md 5.1)."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
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


class Product(Base):
    """Something that is licensed. Columns are named as on the wire."""

    __tablename__ = "products"

    id: Mapped[PrimaryKey]
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    slug: Mapped[str] = mapped_column(String(100), unique=True)
    external_reference: Mapped[str] = mapped_column(String(255), default="")
    source: Mapped[str] = mapped_column(String(16), default="internal")
    name: Mapped[str] = mapped_column(String(255))
    post_url: Mapped[str] = mapped_column(String(2048), default="")
    description: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(String(16), default="active")
    require_non_expired: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        one_of("source", "internal", "envato"),
        one_of("status", "active", "inactive"),
        CheckConstraint("require_non_expired IN (0, 1)", name="require_non_expired"),
        length_within("name", 255, 1),
        length_within("slug", 100, 1),
        length_within("external_reference", 255),
        length_within("post_url", 2048),
        NEVER_REUSE_IDS,
    )


class ProductMeta(Base):
    """A name and a value that somebody attached to a product."""

    __tablename__ = "product_meta"

    id: Mapped[PrimaryKey]
    product_id: Mapped[int] = mapped_column(BigId, ForeignKey("products.id"))
    key: Mapped[str] = mapped_column(String(255))
    value: Mapped[str] = mapped_column(Text)
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]

    __table_args__ = (
        UniqueConstraint("product_id", "key"),
        length_within("key", 255, 1),
        NEVER_REUSE_IDS,
    )
