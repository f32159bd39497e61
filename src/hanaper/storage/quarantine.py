"""Quarantine: a database that comes from a backup hands nothing out until somebody has confirmed that it may.

What was issued after the backup is unknown to it, and the server it was taken from may still be running. Requests look
at the quarantine by the version of the configuration (decision 0007), which setting and lifting it draws anew: it costs
them nothing, and the transaction in which they store something compares that version.

A dump of PostgreSQL comes without the version of the configuration, so a database that is restored from it can serve
nobody before it has been put in quarantine (decision 0017).
"""

from datetime import datetime
from secrets import randbits

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hanaper.refusal import Misconfigured, Quarantined
from hanaper.storage.configuration import ConfigurationVersion, Quarantine, Snapshot
from hanaper.storage.transactions import Storage

LONGEST_REASON = 255


def current(session: Session) -> Quarantine | None:
    """The quarantine the database is in; None where it is in none."""
    return session.get(Quarantine, 1)


def require_none(session: Session) -> None:
    """Go on only where the database is in no quarantine, as this transaction sees it.

    Raises:
        Quarantined: it is; the text says why and what to do.
    """
    reason = _reason(session)
    if reason:
        raise _refusal(reason)


async def require_none_at(snapshot: Snapshot) -> None:
    """The same for a request, as of a version of the configuration.

    Raises:
        Quarantined: it is.
        ConfigurationChanged: begin again with a newer snapshot.
        Unavailable: the database does not answer.
    """
    reason = await snapshot.get("quarantine", _reason)
    if reason:
        raise _refusal(reason)


def require_complete(storage: Storage) -> None:
    """Make sure that a restored database was also put in quarantine.

    Raises:
        Misconfigured: it was not; the text names the command that helps.
    """
    if storage.read(_is_incomplete):
        raise Misconfigured(
            f"{storage.database.shown} was restored from a backup, but not put in quarantine, as if that had been "
            "interrupted: run `hanaper quarantine on --reason ...`, or restore once more into an empty database"
        )


def enter(session: Session, reason: str, *, now: datetime) -> Quarantine:
    """Put the database in quarantine. Where it is in one already, that one stays."""
    if _is_incomplete(session):
        session.add(ConfigurationVersion(id=1, version=randbits(63)))
        session.flush()
    found = current(session)
    if found is not None:
        return found
    entered = Quarantine(id=1, reason=reason, since=now)
    session.add(entered)
    session.flush()
    return entered


def leave(session: Session) -> bool:
    """Lift the quarantine; whether there was one."""
    return session.scalars(delete(Quarantine).returning(Quarantine.id)).first() is not None


def _reason(session: Session) -> str:
    found = current(session)
    return "" if found is None else found.reason


def _is_incomplete(session: Session) -> bool:
    return session.scalars(select(ConfigurationVersion.id)).first() is None


def _refusal(reason: str) -> Quarantined:
    return Quarantined(
        f"the database is in quarantine ({reason}): nothing is issued until `hanaper quarantine off` lifts it"
    )
