"""Making a backup, beside a server at work or without one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hanaper.backup.contents import REASON, require_known
from hanaper.backup.new_file import new_file
from hanaper.clock import Clock
from hanaper.storage import schema, sqlite_copy
from hanaper.storage.postgresql_tools import Tools
from hanaper.storage.transactions import Storage

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup.

    Attributes:
        as_of: everything that was stored before is in it. Of later changes there may be some or none.
        schema: the revision.
    """

    file: Path
    size: int
    as_of: datetime
    schema: str


def size(storage: Storage) -> int | None:
    """How many pages will be copied, for a progress bar; None where nobody knows."""
    return None if storage.database.file is None else sqlite_copy.pages(storage)


def back_up(storage: Storage, file: Path, *, clock: Clock, advance: Advance = lambda _: None) -> BackedUp:
    """Copy a whole database into a new file.

    The key encryption key is not in it. The backup itself cannot serve: one of SQLite is in quarantine, one of
    PostgreSQL lacks the version of the configuration (decision 0017).

    Args:
        advance: told how many more pages have been copied.

    Raises:
        Invalid: the file is there already, or cannot be made.
        Misconfigured: the schema is not one of this hanaper, or PostgreSQL's programs are missing or too old.
        Unavailable: the database does not answer, or the file cannot be written.
        Fault: the copy is damaged.
    """
    revision = schema.current(storage)
    require_known(revision, storage.database.shown)
    assert revision is not None  # noqa: S101 -- narrows the type
    source = storage.database.file
    tools = Tools.find(storage) if source is None else None
    with new_file(file) as unfinished:
        if source is not None:
            as_of = sqlite_copy.copy(storage, source, unfinished, clock=clock, advance=advance)
            sqlite_copy.finish(unfinished, REASON, as_of)
        elif tools is not None:
            as_of = clock()
            tools.make_dump(unfinished)
    return BackedUp(file, file.stat().st_size, as_of, revision)
