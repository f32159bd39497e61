"""What a command changes, with its row of the audit log. No command writes in another way, which a test holds."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from hanaper.audit.record import about, is_kept, record
from hanaper.clock import utc_now
from hanaper.storage import quarantine, schema
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

Result = TypeVar("Result")


def change(services: Services, action: str, work: Callable[[Session], Result]) -> Result:
    """Run work in one transaction and commit it.

    Args:
        services: of the installation.
        action: the command, as in "product set".
        work: what it does.

    Raises:
        Unavailable: the database does not answer.
        Exception: what the work raised; nothing is stored.
    """
    return change_at(services.storage, action, work, now=services.clock(), pepper=services.pepper)


def change_at(
    storage: Storage,
    action: str,
    work: Callable[[Session], Result],
    *,
    now: datetime,
    pepper: bytes | None = None,
) -> Result:
    """The same for a command that does without the services; see `record` for the pepper."""

    def recorded(session: Session) -> Result:
        result = work(session)
        record(session, action, now=now, pepper=pepper)
        return result

    return storage.write(recorded)


def upgrade(storage: Storage, action: str) -> None:
    """Bring the schema forward. Its row is written in the same transaction, the last in it.

    Of an empty database the first row of the audit log tells, which the schema itself brings along.

    Raises:
        Misconfigured: it cannot be migrated; nothing is changed.
        Unavailable: the database does not answer.
    """
    from hanaper.storage import migrate  # noqa: PLC0415 -- what does not migrate does without Alembic

    def recorded(session: Session, before: str | None) -> None:
        if before is None:
            return
        about(session, schema=schema.head(), schema_before=before)
        found = None if is_kept(before) else quarantine.current(session)
        if found is not None:
            # It was restored from a backup of a time before the log, which could not tell of that.
            about(session, quarantine=found.reason)
        record(session, action, now=utc_now())

    migrate.upgrade(storage, then=recorded)
