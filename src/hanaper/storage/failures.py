"""What goes wrong in the drivers, by the names that all layers above know."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from hanaper.metrics.meter import OFF, Meter
from hanaper.refusal import OutcomeUnknown, ReadOnly, TokenAway, Unavailable
from hanaper.storage.sqlite import is_io_error, is_read_only, not_writable

_READ_ONLY = "25006"
_WAS_IDLE = "25P03"
"""The transaction had been given up, since nothing was said in it for too long."""


class NoConnection(Unavailable):
    """All connections were at work for longer than anybody waits for one."""

    shortage = "pool"

    def __init__(self) -> None:
        super().__init__("no database connection became free in time")


@contextmanager
def translated(file: Path | None, meter: Meter = OFF) -> Iterator[None]:
    """Name the driver's errors that mean "not now", so that no layer above has to know the driver.

    Args:
        file: of SQLite; None on PostgreSQL.
        meter: is told of them.
    """
    try:
        with _named(file):
            yield
    except TokenAway:
        raise  # Of what was done in the transaction; the database is not to blame.
    except Unavailable as error:
        meter.unavailable(error.shortage)
        raise


@contextmanager
def _named(file: Path | None) -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        raise NoConnection from error
    except (OperationalError, InterfaceError, InternalError) as error:
        if _sqlstate(error) == _READ_ONLY:
            raise ReadOnly(f"the database is read-only ({reason(error)})") from error
        if file is not None and (fault := not_writable(file)) is not None:
            # SQLite writes for reading, too, and has several names for it where it cannot.
            raise ReadOnly(f"the database is read-only ({fault})") from error
        raise Unavailable(f"the database does not answer ({reason(error)})") from error
    except DatabaseError as error:
        # Without a statement it was the connection that failed: libpq does not know a parameter of the URL, say.
        if type(error) is DatabaseError or error.connection_invalidated or error.statement is None:
            raise Unavailable(f"the database does not answer ({reason(error)})") from error
        raise


@contextmanager
def unknown_where_lost() -> Iterator[None]:
    """Around a commit: when the connection breaks meanwhile, or the disk fails, nobody can tell whether it was made."""
    try:
        yield
    except DBAPIError as error:
        # These are the database's word that it was not made. The connection is of no more use all the same.
        refused = _sqlstate(error) in (_READ_ONLY, _WAS_IDLE) or is_read_only(error.orig)
        if is_io_error(error.orig) or (error.connection_invalidated and not refused):
            raise OutcomeUnknown(f"the database was lost in the midst of a commit ({reason(error)})") from error
        raise


def _sqlstate(error: DBAPIError) -> str | None:
    found: str | None = getattr(error.orig, "sqlstate", None)
    return found


def reason(error: DBAPIError) -> str:
    """What the driver says, first line only: further lines of PostgreSQL's may quote a row."""
    text = str(error.orig).strip()
    return text.splitlines()[0] if text else type(error.orig).__name__
