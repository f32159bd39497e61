"""The table of what has been taken of budgets, for replicas that share a PostgreSQL database."""

from sqlalchemy import JSON, BigInteger, CheckConstraint, Integer, LargeBinary
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from hanaper.storage.base import Base


class RateWindow(Base):
    """What has been taken of one budget, see `rules.Window`. On PostgreSQL unlogged, on SQLite unused.

    `subject` is the kind of the budget and a keyed digest: nobody who reads the table learns an address.
    """

    __tablename__ = "rate_windows"

    subject: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    second: Mapped[int] = mapped_column(BigInteger)
    used: Mapped[list[int]] = mapped_column(ARRAY(Integer).with_variant(JSON, "sqlite"))
    # Of the last statement: it is how that tells what it has done.
    granted: Mapped[int]

    __table_args__ = (CheckConstraint("length(subject) = 17", name="subject"),)
