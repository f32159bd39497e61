"""Bulk writes: one transaction for what many requests do alike (decision 0008).

This is the hot path. It talks to the driver itself: what SQLAlchemy adds to a statement costs as much as the statement.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from hanaper.refusal import Unavailable
from hanaper.storage.failures import unknown_where_lost
from hanaper.storage.sqlite import is_read_only

HELD_UP = frozenset({"55P03", "40P01"})
"""A lock did not become free in time, or two waited for each other: PostgreSQL's word that nothing was stored."""
SHORT_LOCK_WAIT = "250ms"
MOST_HELD_UP = 3
"""Items that wait in vain, one after the other; after these it is no matter of single items."""

Item_contra = TypeVar("Item_contra", contravariant=True)
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Outcome_co = TypeVar("Outcome_co", covariant=True)


class Bulk(Protocol[Item_contra, Outcome_co]):
    """What to do with a group of items, as statements of either database."""

    def __call__(self, cursor: DBAPICursor, dialect: str, items: Sequence[Item_contra], /) -> Sequence[Outcome_co]:
        """Write the items; all or none.

        On PostgreSQL this has to be one statement: it is a transaction of its own, which saves two round trips.

        Args:
            cursor: inside a transaction on SQLite, in autocommit mode on PostgreSQL.
            dialect: "sqlite" or "postgresql".
            items: one or more.
        """


def run_bulk(
    engine: Engine, bulk: Bulk[Item, Outcome], items: Sequence[Item]
) -> list[tuple[Outcome | None, BaseException | None]]:
    """Write a group of items in one transaction; where that fails, each in one of its own.

    Returns:
        For each item what came of it, or why nothing did. When this returns, what came of it is on disk.
    """
    try:
        return [(outcome, None) for outcome in _transact(engine, bulk, items)]
    except BaseException as error:  # noqa: BLE001 -- handed over to the callers, who raise it
        if len(items) == 1 or not (_was_held_up(error) or _is_one_items_fault(error)):
            return [(None, error)] * len(items)
        # They have waited once: the one that somebody holds up must not keep the others waiting as long again.
        hurried = _was_held_up(error)
    outcomes: list[tuple[Outcome | None, BaseException | None]] = []
    held_up = 0
    for item in items:
        try:
            outcomes.append((_transact(engine, bulk, [item], hurried=hurried)[0], None))
        except BaseException as error:  # noqa: BLE001 -- as above
            held_up += hurried and _was_held_up(error)
            if held_up == MOST_HELD_UP:
                return outcomes + [(None, error)] * (len(items) - len(outcomes))
            outcomes.append((None, error))
    return outcomes


def read_bulk(engine: Engine, bulk: Bulk[Item, Outcome], items: Sequence[Item]) -> Sequence[Outcome]:
    """Look a group of items up by one statement.

    Raises:
        DBAPIError: what the driver raised, as SQLAlchemy would have called it.
    """
    with _connected(engine) as connection:
        if engine.dialect.name == "sqlite":
            # A statement outside a transaction is one by itself.
            return bulk(connection.cursor(), "sqlite", items)
        with _autocommit(connection):
            return bulk(connection.cursor(), "postgresql", items)


def _is_one_items_fault(error: BaseException) -> bool:
    """Whether the others may be tried without it.

    Not where no connection is to be had, the disk is full or the database read-only; nor where the connection broke:
    then nobody knows what was committed, and what is written again might be there twice.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return False
    return not isinstance(error, OperationalError | InterfaceError | InternalError | PoolTimeoutError | Unavailable)


def _was_held_up(error: BaseException) -> bool:
    """Whether one of the items met another transaction that did not end. Nobody knows which one."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in HELD_UP


def _transact(
    engine: Engine, bulk: Bulk[Item, Outcome], items: Sequence[Item], *, hurried: bool = False
) -> Sequence[Outcome]:
    """One transaction.

    Args:
        hurried: wait for locks of PostgreSQL's rows for a moment only.

    Raises:
        OutcomeUnknown: the database was lost meanwhile, or its standby may not have it.
        DBAPIError: what the driver raised, as SQLAlchemy would have called it.
    """
    with unknown_where_lost(), _connected(engine) as connection:
        cursor = connection.cursor()
        if engine.dialect.name == "sqlite":
            cursor.execute("BEGIN IMMEDIATE")
            outcomes = bulk(cursor, "sqlite", items)
            cursor.execute("COMMIT")
            return outcomes
        driver: Any = connection.driver_connection
        if hurried:
            cursor.execute(f"SET LOCAL lock_timeout = '{SHORT_LOCK_WAIT}'")
            outcomes = bulk(cursor, "postgresql", items)
            with driver.committing():
                connection.commit()
            return outcomes
        with _autocommit(connection):
            driver.standby.require(cursor.execute)
            with driver.committing():
                return bulk(cursor, "postgresql", items)


@contextmanager
def _connected(engine: Engine) -> Iterator[PoolProxiedConnection]:
    """A connection out of the pool, and the driver's errors in the form all layers above know."""
    connection: PoolProxiedConnection | None = None
    try:
        connection = engine.raw_connection()
        yield connection
    except Exception as error:
        known = _as_sqlalchemy_has_it(engine, connection, error)
        if known is error:
            raise
        raise known from error
    finally:
        # What is not committed is rolled back by the pool.
        if connection is not None:
            connection.close()


@contextmanager
def _autocommit(connection: PoolProxiedConnection) -> Iterator[None]:
    driver: Any = connection.driver_connection
    driver.autocommit = True
    try:
        yield
    finally:
        if not driver.closed:
            driver.autocommit = False


def _as_sqlalchemy_has_it(engine: Engine, connection: PoolProxiedConnection | None, error: Exception) -> BaseException:
    """The driver's error in the form all layers above know; a broken connection is taken out of the pool."""
    dialect = engine.dialect
    assert dialect.loaded_dbapi is not None  # noqa: S101 -- narrows the type
    if not isinstance(error, dialect.loaded_dbapi.Error):
        return error
    gone = connection is not None and (
        is_read_only(error) or dialect.is_disconnect(error, connection.dbapi_connection, None)
    )
    if connection is not None and gone:
        connection.invalidate()
    return DBAPIError.instance(
        "bulk",
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=gone,
        dialect=dialect,
    )
