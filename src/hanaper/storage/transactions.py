"""Transactions: the only place in the code base where anything is committed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Self, TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from hanaper.metrics.meter import OFF, Meter
from hanaper.refusal import Unavailable
from hanaper.settings import Settings
from hanaper.storage.bulk import Bulk
from hanaper.storage.engine import Database, connect, locate, require_file, watch
from hanaper.storage.reader import Reader
from hanaper.storage.writer import LARGEST_GROUP, Busy, Writer

Result = TypeVar("Result")
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Storage:
    """The database of one process.

    Work is handed in as a function of the session. It may be called from any thread, and it must not keep the
    session: what it returns is used after the transaction has ended.
    """

    def __init__(self, database: Database, engine: Engine, meter: Meter = OFF) -> None:
        self.database = database
        self.engine = engine
        self._meter = meter
        self._reader = Reader(engine, self._meter)
        lock = None if database.file is None else lock_file(database.file)
        self._writer = Writer(engine, lock, meter=self._meter)

    @classmethod
    def open(cls, settings: Settings, meter: Meter = OFF, *, make: bool = True) -> Self:
        """The storage the settings name. No connection is made yet.

        Args:
            settings: name it.
            meter: is told of connections, groups and transactions.
            make: whether a SQLite file that is not there is made. A server does not: one whose volume is not mounted
                must not leave an empty database in its place.

        Raises:
            Misconfigured: the database URL, or the file with its password, is not usable; or the SQLite file is not
                there and must not be made.
            Unavailable: the SQLite file cannot be made.
        """
        database = locate(settings.database, settings.database_password_file)
        if not make:
            require_file(database)
        engine = connect(database, pool_size=settings.database_pool_size)
        if meter.on:
            meter.pool(settings.database_pool_size)
            watch(engine, meter)
        return cls(database, engine, meter)

    def read(self, work: Callable[[Session], Result]) -> Result:
        """Run reading work on one connection; nothing it changes is kept.

        Raises:
            Unavailable: the database does not answer.
        """
        with translated(self._meter), self.engine.connect() as connection, Session(connection) as session:
            return work(session)

    def write(self, work: Callable[[Session], Result]) -> Result:
        """Run work in one transaction and commit it. When this returns, the change is on disk.

        Raises:
            Unavailable: the database does not answer, or the writers' queue was too long.
            Exception: what the work raised, after a rollback.
        """
        with translated(self._meter):
            if self.database.file is not None:
                return self._writer.run(work)
            began = perf_counter()
            try:
                with self.engine.begin() as connection, Session(connection, expire_on_commit=False) as session:
                    result = work(session)
                    session.flush()
            finally:
                self._meter.committed(perf_counter() - began)
            return result

    async def submit(self, bulk: Bulk[Item, Outcome], item: Item, *, size: int | None) -> Outcome:
        """Have an item written and committed, together with the items of other requests that wait.

        Args:
            bulk: what to do with a group of items.
            item: for it.
            size: how many rows it makes, roughly; None for an item that wants a transaction of its own.

        Raises:
            Unavailable: the database does not answer, or the writers' queue was too long.
            Exception: what the bulk raised for this item; nothing of it is stored.
        """
        with translated(self._meter):
            return await self._writer.submit(bulk, item, LARGEST_GROUP if size is None else size)

    async def ask(self, bulk: Bulk[Item, Outcome], item: Item) -> Outcome:
        """Have an item looked up, together with those of other requests that wait.

        Args:
            bulk: one statement that looks up a group of items.
            item: for it.

        Raises:
            Unavailable: the database does not answer.
        """
        with translated(self._meter):
            return await self._reader.ask(bulk, item)

    def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            Unavailable: there is none.
        """
        self.read(lambda session: session.execute(text("SELECT 1")))

    def is_writable(self) -> bool:
        """Whether the database can be written to now. Nothing is written.

        On SQLite this takes its turn among the writers.

        Raises:
            Unavailable: the database does not answer.
        """
        if self.database.file is None:
            # So too on a standby.
            setting = text("SELECT current_setting('transaction_read_only')")
            return bool(self.read(lambda session: session.scalars(setting).one()) == "off")
        try:
            self.write(lambda _: None)
        except Unavailable:
            return False
        return True

    def close(self) -> None:
        """Finish queued writes and close all connections."""
        self._writer.close()
        self._reader.close()
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lock_file(database_file: Path) -> Path:
    """The file by which the writing processes of one machine take turns."""
    return database_file.with_name(database_file.name + ".lock")


@contextmanager
def translated(meter: Meter = OFF) -> Iterator[None]:
    """Name the driver's errors that mean "not now", so that no layer above has to know the driver.

    Args:
        meter: is told of them.
    """
    try:
        yield
    except Unavailable as error:
        meter.unavailable("queue" if isinstance(error, Busy) else "database")
        raise
    except PoolTimeoutError as error:
        meter.unavailable("pool")
        raise Unavailable("no database connection became free in time") from error
    except (OperationalError, InterfaceError, InternalError) as error:
        meter.unavailable("database")
        raise Unavailable(f"the database does not answer ({reason(error)})") from error
    except DatabaseError as error:
        # Without a statement it was the connection that failed: libpq does not know a parameter of the URL, say.
        if type(error) is DatabaseError or error.connection_invalidated or error.statement is None:
            meter.unavailable("database")
            raise Unavailable(f"the database does not answer ({reason(error)})") from error
        raise


def reason(error: DBAPIError) -> str:
    """What the driver says, first line only: further lines of PostgreSQL's may quote a row."""
    text = str(error.orig).strip()
    return text.splitlines()[0] if text else type(error.orig).__name__
