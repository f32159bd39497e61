"""Transactions: the only place in the code base where anything is committed."""

from collections.abc import Callable
from pathlib import Path
from threading import BoundedSemaphore
from time import monotonic, perf_counter, sleep
from typing import Any, Self, TypeVar

from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from hanaper.metrics.meter import OFF, Meter
from hanaper.refusal import Unavailable
from hanaper.settings import Settings
from hanaper.storage import engine as engines
from hanaper.storage.bulk import Bulk
from hanaper.storage.engine import Database, connect, locate, require_file, watch
from hanaper.storage.failures import NoConnection, translated, unknown_where_lost
from hanaper.storage.patience import LONGEST_REQUEST_S
from hanaper.storage.reader import Reader
from hanaper.storage.sqlite import not_writable
from hanaper.storage.writer import LARGEST_GROUP, Writer

_WHY_READ_ONLY = """
    SELECT CASE
        WHEN pg_is_in_recovery() THEN 'it is a standby: name its primary, too, with target_session_attrs=read-write'
        WHEN current_setting('transaction_read_only') = 'on' THEN 'default_transaction_read_only is on: switch it off'
    END
"""

# What is nothing to anybody, but goes into the log, so that the commit is one. Without a standby it is none.
_CONFIRM = """
    SELECT pg_logical_emit_message(true, 'hanaper', '') WHERE current_setting('synchronous_standby_names') <> ''
"""

LONGEST_FAREWELL_S = 2.0

Result = TypeVar("Result")
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Storage:
    """The database of one process.

    Work is handed in as a function of the session. It may be called from any thread, and it must not keep the
    session: what it returns is used after the transaction has ended.
    """

    def __init__(self, database: Database, engine: Engine, meter: Meter = OFF, *, pool_size: int) -> None:
        self.database = database
        self.engine = engine
        self._meter = meter
        self._reader = Reader(engine, self._meter)
        self._aside = Reader(engine)
        # Commits may hang, all of them at once. Half of the connections are left to those who only read.
        self._transactions = BoundedSemaphore(max(1, pool_size // 2))
        lock = None if database.file is None else lock_file(database.file)
        self._writer = Writer(engine, lock, meter=self._meter)

    @classmethod
    def open(cls, settings: Settings, meter: Meter = OFF, *, make: bool = True, serving: bool = False) -> Self:
        """The storage the settings name. No connection is made yet.

        Args:
            settings: name it.
            meter: is told of connections, groups and transactions.
            make: whether a SQLite file that is not there is made. A server does not: one whose volume is not mounted
                must not leave an empty database in its place.
            serving: for a process that serves requests, which cannot wait as long as a command.

        Raises:
            Misconfigured: the database URL, or the file with its password, is not usable; or the SQLite file is not
                there and must not be made.
            Unavailable: the SQLite file cannot be made.
        """
        database = locate(settings.database, settings.database_password_file)
        if not make:
            require_file(database)
        engine = connect(database, pool_size=settings.database_pool_size, serving=serving)
        if meter.on:
            meter.pool(settings.database_pool_size)
            watch(engine, meter)
        return cls(database, engine, meter, pool_size=settings.database_pool_size)

    def read(self, work: Callable[[Session], Result]) -> Result:
        """Run reading work on one connection; nothing it changes is kept.

        Raises:
            Unavailable: the database does not answer.
        """
        with (
            translated(self.database.file, self._meter),
            self.engine.connect() as connection,
            Session(connection) as session,
        ):
            return work(session)

    def write(self, work: Callable[[Session], Result]) -> Result:
        """Run work in one transaction and commit it. When this returns, the change is on disk.

        Raises:
            OutcomeUnknown: the database was lost in the midst of the commit, or its standby may not have it.
            Unavailable: the database does not answer, or the writers' queue was too long. Nothing is stored.
            Exception: what the work raised, after a rollback.
        """
        with translated(self.database.file, self._meter):
            if self.database.file is not None:
                return self._writer.run(work)
            began = perf_counter()
            try:
                return self._transact(work)
            finally:
                self._meter.committed(perf_counter() - began)

    def _transact(self, work: Callable[[Session], Result]) -> Result:
        if not self._transactions.acquire(timeout=engines.POOL_TIMEOUT_S):
            raise NoConnection
        try:
            with self.engine.connect() as connection:
                driver: Any = connection.connection.driver_connection
                connection.begin()
                driver.standby.require(connection.exec_driver_sql)
                with Session(connection, expire_on_commit=False) as session:
                    result = work(session)
                    session.flush()
                with unknown_where_lost(), driver.committing():
                    connection.commit()
                return result
        finally:
            self._transactions.release()

    async def submit(self, bulk: Bulk[Item, Outcome], item: Item, *, size: int | None) -> Outcome:
        """Have an item written and committed, together with the items of other requests that wait.

        Args:
            bulk: what to do with a group of items.
            item: for it.
            size: how many rows it makes, roughly; None for an item that wants a transaction of its own.

        Raises:
            OutcomeUnknown: the database was lost in the midst of the commit, or its standby may not have it.
            Unavailable: the database does not answer, or the writers' queue was too long. Nothing is stored.
            Exception: what the bulk raised for this item; nothing of it is stored.
        """
        with translated(self.database.file, self._meter):
            return await self._writer.submit(bulk, item, LARGEST_GROUP if size is None else size)

    async def ask(self, bulk: Bulk[Item, Outcome], item: Item) -> Outcome:
        """Have an item looked up, together with those of other requests that wait.

        Args:
            bulk: one statement that looks up a group of items.
            item: for it.

        Raises:
            Unavailable: the database does not answer.
        """
        with translated(self.database.file, self._meter):
            return await self._reader.ask(bulk, item)

    async def ask_aside(self, bulk: Bulk[Item, Outcome], item: Item) -> Outcome:
        """The same in a thread of its own, for statements that may wait for a lock: others must not wait with them.

        Raises:
            Unavailable: the database does not answer.
        """
        with translated(self.database.file):
            return await self._aside.ask(bulk, item)

    def confirm(self) -> None:
        """Return when all that has been read so far is as safe as what this process commits itself.

        PostgreSQL shows a commit that was cancelled while it waited for the synchronous standby, and after a restart
        one that was still waiting. Commits are confirmed in order: one more tells that all before it have been.

        Raises:
            Unavailable: that is not so, or the database does not answer.
        """
        if self.database.file is None:
            self.write(lambda session: session.execute(text(_CONFIRM)))

    @property
    def longest_request_s(self) -> float | None:
        """Seconds a request may take; None for as long as its turn takes to come, which the writer bounds."""
        return LONGEST_REQUEST_S if self.database.file is None else None

    def ping(self) -> None:
        """Ask the database for a sign of life.

        Raises:
            Unavailable: there is none.
        """
        self.read(lambda session: session.execute(text("SELECT 1")))

    def why_read_only(self) -> str | None:
        """Why the database can be read and not be written, and what to do; None where nothing speaks against it.

        Raises:
            Unavailable: the database does not answer.
        """
        if self.database.file is not None:
            return not_writable(self.database.file)
        why: str | None = self.read(lambda session: session.scalars(text(_WHY_READ_ONLY)).one())
        return why

    def is_writable(self) -> bool:
        """Whether the database can be written to now. Nothing is written.

        On SQLite this takes its turn among the writers.

        Raises:
            Unavailable: the database does not answer.
        """
        # SQLite opens a transaction on a file it cannot write as if it could.
        if self.why_read_only() is not None:
            return False
        if self.database.file is None:
            return True
        try:
            self.write(lambda _: None)
        except Unavailable:
            return False
        return True

    def close(self) -> None:
        """Finish queued writes and close all connections.

        One with which a thread is still at work, for somebody who did not want to wait for it, is waited for a moment;
        what comes back later, or is opened later, is closed when it is given back.
        """
        self._writer.close()
        self._reader.close()
        self._aside.close()
        pool, end = self.engine.pool, monotonic() + LONGEST_FAREWELL_S
        while isinstance(pool, QueuePool) and pool.checkedout() and monotonic() < end:
            sleep(0.01)
        event.listen(self.engine, "checkin", _close_late)
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close_late(_: object, record: ConnectionPoolEntry) -> None:
    record.close()


def lock_file(database_file: Path) -> Path:
    """The file by which the writing processes of one machine take turns."""
    return database_file.with_name(database_file.name + ".lock")
