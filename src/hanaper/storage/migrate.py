"""Migrations: Alembic, from the folder `alembic/` that travels with the package."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from hanaper.refusal import Misconfigured
from hanaper.storage import schema
from hanaper.storage.failures import reason, translated
from hanaper.storage.transactions import Storage, lock_file
from hanaper.storage.turn_lock import TurnLock

Then: TypeAlias = Callable[[Session, str | None], None]


def upgrade(storage: Storage, revision: str = "head", *, then: Then = lambda *_: None) -> None:
    """Bring the schema forward, all steps in one transaction, one process at a time.

    Args:
        storage: of the database.
        revision: to which.
        then: done at the end of the transaction, where it changes something: told the revision from before, None where
            the database was empty.
    """
    _run(storage, lambda config: command.upgrade(config, revision), then)


def downgrade(storage: Storage, revision: str) -> None:
    """Take the schema back."""
    _run(storage, lambda config: command.downgrade(config, revision), lambda *_: None)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(schema.scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _patience(connection: Connection) -> Iterator[None]:
    """Large tables take as long as they take."""
    driver: Any = connection.connection.driver_connection
    usual = driver.longest_exchange_s
    driver.longest_exchange_s = None
    try:
        yield
    finally:
        driver.longest_exchange_s = usual


def _run(storage: Storage, migrate: Callable[[Config], None], then: Then) -> None:
    with translated(storage.database.file), ExitStack() as stack:
        engine = storage.engine
        if storage.database.file is not None:
            stack.enter_context(TurnLock(lock_file(storage.database.file)))
            engine = engine.execution_options(hanaper_writes=True)
        connection = stack.enter_context(engine.begin())
        if storage.database.file is None:
            # Replicas that start together migrate one after the other. The number is hanaper's own.
            stack.enter_context(_patience(connection))
            connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4841504552)")
        try:
            before = schema.seen_by(connection)
            migrate(_config(connection))
            if schema.seen_by(connection) != before:
                with Session(connection) as session:
                    then(session, before)
                    session.flush()
        except (ProgrammingError, OperationalError) as error:
            # PostgreSQL calls a table that is there, or a missing privilege, a programming error.
            if isinstance(error, OperationalError) and "already exists" not in str(error.orig):
                raise
            raise Misconfigured(
                f"{storage.database.shown} cannot be migrated ({reason(error)}); nothing has been changed. "
                "Name a database that holds nothing else, and belongs to the user hanaper connects as"
            ) from error
