"""The table of idempotency records."""

from sqlalchemy import CheckConstraint, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from hanaper.storage.base import Base, BigId, Moment, length_within


class IdempotencyRecord(Base):
    """A request that was carried out under an idempotency key, and the bytes it was answered with.

    `scope` is the digest of API key, endpoint and idempotency key, see `rules.scope_of`: the keys clients choose are
    often order numbers, and nobody who reads the table needs them. Nothing here is a foreign key (decision 0007).
    """

    __tablename__ = "idempotency_records"

    scope: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    api_key_id: Mapped[int] = mapped_column(BigId)
    endpoint: Mapped[str] = mapped_column(String(64))
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    request_id: Mapped[str] = mapped_column(String(32))
    code: Mapped[int]
    signing_key_id: Mapped[int] = mapped_column(BigId)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Moment] = mapped_column(index=True)

    __table_args__ = (
        CheckConstraint("length(scope) = 32", name="scope"),
        CheckConstraint("length(fingerprint) = 32", name="fingerprint"),
        length_within("endpoint", 64, 1),
        length_within("request_id", 32, 1),
    )
