"""Group commit: what is submitted together is committed together; nobody pays for another's fault (decision 0008)."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import PoolProxiedConnection, event, text
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError

from hanaper.refusal import OutcomeUnknown, Unavailable
from hanaper.settings import Settings
from hanaper.storage import bulk as bulks
from hanaper.storage import engine as engines
from hanaper.storage import writer as writers
from hanaper.storage.bulk import run_bulk
from hanaper.storage.failures import NoConnection
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.storage.turn_lock import TurnLock
from hanaper.storage.writer import Busy, Writer

TABLES = {
    "sqlite": "CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT NOT NULL UNIQUE)",
    "postgresql": "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL UNIQUE)",
}
INSERTS = {
    "sqlite": "INSERT INTO notes (note) SELECT value FROM json_each(?)",
    "postgresql": "INSERT INTO notes (note) SELECT unnest(%s::text[])",
}


@pytest.fixture
def storage(empty_database_url: str) -> Iterator[Storage]:
    with Storage.open(Settings(database_url=empty_database_url)) as opened:
        statement = TABLES[opened.engine.dialect.name]
        opened.write(lambda session: session.connection().exec_driver_sql(statement))
        yield opened


@dataclass(eq=False)
class Notes:
    """A bulk write that remembers its groups, and may be told to do something before or after it has written."""

    before: Callable[[list[str]], None] = lambda _: None
    after: Callable[[DBAPICursor], None] = lambda _: None
    groups: list[list[str]] = field(default_factory=list)

    def __call__(self, cursor: DBAPICursor, dialect: str, items: Sequence[str]) -> list[str]:
        notes = list(items)
        self.groups.append(notes)
        self.before(notes)
        given: list[Any] = [notes]
        if dialect == "sqlite":
            given = ["[" + ",".join(f'"{note}"' for note in notes) + "]"]
        cursor.execute(INSERTS[dialect], given)
        self.after(cursor)
        return [f"{note} is written" for note in notes]


def written(storage: Storage) -> list[str]:
    return storage.read(lambda session: list(session.scalars(text("SELECT note FROM notes ORDER BY id"))))


def note(value: str) -> Callable[[Session], str]:
    """The same as a job of its own."""

    def work(session: Session) -> str:
        session.execute(text("INSERT INTO notes (note) VALUES (:note)"), {"note": value})
        return value

    return work


def writer_of(storage: Storage) -> Writer:
    return storage._writer  # noqa: SLF001 -- to keep it busy, and to see what waits for it


async def queued(writer: Writer, jobs: int) -> None:
    while len(writer._jobs) < jobs:  # noqa: SLF001, ASYNC110 -- nothing else tells that a job has been queued
        await asyncio.sleep(0)


@contextmanager
def patience(writer: Writer, seconds: float) -> Iterator[None]:
    """For how long somebody who submits in this block waits for his turn."""
    before = writer._longest_wait  # noqa: SLF001 -- of a storage's own writer; and only for a part of a test
    writer._longest_wait = seconds  # noqa: SLF001 -- as above
    yield
    writer._longest_wait = before  # noqa: SLF001 -- as above


@contextmanager
def busy(writer: Writer) -> Iterator[None]:
    """Until the end of the block the writer is at work, and everything else waits."""
    begun, finish = Event(), Event()

    def block(_: Session) -> None:
        begun.set()
        assert finish.wait(60)

    with ThreadPoolExecutor(1) as threads:
        job = threads.submit(writer.run, block)
        assert begun.wait(60)
        try:
            yield
        finally:
            finish.set()
        job.result()


class Round:
    """Tasks of one event loop that submit notes."""

    def __init__(self, writer: Writer, bulk: Notes) -> None:
        self._writer = writer
        self._bulk = bulk
        self.tasks: list[asyncio.Task[str]] = []

    async def add(self, *notes: str, size: int = 1) -> None:
        """Submit in one round of the event loop, and return when all of it waits for the writer."""
        goal = len(self._writer._jobs) + len(notes)  # noqa: SLF001 -- as in `queued`
        self.tasks += [asyncio.create_task(self._writer.submit(self._bulk, each, size)) for each in notes]
        await queued(self._writer, goal)

    async def outcomes(self) -> list[str | type[BaseException]]:
        ended = await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 60)
        return [type(one) if isinstance(one, BaseException) else one for one in ended]


def submit(storage: Storage, bulk: Notes, *notes: str) -> list[str | type[BaseException]]:
    """Submit notes in one round of an event loop; what came of each."""

    async def main() -> list[str | BaseException]:
        tasks = (storage.submit(bulk, each, size=1) for each in notes)
        return await asyncio.gather(*tasks, return_exceptions=True)

    return [type(one) if isinstance(one, BaseException) else one for one in asyncio.run(main())]


def run(main: Coroutine[Any, Any, None]) -> None:
    """On an event loop to which no callback may fail behind anybody's back."""
    faults: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        await main

    asyncio.run(watched())
    assert faults == []


# --- one transaction ---


@contextmanager
def statements(storage: Storage) -> Iterator[list[str]]:
    """What SQLite is really told meanwhile."""
    told: list[str] = []

    def listen(connection: Any, _record: object) -> None:
        connection.set_trace_callback(told.append)

    event.listen(storage.engine, "connect", listen)
    storage.engine.dispose()
    yield told
    event.remove(storage.engine, "connect", listen)
    storage.engine.dispose()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_group_is_one_transaction_of_sqlite(storage: Storage) -> None:
    names = [f"{number:02}" for number in range(30)]
    with statements(storage) as told:
        assert submit(storage, Notes(), *names) == [f"{name} is written" for name in names]
        begun = [statement for statement in told if statement.split()[0] in {"BEGIN", "COMMIT", "ROLLBACK"}]
        assert begun == ["BEGIN IMMEDIATE", "COMMIT"]
        assert sum(statement.startswith("INSERT") for statement in told) == 1
    assert written(storage) == names


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_group_is_one_transaction_of_postgresql(storage: Storage) -> None:
    names = [f"{number:02}" for number in range(30)]
    assert submit(storage, Notes(), *names) == [f"{name} is written" for name in names]
    assert submit(storage, Notes(), "later") == ["later is written"]
    xmins = storage.read(lambda session: session.execute(text("SELECT note, xmin::text FROM notes")).all())
    assert len({xmin for name, xmin in xmins if name != "later"}) == 1
    assert len({xmin for _, xmin in xmins}) == 2
    assert written(storage) == [*names, "later"]


def test_what_waits_while_the_writer_is_busy_becomes_one_group(storage: Storage) -> None:
    async def main() -> None:
        bulk = Notes()
        jobs = Round(writer_of(storage), bulk)
        with busy(writer_of(storage)):
            for name in "abcde":
                await jobs.add(name)
        assert await jobs.outcomes() == [f"{name} is written" for name in "abcde"]
        assert bulk.groups == [list("abcde")]

    run(main())
    assert written(storage) == list("abcde")


def test_a_lone_item_waits_for_no_company(storage: Storage) -> None:
    bulk = Notes()
    assert submit(storage, bulk, "a") == ["a is written"]
    assert submit(storage, bulk, "b") == ["b is written"]
    assert bulk.groups == [["a"], ["b"]]
    assert written(storage) == ["a", "b"]


def test_when_an_item_is_told_of_everybody_can_read_it(storage: Storage) -> None:
    async def one(bulk: Notes, name: str) -> bool:
        await storage.submit(bulk, name, size=1)
        return name in await asyncio.to_thread(written, storage)

    async def main() -> None:
        bulk = Notes()
        assert all(await asyncio.gather(*(one(bulk, f"{number}") for number in range(60))))

    run(main())


# --- one item's fault ---


@pytest.mark.parametrize("place", [0, 2, 4])
def test_an_item_that_is_there_already_fails_alone(storage: Storage, place: int) -> None:
    taken = "abcde"[place]
    storage.write(note(taken))
    bulk = Notes()
    expected: list[str | type[BaseException]] = [f"{name} is written" for name in "abcde"]
    expected[place] = IntegrityError
    assert submit(storage, bulk, *"abcde") == expected
    assert bulk.groups == [list("abcde"), ["a"], ["b"], ["c"], ["d"], ["e"]]
    assert written(storage) == [taken, *(name for name in "abcde" if name != taken)]


def test_of_two_equal_items_in_a_group_one_is_written(storage: Storage) -> None:
    outcomes = submit(storage, Notes(), "a", "b", "a", "c")
    assert outcomes == ["a is written", "b is written", IntegrityError, "c is written"]
    assert written(storage) == ["a", "b", "c"]


def test_a_bug_in_one_item_is_not_the_others(storage: Storage) -> None:
    def check(notes: list[str]) -> None:
        if "b" in notes:
            raise ZeroDivisionError

    outcomes = submit(storage, Notes(before=check), "a", "b", "c")
    assert outcomes == ["a is written", ZeroDivisionError, "c is written"]
    assert written(storage) == ["a", "c"]


@pytest.mark.parametrize(
    "database_kind", ["sqlite"]
)  # On PostgreSQL the statement that writes is the one that commits.
def test_a_bug_after_the_write_leaves_nothing(storage: Storage) -> None:
    def fail(_: DBAPICursor) -> None:
        raise ZeroDivisionError

    bulk = Notes(after=fail)
    assert submit(storage, bulk, "a", "b") == [ZeroDivisionError] * 2
    assert bulk.groups == [["a", "b"], ["a"], ["b"]]
    assert written(storage) == []
    assert submit(storage, Notes(), "c") == ["c is written"]


def test_a_faulty_item_of_one_group_does_not_disturb_the_next(storage: Storage) -> None:
    async def main() -> None:
        jobs, later = Round(writer_of(storage), Notes()), Round(writer_of(storage), Notes())
        with busy(writer_of(storage)):
            await jobs.add("a", "a")
            await later.add("b", "c")
        assert await jobs.outcomes() == ["a is written", IntegrityError]
        assert await later.outcomes() == ["b is written", "c is written"]

    run(main())
    assert written(storage) == ["a", "b", "c"]


# --- the database's fault ---


@contextmanager
def a_full_disk(storage: Storage) -> Iterator[None]:
    """SQLite may not add another page to the file."""

    def limit(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        (pages,) = cursor.execute("PRAGMA page_count").fetchone()
        cursor.execute(f"PRAGMA max_page_count={pages}")
        cursor.close()

    event.listen(storage.engine, "connect", limit)
    storage.engine.dispose()
    yield
    event.remove(storage.engine, "connect", limit)
    storage.engine.dispose()


@contextmanager
def a_locked_table(storage: Storage) -> Iterator[None]:
    """Somebody holds a lock of PostgreSQL for longer than anybody waits."""

    def hurry(connection: Any, _record: object) -> None:
        connection.execute("SET lock_timeout = '50ms'")
        connection.commit()

    event.listen(storage.engine, "connect", hurry)
    storage.engine.dispose()
    with storage.engine.connect() as other:
        other.execute(text("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE"))
        yield
    event.remove(storage.engine, "connect", hurry)
    storage.engine.dispose()


def test_a_database_that_cannot_write_is_told_to_all_and_little_is_tried_again(
    storage: Storage, database_kind: str
) -> None:
    bulk = Notes()
    large = [f"{name}{'x' * 5000}" for name in "abcde"]
    with {"sqlite": a_full_disk, "postgresql": a_locked_table}[database_kind](storage):
        assert submit(storage, bulk, *large) == [Unavailable] * 5
        # A lock might be about one of them. When three are not to be had, it is not.
        tried_again = [[note] for note in large[:3]] if database_kind == "postgresql" else []
        assert bulk.groups == [large, *tried_again]
    assert written(storage) == []
    assert submit(storage, bulk, *large) == [f"{name} is written" for name in large]
    assert written(storage) == large


@contextmanager
def held(storage: Storage, *notes: str) -> Iterator[Session]:
    """Somebody has written notes and has not made up his mind yet. Nobody waits long for that."""

    def hurry(connection: Any, _record: object) -> None:
        connection.execute("SET lock_timeout = '50ms'")
        connection.commit()

    event.listen(storage.engine, "connect", hurry)
    storage.engine.dispose()
    with storage.engine.connect() as connection, Session(connection) as session:
        for value in notes:
            note(value)(session)
        yield session
    event.remove(storage.engine, "connect", hurry)
    storage.engine.dispose()


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_who_is_held_up_does_not_take_his_neighbours_along(storage: Storage, place: int) -> None:
    bulk, names = Notes(), list("abcde")
    with held(storage, names[place]):
        outcomes = submit(storage, bulk, *names)
        assert outcomes == [Unavailable if name == names[place] else f"{name} is written" for name in names]
        assert bulk.groups == [names, *([name] for name in names)]
    assert submit(storage, bulk, names[place]) == [f"{names[place]} is written"]
    assert sorted(written(storage)) == names


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_two_who_are_held_up_do_not_take_their_neighbours_along(storage: Storage) -> None:
    bulk = Notes()
    with held(storage, "a", "d"):
        assert submit(storage, bulk, *"abcde") == [
            *(Unavailable, "b is written", "c is written", Unavailable, "e is written")
        ]


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_the_connection_waits_as_long_as_ever_after_it_was_in_a_hurry(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulks, "SHORT_LOCK_WAIT", "7ms")
    with held(storage, "a"):
        assert submit(storage, Notes(), "a", "b") == [Unavailable, "b is written"]
        shown = storage.read(lambda session: session.scalar(text("SHOW lock_timeout")))
        assert shown == "50ms"
        assert storage.write(lambda session: session.scalar(text("SHOW lock_timeout"))) == "50ms"


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_who_is_given_up_by_the_database_for_another_is_tried_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two who wait for each other: PostgreSQL ends one of them."""
    monkeypatch.setattr(bulks, "SHORT_LOCK_WAIT", "10s")
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%unnest%'")
    bulk = Notes()
    with ThreadPoolExecutor(1) as threads, storage.engine.connect() as connection, Session(connection) as other:
        # It is the other one that is ended.
        other.execute(text("SET LOCAL deadlock_timeout = '60s'"))
        other.execute(text("SET LOCAL lock_timeout = '60s'"))
        note("c")(other)
        outcomes = threads.submit(submit, storage, bulk, *"abcd")
        while not storage.read(lambda session: session.scalar(waiting)):
            assert not outcomes.done()
        note("a")(other)
        other.rollback()
        assert outcomes.result() == [f"{name} is written" for name in "abcd"]
    assert bulk.groups == [list("abcd"), *([name] for name in "abcd")]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_file_that_is_gone_is_told_to_all(storage: Storage) -> None:
    file = storage.database.file
    assert file is not None
    bulk = Notes()
    kept = file.rename(file.with_name("kept.db"))
    assert submit(storage, bulk, *"abc") == [Unavailable] * 3
    assert bulk.groups == []
    kept.rename(file)
    assert submit(storage, bulk, "d") == ["d is written"]
    assert written(storage) == ["d"]


def cut(cursor: DBAPICursor) -> None:
    cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_connection_that_breaks_before_the_write_is_told_to_all_and_nothing_is_tried_again(storage: Storage) -> None:
    groups: list[list[str]] = []

    def bulk(cursor: DBAPICursor, _dialect: str, items: Sequence[str]) -> Sequence[str]:
        groups.append(list(items))
        cursor.execute(
            "WITH stored AS (INSERT INTO notes (note) SELECT unnest(%s::text[])) "
            "SELECT pg_terminate_backend(pg_backend_pid())",
            [list(items)],
        )
        return items

    async def main() -> None:
        tasks = (storage.submit(bulk, name, size=1) for name in "abc")
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in ended] == [OutcomeUnknown] * 3

    for _ in range(2):
        run(main())
    assert groups == [list("abc")] * 2
    assert written(storage) == []
    assert submit(storage, Notes(), *"abc") == [f"{name} is written" for name in "abc"]
    assert written(storage) == list("abc")


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_what_was_committed_before_the_connection_broke_is_not_written_twice(storage: Storage) -> None:
    """Nobody can tell, so all are told just that."""
    storage.write(lambda session: session.execute(text("ALTER TABLE notes DROP CONSTRAINT notes_note_key")))
    bulk = Notes(after=cut)
    assert submit(storage, bulk, *"abc") == [OutcomeUnknown] * 3
    assert bulk.groups == [list("abc")]
    assert written(storage) == list("abc")
    assert submit(storage, Notes(), "d") == ["d is written"]


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_connection_that_was_cut_while_it_was_idle_is_replaced_unnoticed(storage: Storage) -> None:
    assert submit(storage, Notes(), "a") == ["a is written"]
    with storage.engine.connect() as other:
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        other.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))  # noqa: S608 -- see above
    bulk = Notes()
    assert submit(storage, bulk, "b", "c") == ["b is written", "c is written"]
    assert bulk.groups == [["b", "c"]]
    assert written(storage) == ["a", "b", "c"]


def test_no_free_connection_is_told_to_all_and_waited_for_once(
    empty_database_url: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert written(storage) == []
    monkeypatch.setattr(engines, "POOL_TIMEOUT_S", 0.05)
    with Storage.open(Settings(database_url=empty_database_url, database_pool_size=1)) as small:
        asked: list[int] = []
        connect = small.engine.raw_connection

        def raw_connection() -> PoolProxiedConnection:
            asked.append(1)
            return connect()

        monkeypatch.setattr(small.engine, "raw_connection", raw_connection)
        with small.engine.connect():
            asked.clear()
            assert submit(small, Notes(), *"abcde") == [NoConnection] * 5
            waited = len(asked)
        assert submit(small, Notes(), "f") == ["f is written"]
        assert written(small) == ["f"]
        assert waited == 1


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_connection_goes_back_as_it_came(storage: Storage) -> None:
    """Other work on it has transactions, also after a bulk write that failed."""
    with Storage.open(Settings(database_url=str(storage.database.url.render_as_string(hide_password=False)))) as other:
        for after in (lambda _: None, cut):
            submit(storage, Notes(after=after), f"{after}")
            with storage.engine.connect() as connection:
                connection.execute(text("INSERT INTO notes (note) VALUES ('not committed')"))
                assert "not committed" not in written(other)
            assert "not committed" not in written(other)


def test_an_outcome_is_told_once_it_is_on_disk_and_not_before(storage: Storage) -> None:
    """Looked at from the thread of the writer, where no event loop can come in between."""
    outcomes = run_bulk(storage.engine, Notes(), ["a", "b"])
    assert outcomes == [("a is written", None), ("b is written", None)]
    assert written(storage) == ["a", "b"]
    for value, error in run_bulk(storage.engine, Notes(), ["b", "b"]):
        assert value is None
        assert isinstance(error, IntegrityError)
    assert "'b'" not in str(error), "parameters are hidden: among them are license keys"


# --- waiting, giving up, leaving ---


def test_who_gives_up_is_told_so_and_his_item_is_never_written(storage: Storage) -> None:
    writer = writer_of(storage)

    async def main() -> None:
        bulk = Notes()
        jobs, later = Round(writer, bulk), Round(writer, bulk)
        with busy(writer):
            with patience(writer, 0.05):
                await jobs.add(*"abc")
                assert await jobs.outcomes() == [Busy] * 3
            await later.add("d")
        assert await later.outcomes() == ["d is written"]
        assert bulk.groups == [["d"]]

    run(main())
    assert written(storage) == ["d"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_who_waits_too_long_for_another_process_is_told_so_and_his_item_is_never_written(
    storage: Storage, tmp_path: Path
) -> None:
    writer = writer_of(storage)

    async def main() -> None:
        bulk = Notes()
        with TurnLock(tmp_path / "empty.db.lock"), patience(writer, 0.05):
            for _ in range(2):
                ended = await asyncio.gather(
                    *(storage.submit(bulk, name, size=1) for name in "abc"), return_exceptions=True
                )
                assert [type(one) for one in ended] == [Busy] * 3
                assert "busy with other writers for 0.05 s: try again" in str(ended[0])
        assert await storage.submit(bulk, "d", size=1) == "d is written"
        assert bulk.groups == [["d"]]

    run(main())
    assert written(storage) == ["d"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_while_another_process_has_its_turn_items_gather(storage: Storage, tmp_path: Path) -> None:
    async def main() -> None:
        bulk = Notes()
        jobs = Round(writer_of(storage), bulk)
        with TurnLock(tmp_path / "empty.db.lock"):
            for name in "abc":
                await jobs.add(name)
            assert bulk.groups == []
        assert await jobs.outcomes() == [f"{name} is written" for name in "abc"]
        assert bulk.groups == [list("abc")]

    run(main())


def test_an_item_that_is_being_written_is_waited_for(storage: Storage) -> None:
    """However long it takes: nobody could tell otherwise whether it was committed."""
    begun, go_on = Event(), Event()
    writer = writer_of(storage)

    def wait(_: list[str]) -> None:
        begun.set()
        assert go_on.wait(60)

    async def main() -> None:
        with patience(writer, 1):
            task = asyncio.create_task(writer.submit(Notes(before=wait), "a", 1))
            assert await asyncio.to_thread(begun.wait, 60)
            await asyncio.sleep(1.2)
        assert not task.done()
        go_on.set()
        assert await task == "a is written"

    run(main())
    assert written(storage) == ["a"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_who_leaves_takes_nobody_along(storage: Storage, place: int) -> None:
    async def main() -> None:
        jobs = Round(writer_of(storage), Notes())
        with busy(writer_of(storage)):
            await jobs.add(*"abc")
            jobs.tasks[place].cancel()
            await asyncio.sleep(0)
        expected: list[str | type[BaseException]] = [f"{name} is written" for name in "abc"]
        expected[place] = asyncio.CancelledError
        assert await jobs.outcomes() == expected

    run(main())
    assert {"a", "b", "c"} - {"abc"[place]} <= set(written(storage))


def test_who_leaves_while_his_item_is_being_written_takes_nobody_along(storage: Storage) -> None:
    begun, go_on = Event(), Event()

    def wait(_: list[str]) -> None:
        begun.set()
        assert go_on.wait(60)

    async def main() -> None:
        bulk = Notes(before=wait)
        tasks = [asyncio.create_task(storage.submit(bulk, name, size=1)) for name in "abc"]
        assert await asyncio.to_thread(begun.wait, 60)
        tasks[1].cancel()
        await asyncio.sleep(0)
        go_on.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [ended[0], ended[2]] == ["a is written", "c is written"]
        assert isinstance(ended[1], asyncio.CancelledError)

    run(main())
    assert written(storage) == ["a", "b", "c"]


def test_who_leaves_at_the_moment_when_his_patience_ends_makes_no_noise(storage: Storage) -> None:
    writer = writer_of(storage)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with busy(writer), patience(writer, 0):
            task = asyncio.create_task(writer.submit(Notes(), "a", 1))
            # In the round in which the timer ends, and before it does.
            loop.call_soon(lambda: loop.call_soon(task.cancel))
            with pytest.raises((asyncio.CancelledError, Unavailable)):
                await task
            await asyncio.sleep(0)

    run(main())


def test_an_item_whose_event_loop_has_ended_does_no_harm(storage: Storage) -> None:
    bulk = Notes()
    loop = asyncio.new_event_loop()

    async def leave() -> None:
        jobs = Round(writer_of(storage), bulk)
        await jobs.add("gone", "gone as well")
        for task in jobs.tasks:
            task.cancel()
        await asyncio.gather(*jobs.tasks, return_exceptions=True)

    async def stay() -> None:
        jobs = Round(writer_of(storage), bulk)
        with busy(writer_of(storage)):
            with ThreadPoolExecutor(1) as threads:
                threads.submit(loop.run_until_complete, leave()).result()
            loop.close()
            await jobs.add("a", "b")
        assert await jobs.outcomes() == ["a is written", "b is written"]
        assert await writer_of(storage).submit(bulk, "c", 1) == "c is written"

    run(stay())
    assert {"a", "b", "c"} <= set(written(storage))
    assert storage.write(note("d")) == "d"


# --- order and limits ---


def test_first_come_first_served_whatever_the_kind(storage: Storage) -> None:
    writer = writer_of(storage)

    async def main() -> None:
        bulk, other = Notes(), Notes()
        jobs, others = Round(writer, bulk), Round(writer, other)
        with ThreadPoolExecutor(2) as threads:
            with busy(writer):
                await jobs.add("a", "b")
                single = threads.submit(writer.run, note("c"))
                await queued(writer, 3)
                await jobs.add("d", "e")
                await others.add("f")
                await jobs.add("g")
                last = threads.submit(writer.run, note("h"))
                await queued(writer, 8)
            assert await jobs.outcomes() == [f"{name} is written" for name in "abdeg"]
            assert await others.outcomes() == ["f is written"]
            assert (single.result(), last.result()) == ("c", "h")
        assert bulk.groups == [["a", "b"], ["d", "e"], ["g"]]
        assert other.groups == [["f"]]

    run(main())
    assert written(storage) == list("abcdefgh")


def test_a_group_has_a_largest_size(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "LARGEST_GROUP", 100)

    async def main() -> None:
        bulk = Notes()
        jobs = Round(writer_of(storage), bulk)
        with busy(writer_of(storage)):
            for name, size in zip("abcdefgh", (60, 40, 1, 99, 100, 500, 50, 51), strict=True):
                await jobs.add(name, size=size)
        assert await jobs.outcomes() == [f"{name} is written" for name in "abcdefgh"]
        assert bulk.groups == [["a", "b"], ["c", "d"], ["e"], ["f"], ["g"], ["h"]]

    run(main())
    assert written(storage) == list("abcdefgh")


@pytest.mark.parametrize(("gathered", "begins"), [(4, True), (3, False)])
def test_enough_are_handed_over_before_their_round_ends(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, gathered: int, *, begins: bool
) -> None:
    """So that the writer begins, however long the loop is busy with others; fewer wait for the end of the round."""
    monkeypatch.setattr(writers, "MOST_GATHERED", 4)
    begun = Event()
    seen: list[bool] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        bulk = Notes(before=lambda _: begun.set())
        tasks = [asyncio.create_task(storage.submit(bulk, f"{number}", size=1)) for number in range(gathered)]
        # Runs in the same round, after them.
        loop.call_soon(lambda: seen.append(begun.wait(60 if begins else 0.1)))
        await asyncio.gather(*tasks)
        assert bulk.groups == [[f"{number}" for number in range(gathered)]]

    run(main())
    assert seen == [begins]


def test_a_round_of_very_many_loses_none(storage: Storage) -> None:
    names = [f"{number:03}" for number in range(10 * writers.MOST_GATHERED + 7)]
    bulk = Notes()
    assert submit(storage, bulk, *names) == [f"{name} is written" for name in names]
    assert written(storage) == names
    assert [name for group in bulk.groups for name in group] == names


def test_event_loops_of_several_threads_lose_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one loop in a server; commands and tests have others."""
    bulk = Notes()
    monkeypatch.setattr(writers, "MOST_GATHERED", 7)

    def many(thread: int) -> list[str]:
        async def main() -> list[str]:
            outcomes: list[str] = []
            for chunk in range(20):
                names = [f"{thread}-{chunk}-{number}" for number in range(10)]
                jobs = (storage.submit(bulk, name, size=1) for name in names)
                outcomes += await asyncio.wait_for(asyncio.gather(*jobs), 60)
            return outcomes

        return asyncio.run(main())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as threads:
            outcomes = [outcome for part in threads.map(many, range(2)) for outcome in part]
    finally:
        sys.setswitchinterval(interval)
    expected = [f"{thread}-{chunk}-{number}" for thread in range(2) for chunk in range(20) for number in range(10)]
    assert outcomes == [f"{name} is written" for name in expected]
    assert sorted(written(storage)) == sorted(expected)


def test_an_event_loop_does_not_wait_for_the_round_of_another(storage: Storage) -> None:
    """What one of them has gathered is not for the other to count, nor to hand over."""
    writer = writer_of(storage)
    bulk = Notes()
    gathered, other_is_served = Event(), Event()
    seen: list[bool] = []

    def hold() -> None:
        gathered.set()
        seen.append(other_is_served.wait(10))

    async def slow() -> str:
        task = asyncio.create_task(writer.submit(bulk, "a", 1))
        # Runs after the submission, and before what hands it over.
        asyncio.get_running_loop().call_soon(hold)
        return await task

    async def quick() -> str:
        outcome = await writer.submit(bulk, "b", 1)
        other_is_served.set()
        return outcome

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(asyncio.run, slow())
        assert gathered.wait(60)
        other = threads.submit(asyncio.run, quick())
        assert (one.result(), other.result()) == ("a is written", "b is written")
    assert seen == [True]
    assert written(storage) == ["b", "a"]


def test_closing_finishes_what_waits(storage: Storage) -> None:
    async def main() -> None:
        jobs = Round(writer_of(storage), Notes())
        with ThreadPoolExecutor(1) as threads:
            with busy(writer_of(storage)):
                await jobs.add(*"abc")
                closing = threads.submit(writer_of(storage).close)
                await queued(writer_of(storage), 4)
            await asyncio.to_thread(closing.result)
        assert await jobs.outcomes() == [f"{name} is written" for name in "abc"]

    run(main())
    assert written(storage) == ["a", "b", "c"]


def test_closing_finishes_what_was_submitted_in_the_same_round(storage: Storage) -> None:
    writer = writer_of(storage)
    assert writer.run(note("first")) == "first"

    async def main() -> None:
        with patience(writer, 2):
            tasks = [asyncio.create_task(writer.submit(Notes(), name, 1)) for name in "ab"]
            # Behind their submission and before they are handed over.
            asyncio.get_running_loop().call_soon(writer.close)
            assert await asyncio.gather(*tasks) == ["a is written", "b is written"]

    run(main())
    assert sorted(written(storage)) == ["a", "b", "first"]


def test_closing_a_writer_that_never_wrote(storage: Storage) -> None:
    Writer(storage.engine, None).close()
