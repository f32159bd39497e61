"""Tables of issuing: generators (protocol.md 5.2) and the batches made with them."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from hanaper.storage.base import NEVER_REUSE_IDS, Base, BigId, Moment, PrimaryKey, length_within, one_of


class Generator(Base):
    """How license keys of a product are made. Columns are named as on the wire."""

    __tablename__ = "generators"

    id: Mapped[PrimaryKey]
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    product_id: Mapped[int] = mapped_column(BigId, ForeignKey("products.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    method: Mapped[str] = mapped_column(String(16))
    prefix: Mapped[str] = mapped_column(String(64), default="")
    suffix: Mapped[str] = mapped_column(String(64), default="")
    function_name: Mapped[str] = mapped_column(String(100), default="")
    number_of_chunks: Mapped[int]
    chunk_length: Mapped[int]
    charset: Mapped[str] = mapped_column(String(256))
    activation_limit: Mapped[int]
    validity: Mapped[int]
    status: Mapped[int]
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]

    __table_args__ = (
        one_of("method", "uuid", "chunk-system", "custom"),
        CheckConstraint("status IN (0, 1)", name="status"),
        CheckConstraint("activation_limit >= 0", name="activation_limit"),
        CheckConstraint("validity >= 0", name="validity"),
        length_within("name", 100, 1),
        length_within("prefix", 64),
        length_within("suffix", 64),
        length_within("function_name", 100),
        length_within("charset", 256),
        NEVER_REUSE_IDS,
    )


class GeneratorCap(Base):
    """The most license keys a generator may ever make, and how many of them it has made.

    Apart from the generator's own row, which is configuration: only requests of a generator with a cap touch it.
    """

    __tablename__ = "generator_caps"

    generator_id: Mapped[int] = mapped_column(BigId, ForeignKey("generators.id"), primary_key=True, autoincrement=False)
    cap: Mapped[int] = mapped_column(BigInteger)
    issued: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("cap >= 0", name="cap"),
        CheckConstraint("issued >= 0 AND issued <= cap", name="issued"),
    )


class Batch(Base):
    """The keys of one call: who asked, when, for what, and what was signed.

    With the license keys in order of id and `signed_at`, the payload can be built again and `signature` checked
    against it; the signed bytes need not be stored twice. Nothing here is a foreign key (decision 0007).
    """

    __tablename__ = "batches"

    id: Mapped[PrimaryKey]
    request_id: Mapped[str] = mapped_column(String(32))
    api_key_id: Mapped[int | None] = mapped_column(BigId)
    product_id: Mapped[int] = mapped_column(BigId)
    generator_id: Mapped[int] = mapped_column(BigId, index=True)
    quantity: Mapped[int]
    signing_key_id: Mapped[int] = mapped_column(BigId)
    signed_at: Mapped[int] = mapped_column(BigInteger)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Moment]

    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        length_within("request_id", 32, 1),
        NEVER_REUSE_IDS,
    )
