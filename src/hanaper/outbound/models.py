"""The table of calls that are still to be made, or have been."""

from sqlalchemy import CheckConstraint, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from hanaper.storage.base import NEVER_REUSE_IDS, Base, Moment, PrimaryKey, length_within, one_of


class OutgoingCall(Base):
    """A POST to somebody else's server, stored in the transaction of what it tells about (protocol.md 7.4).

    `body` is the form as it will be sent. `due_at` is the moment of the next attempt; while one is being made, that
    from which its process counts as dead; of a call that is over, that at which it ended.
    """

    __tablename__ = "outgoing_calls"

    id: Mapped[PrimaryKey]
    url: Mapped[str] = mapped_column(String(2048))
    body: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    outcome: Mapped[str] = mapped_column(String(255), default="")
    due_at: Mapped[Moment]
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]

    __table_args__ = (
        one_of("state", "waiting", "done", "failed"),
        CheckConstraint("attempts >= 0", name="attempts"),
        length_within("url", 2048, 1),
        length_within("outcome", 255),
        Index(None, "state", "due_at"),
        NEVER_REUSE_IDS,
    )
