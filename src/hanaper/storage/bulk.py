"""Bulk writes: one transaction for what many requests do alike (decision 0008).

This is the hot path. It talks to the driver itself: what SQLAlchemy adds to a statement costs as much as the statement.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from hanaper.refusal import Unavailable

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
        if len(items) == 1 or not _is_one_items_fault(error):
            return [(None, error)] * len(items)
    return [outcome for item in items for outcome in run_bulk(engine, bulk, [item])]


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

    Not where no connection is to be had or the disk is full; nor where the connection broke: then nobody knows what was
    committed, and what is written again might be there twice.
    """
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return False
    return not isinstance(error, OperationalError | InterfaceError | PoolTimeoutError | Unavailable)


def _transact(engine: Engine, bulk: Bulk[Item, Outcome], items: Sequence[Item]) -> Sequence[Outcome]:
    """One transaction.

    Raises:
        DBAPIError: what the driver raised, as SQLAlchemy would have called it.
    """
    with _connected(engine) as connection:
        if engine.dialect.name == "sqlite":
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            outcomes = bulk(cursor, "sqlite", items)
            cursor.execute("COMMIT")
            return outcomes
        with _autocommit(connection):
            return bulk(connection.cursor(), "postgresql", items)


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
    gone = connection is not None and dialect.is_disconnect(error, connection.dbapi_connection, None)
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
