"""SQLite: which library, and how each connection is set up (design.md rule 5; reliability.md 4.6)."""

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

from hanaper.refusal import Misconfigured, Unavailable

# Older libraries can corrupt a WAL database that several connections write to ("WAL reset", fixed in 3.51.3).
FIRST_SAFE_FOR_WAL = (3, 51, 3)
BUSY_TIMEOUT_MS = 10_000
# The default, 2 MiB, is less than the pages that the largest group touches, one for each key: they would be written
# twice.
CACHE_KIB = 8_192


def library() -> ModuleType:
    """The DB-API module: `pysqlite3`, which brings a current SQLite along, or else the interpreter's own."""
    try:
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return importlib.import_module("sqlite3")


def journal_mode(version: tuple[int, ...]) -> str:
    """The journal a library of this version may use: WAL where it is safe, the slower TRUNCATE elsewhere."""
    return "wal" if version >= FIRST_SAFE_FOR_WAL else "truncate"


def prepare(engine: Engine, module: ModuleType, file: Path) -> None:
    """Register what each new connection and each transaction of this engine begins with."""
    wanted = journal_mode(module.sqlite_version_info)

    @event.listens_for(engine, "do_connect")
    def _make_no_new_file(*_: object) -> None:
        _identity(file)

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, record: Any) -> None:
        record.info["file"] = _identity(file)
        # The driver must not open transactions by itself: BEGIN is ours, see below.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        got = cursor.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0]
        if got != wanted:
            raise Misconfigured(
                f"SQLite {module.sqlite_version} uses journal mode {got} where {wanted} is needed: "
                "put the database on a local disk and stop other programs that hold it open"
            )
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA trusted_schema=OFF")
        cursor.execute("PRAGMA mmap_size=0")
        cursor.close()

    @event.listens_for(engine, "checkout")
    def _same_file(_connection: object, record: Any, _proxy: object) -> None:
        # A connection would go on writing to a file that has been deleted or replaced, and what it wrote would be lost.
        if record.info["file"] != _identity(file):
            raise DisconnectionError

    @event.listens_for(engine, "handle_error")
    def _open_anew(context: Any) -> None:
        context.is_disconnect |= is_read_only(context.original_exception)

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # A read that turns into a write fails at once when another writer was faster, so writers say so beforehand.
        writes = connection.get_execution_options().get("hanaper_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def not_writable(file: Path) -> str | None:
    """What of a database cannot be written, and what to do; None where everything can."""
    parts = [file.parent, file, *(file.with_name(file.name + rest) for rest in ("-wal", "-shm", "-journal", ".lock"))]
    for part in parts:
        if part.exists() and not os.access(part, os.W_OK):
            return f"{part} cannot be written by this process: give it to the user it runs as, on a writable disk"
    return None


def is_read_only(error: BaseException | None) -> bool:
    """Whether an error of the driver says that this connection cannot write: it was opened when nobody could."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_READONLY")


def is_io_error(error: BaseException | None) -> bool:
    """Whether the operating system failed to read, write or sync: what of it has reached the disk, nobody can tell."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_IOERR")


def _identity(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise Unavailable(f"the database {file} is gone ({error.strerror}): put it back from its backup") from error
    return found.st_dev, found.st_ino
