"""What a command changes, with its row of the audit log. No command writes in another way, which a test holds."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from hanaper.audit.record import record
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
