"""The tables of the audit log."""

from sqlalchemy import BigInteger, CheckConstraint, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from hanaper.storage.base import NEVER_REUSE_IDS, Base, BigId, Moment, PrimaryKey, length_within

LONGEST_ADDRESS = 64
LONGEST_OBJECTS = 4096


class AuditEvent(Base):
    """An effect: written in its transaction, never changed, and deleted by pruning only (decisions 0021 and 0026).

    `api_key_id` is empty for the command line, and `code` for what has no answer. `objects` is a small JSON object of
    ids. `license_digest` is a keyed hash of the license key that was named, see `rules.license_digest`. Nothing here is
    a foreign key: what is told of may be gone.
    """

    __tablename__ = "audit_events"

    id: Mapped[PrimaryKey]
    at: Mapped[Moment]
    api_key_id: Mapped[int | None] = mapped_column(BigId)
    address: Mapped[str] = mapped_column(String(LONGEST_ADDRESS))
    action: Mapped[str] = mapped_column(String(64))
    objects: Mapped[str] = mapped_column(Text)
    batch_id: Mapped[int | None] = mapped_column(BigId)
    license_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    code: Mapped[int | None] = mapped_column(Integer)
    request_id: Mapped[str] = mapped_column(String(32))

    __table_args__ = (
        length_within("address", LONGEST_ADDRESS),
        length_within("action", 64, 1),
        length_within("objects", LONGEST_OBJECTS, 2),
        length_within("request_id", 32),
        CheckConstraint("length(license_digest) = 32", name="license_digest"),
        NEVER_REUSE_IDS,
    )


class AuditLink(Base):
    """The seal of a row: the hash of its bytes and of the link before it, in order of id."""

    __tablename__ = "audit_links"

    event_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditCut(Base):
    """Up to where the log has been pruned: a copy of the checkpoint it begins behind from then on (decision 0026).

    Kept for ever, a row for each pruning; the one with the largest `event_id` counts. `last_batch` is the last batch
    that no row tells of any more, `cut_at` is in Unix seconds, and `mac` is a keyed hash of all the others.
    """

    __tablename__ = "audit_cuts"

    event_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    checkpoint: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    signed_at: Mapped[int] = mapped_column(BigInteger)
    kid: Mapped[str] = mapped_column(String(16))
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    last_batch: Mapped[int] = mapped_column(BigInteger)
    cut_at: Mapped[int] = mapped_column(BigInteger)
    mac: Mapped[bytes] = mapped_column(LargeBinary)


class AuditCheckpoint(Base):
    """The end of the chain at a moment, signed by the global key. Every sealing ends with one.

    `rows` is how many links there are up to that of `event_id`, `signed_at` is in Unix seconds.
    """

    __tablename__ = "audit_checkpoints"

    number: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    rows: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[int] = mapped_column(BigId)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    signed_at: Mapped[int] = mapped_column(BigInteger)
    kid: Mapped[str] = mapped_column(String(16))
    signature: Mapped[bytes] = mapped_column(LargeBinary)
