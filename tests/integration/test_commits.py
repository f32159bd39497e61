"""Commits to PostgreSQL: a warning is heard, nothing lasts for ever, and those who read have their share."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPICursor

from hanaper.refusal import OutcomeUnknown, Unavailable
from hanaper.settings import Settings
from hanaper.storage import engine
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"])

PLANT = """
    CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER planted AFTER INSERT ON notes DEFERRABLE INITIALLY {when}
    FOR EACH ROW EXECUTE FUNCTION planted()
"""
WARN = "RAISE WARNING 'the standby, say'"
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(%)'"


@pytest.fixture
def storage(empty_database_url: str) -> Iterator[Storage]:
    with Storage.open(Settings(database_url=empty_database_url, database_pool_size=4)) as storage:
        execute(storage, "CREATE TABLE notes (note text)")
        yield storage


def execute(storage: Storage, statement: str) -> None:
    storage.write(lambda session: session.connection().exec_driver_sql(statement))


def write(storage: Storage) -> None:
    execute(storage, "INSERT INTO notes VALUES ('a')")


def bulk(cursor: DBAPICursor, _dialect: str, items: Sequence[str]) -> Sequence[str]:
    cursor.execute("INSERT INTO notes VALUES ('a')")
    return items


def submit(storage: Storage) -> None:
    async def main() -> None:
        await storage.submit(bulk, "a", size=1)

    asyncio.run(main())


def notes(storage: Storage) -> int:
    count: int = storage.read(lambda session: session.scalars(text("SELECT count(*) FROM notes")).one())
    return count


@pytest.mark.parametrize("commit", [write, submit])
def test_a_warning_during_a_commit_makes_its_outcome_unknown(
    storage: Storage, commit: Callable[[Storage], None]
) -> None:
    execute(storage, PLANT.format(what=WARN, when="DEFERRED"))
    with pytest.raises(OutcomeUnknown, match=r"has stored it with a warning \(the standby, say\)"):
        commit(storage)
    assert notes(storage) == 1


def test_a_warning_before_the_commit_is_none_of_its_own(storage: Storage) -> None:
    execute(storage, PLANT.format(what=WARN, when="IMMEDIATE"))
    write(storage)
    assert notes(storage) == 1


@pytest.mark.parametrize("commit", [write, submit])
def test_a_notice_is_no_warning(storage: Storage, commit: Callable[[Storage], None]) -> None:
    execute(storage, PLANT.format(what="RAISE NOTICE 'by the way'", when="DEFERRED"))
    commit(storage)
    assert notes(storage) == 1


@contextmanager
def hurried(storage: Storage, seconds: float) -> Iterator[None]:
    """Who connects in this block waits for so long."""

    def hurry(connection: Any, _record: object) -> None:
        connection.longest_exchange_s = seconds

    event.listen(storage.engine, "connect", hurry)
    storage.engine.dispose()
    yield
    event.remove(storage.engine, "connect", hurry)
    storage.engine.dispose()


def sleep(seconds: float) -> Callable[[Session], object]:
    return lambda session: session.execute(text(f"SELECT pg_sleep({seconds})"))


def test_no_exchange_lasts_for_ever_and_none_is_cancelled(storage: Storage) -> None:
    with hurried(storage, 0.3):
        for work in (storage.read, storage.write):
            with pytest.raises(Unavailable, match=r"no answer within 0\.3 s") as caught:
                work(sleep(2))
            # Before the commit: there is no doubt.
            assert not isinstance(caught.value, OutcomeUnknown)
        # The database goes on with both. Cancelled, a commit would pass for one that was made.
        assert storage.read(lambda session: session.scalars(text(SLEEPING)).one()) == 2
        write(storage)
    assert notes(storage) == 1


def test_a_commit_that_does_not_end_has_an_unknown_outcome(storage: Storage) -> None:
    execute(storage, PLANT.format(what="PERFORM pg_sleep(2)", when="DEFERRED"))
    with hurried(storage, 0.3):
        for commit in (write, submit):
            with pytest.raises(OutcomeUnknown, match=r"in the midst of a commit .no answer within 0\.3 s."):
                commit(storage)
        # Nobody waits for a standby, so the next one is not refused.
        execute(storage, "SELECT 1")


def test_an_answer_in_pieces_is_an_answer(storage: Storage) -> None:
    """The limit is for the whole, and the driver looks at the clock in between."""
    with hurried(storage, 5):
        many = storage.read(
            lambda session: session.execute(text("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")).all()
        )
    assert len(many) == 20_000


def test_those_who_write_leave_connections_to_those_who_read(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "POOL_TIMEOUT_S", 0.1)
    begun, finish = [Event(), Event()], Event()

    def hang(number: int) -> None:
        def work(_: Session) -> None:
            begun[number].set()
            assert finish.wait(60)

        storage.write(work)

    with ThreadPoolExecutor(2) as threads:
        hanging = [threads.submit(hang, number) for number in range(2)]
        try:
            assert all(each.wait(60) for each in begun)
            with pytest.raises(Unavailable, match="no database connection became free in time"):
                write(storage)
            assert notes(storage) == 0
        finally:
            finish.set()
        for each in hanging:
            each.result()
    write(storage)
    assert notes(storage) == 1


def test_who_cannot_wait_any_longer_is_not_served_later(storage: Storage) -> None:
    """A request that has been answered: what it wanted may be asked for again by now."""
    begun, finish = Event(), Event()

    def block(cursor: DBAPICursor, dialect: str, items: Sequence[str]) -> Sequence[str]:
        begun.set()
        assert finish.wait(60)
        return bulk(cursor, dialect, items)

    async def main() -> None:
        first = asyncio.create_task(storage.submit(block, "a", size=1))
        while not begun.is_set():  # noqa: ASYNC110 -- set by another thread
            await asyncio.sleep(0.001)
        second = asyncio.create_task(storage.submit(bulk, "b", size=1))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.wait({second})
        finish.set()
        await first
        await storage.submit(bulk, "c", size=1)

    asyncio.run(main())
    assert notes(storage) == 2
