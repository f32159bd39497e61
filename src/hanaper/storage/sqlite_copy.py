"""Copying a SQLite database while others write to it (decision 0017)."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, text
from sqlalchemy.orm import Session

from hanaper.clock import Clock
from hanaper.refusal import Fault, Invalid, Unavailable
from hanaper.storage import quarantine, sqlite
from hanaper.storage.engine import Database, connect
from hanaper.storage.failures import translated
from hanaper.storage.transactions import Storage, lock_file
from hanaper.storage.turn_lock import TurnLock

PAGES_AT_ONCE = 1_000
BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database."""

Advance = Callable[[int], None]


def pages(storage: Storage) -> int:
    """How many pages the database has, for a progress bar."""
    with translated(storage.database.file), storage.engine.connect() as connection:
        return int(connection.scalar(text("PRAGMA page_count")) or 0)


def copy(storage: Storage, source: Path, target: Path, *, clock: Clock, advance: Advance) -> datetime:
    """Copy the database of a storage, as it is at one moment, near the end of the copying.

    The pages come out of one snapshot, a few at a time; nobody waits for that. What others wrote meanwhile is in the
    write-ahead log, which cannot be taken back as long as the snapshot is read: it is copied while no writer of this
    machine has its turn, and SQLite applies it to the copy as it would after a crash.

    Args:
        source: the file of the storage.
        target: an empty file.
        advance: told how many more pages have been copied.

    Returns:
        The moment. Everything that was committed before is in the copy.

    Raises:
        Unavailable: the database does not answer, or the copy cannot be written.
    """
    with translated(storage.database.file), storage.engine.connect() as connection, _written(target):
        connection.execute(text("SELECT count(*) FROM sqlite_schema"))  # A snapshot begins with its first read.
        driver: Any = connection.connection.driver_connection
        copied = 0

        def tell(_: int, remaining: int, total: int) -> None:
            nonlocal copied
            advance(total - remaining - copied)
            copied = total - remaining

        with _opened(target) as copy_of_it:
            copy_of_it.execute("PRAGMA synchronous=OFF")  # It is synced as a whole, at the end.
            driver.backup(copy_of_it, pages=PAGES_AT_ONCE, progress=tell)
        with TurnLock(lock_file(source)):
            moment = clock()
            _copy_log(source, target)
        return moment


def finish(file: Path, reason: str, since: datetime) -> None:
    """Make a copy one file, in quarantine, and check it.

    Raises:
        Fault: the copy is damaged.
        Unavailable: it cannot be written.
    """
    with _written(file), _opened(file) as connection:
        _make_one_file(connection)
        # As SQLAlchemy writes moments.
        row = (reason[: quarantine.LONGEST_REASON], f"{since:%Y-%m-%d %H:%M:%S.%f}")
        connection.execute("REPLACE INTO quarantine (id, reason, since) VALUES (1, ?, ?)", row)
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise Fault(
            f"the copy is damaged ({found}), and so is the database, most likely: run `hanaper check-store`. "
            "No backup was made"
        )


def write_alone(file: Path, work: Callable[[Session], None]) -> None:
    """Change a database that nobody else has open, in one transaction. Afterwards it is one file, and all is in it.

    Raises:
        Unavailable: it cannot be written.
    """
    with translated(file), storage_of(file) as storage:
        engine = storage.engine.execution_options(hanaper_writes=True)
        with engine.begin() as connection, Session(connection) as session:
            work(session)
            session.flush()
    with _written(file), _opened(file) as opened:
        _make_one_file(opened)


def damage(file: Path) -> str | None:
    """What is wrong with the file of a database that nobody has open; None where nothing is."""
    try:
        with _opened(file) as connection:
            found: str = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
            page_size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    except sqlite.library().DatabaseError as error:
        return str(error)
    # Of a last page that was cut off SQLite takes the missing bytes for zeros.
    if found == "ok" and file.stat().st_size != pages * page_size:
        return f"it has {file.stat().st_size} bytes, and should have {pages * page_size}"
    return None if found == "ok" else found


def storage_of(file: Path) -> Storage:
    """A database file as a storage."""
    database = Database(URL.create("sqlite", database=str(file)), file)
    return Storage(database, connect(database, pool_size=1), pool_size=1)


def make_room(file: Path) -> None:
    """Make sure that there is no database, and remove an empty one, such as a server leaves that never had another.

    Raises:
        Invalid: there is one, or what SQLite left beside one: it would be applied to the file that comes there.
    """
    beside = [left for suffix in BESIDE if (left := file.with_name(file.name + suffix)).exists()]
    # What is beside it belongs to it: opened, an empty file would swallow that.
    if file.exists() and (beside or not _is_empty(file)):
        raise Invalid(
            f"{file} is there, and is not empty: a backup is restored into an empty place only. Stop the server and "
            f"move the file away, with all that begins with {file.name}-, or name another folder by --data-dir"
        )
    if beside:
        raise Invalid(f"{beside[0]} is left of another database: move it away, with all that begins with {file.name}-")
    file.unlink(missing_ok=True)


def _is_empty(file: Path) -> bool:
    try:
        with _opened(file) as connection:
            tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            return tables == 0
    except sqlite.library().DatabaseError:
        return False


def _copy_log(source: Path, target: Path) -> None:
    log, copy_of_it = (file.with_name(file.name + "-wal") for file in (source, target))
    if log.exists():
        with log.open("rb") as read, open(copy_of_it, "xb", opener=_privately) as write:
            shutil.copyfileobj(read, write, 2**20)


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _make_one_file(connection: Any) -> None:
    # What lies beside it is not taken along when it is renamed.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode=DELETE")


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    # Each statement is a transaction of its own.
    with closing(sqlite.library().connect(str(file), isolation_level=None)) as connection:
        yield connection


@contextmanager
def _written(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite.library().DatabaseError as error:
        raise Unavailable(f"{file} cannot be made ({error})") from error
    except OSError as error:
        raise Unavailable(f"{file} cannot be made ({error.strerror})") from error
