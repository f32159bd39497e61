"""Queries about outgoing calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from sqlalchemy import Select, delete, exists, func, select, update
from sqlalchemy.orm import Session

from hanaper.outbound.models import OutgoingCall
from hanaper.storage.configuration import Quarantine

WAITING = "waiting"
DONE = "done"
FAILED = "failed"
PURGED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Claimed:
    """A call that is the claimer's to make.

    Attributes:
        body: the form, encoded. It holds a license key.
        attempts: with the one to be made now.
    """

    id: int
    url: str
    body: str
    attempts: int

    def __repr__(self) -> str:
        return f"Claimed(id={self.id}, attempts={self.attempts})"


def queue(session: Session, url: str, fields: Mapping[str, str], *, now: datetime) -> None:
    """Have a form posted, once the transaction is committed.

    Args:
        url: as somebody named it; it is looked at when the call is made.
        fields: the form.
    """
    body = urlencode(fields)
    row = OutgoingCall(url=url, body=body, state=WAITING, attempts=0, due_at=now, created_at=now, updated_at=now)
    session.add(row)


def due(session: Session, now: datetime, most: int) -> int:
    """How many calls are due, counted up to `most`. In quarantine none is: another server may have made them."""
    is_due = select(OutgoingCall.id).where(OutgoingCall.state == WAITING, OutgoingCall.due_at <= now)
    return len(session.scalars(is_due.where(~exists(select(Quarantine.id))).limit(most)).all())


def waiting(session: Session) -> int:
    """How many calls are neither made nor given up."""
    return session.scalars(select(func.count()).where(OutgoingCall.state == WAITING)).one()


def claim(session: Session, now: datetime, lease: timedelta) -> Claimed | None:
    """Take the call that has been due for longest; None where none is.

    Whoever claims at the same time gets another. If no outcome is recorded within the lease, because the process died,
    the call is due again.
    """
    first = (
        select(OutgoingCall.id)
        .where(OutgoingCall.state == WAITING, OutgoingCall.due_at <= now)
        .order_by(OutgoingCall.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = session.execute(
        update(OutgoingCall)
        # Once more what `first` asked, so that being the only one does not hang on the lock alone.
        .where(OutgoingCall.id == first.scalar_subquery(), OutgoingCall.state == WAITING, OutgoingCall.due_at <= now)
        .values(due_at=now + lease, attempts=OutgoingCall.attempts + 1, updated_at=now)
        .returning(OutgoingCall.id, OutgoingCall.url, OutgoingCall.body, OutgoingCall.attempts)
        .execution_options(synchronize_session=False)
    ).first()
    return None if row is None else Claimed(*row)


def record_done(session: Session, call: Claimed, outcome: str, *, now: datetime) -> None:
    """Record that a call has been made, also where its lease had run out. From then on `due_at` is when it ended."""
    session.execute(
        update(OutgoingCall)
        .where(OutgoingCall.id == call.id)
        .values(state=DONE, outcome=outcome, due_at=now, updated_at=now)
    )


def record_failure(session: Session, call: Claimed, outcome: str, *, again_at: datetime | None, now: datetime) -> bool:
    """Record a failed attempt, unless another has been claimed since.

    Args:
        again_at: when to try again; None to give up.

    Returns:
        Whether it was recorded.
    """
    state, due_at = (FAILED, now) if again_at is None else (WAITING, again_at)
    recorded = session.scalars(
        update(OutgoingCall)
        .where(OutgoingCall.id == call.id, OutgoingCall.state == WAITING, OutgoingCall.attempts == call.attempts)
        .values(state=state, outcome=outcome, due_at=due_at, updated_at=now)
        .returning(OutgoingCall.id)
    )
    return recorded.first() is not None


def has_ended_before(session: Session, moment: datetime) -> bool:
    """Whether there is a call that ended, one way or the other, before a moment."""
    return session.scalars(_ended_before(moment).limit(1)).first() is not None


def purge(session: Session, before: datetime) -> int:
    """Delete some calls that ended before a moment; how many."""
    some = _ended_before(before).limit(PURGED_AT_ONCE).with_for_update(skip_locked=True)
    gone = delete(OutgoingCall).where(OutgoingCall.id.in_(session.scalars(some).all()))
    return len(session.scalars(gone.returning(OutgoingCall.id)).all())


def _ended_before(moment: datetime) -> Select[int]:
    return select(OutgoingCall.id).where(OutgoingCall.state.in_((DONE, FAILED)), OutgoingCall.due_at < moment)
