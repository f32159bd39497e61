"""The queue for SQLite's one writer (decision 0003)."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine.interfaces import DBAPICursor

from hanaper.refusal import Unavailable
from hanaper.storage.engine import connect, locate
from hanaper.storage.session import Session
from hanaper.storage.turn_lock import TurnLock
from hanaper.storage.writer import Writer


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "test.db.lock"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = connect(locate(f"sqlite:///{tmp_path / 'test.db'}"), pool_size=8)
    with made.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT NOT NULL)")
    yield made
    made.dispose()


def note(value: str) -> Callable[[Session], str]:
    def work(session: Session) -> str:
        session.execute(text("INSERT INTO notes (note) VALUES (:note)"), {"note": value})
        return value

    return work


def notes(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT note FROM notes ORDER BY id")).scalars())


class Blocker:
    """A job that begins, and ends when it is told to."""

    def __init__(self) -> None:
        self.begun = Event()
        self.finish = Event()

    def __call__(self, session: Session) -> str:
        note("blocker")(session)
        self.begun.set()
        assert self.finish.wait(60)
        return "blocker"


@contextmanager
def busy(writer: Writer) -> Iterator[tuple[Blocker, Future[str], ThreadPoolExecutor]]:
    """A writer that is at work, and threads to queue more."""
    blocker = Blocker()
    with ThreadPoolExecutor(32) as threads:
        first = threads.submit(writer.run, blocker)
        assert blocker.begun.wait(60)
        try:
            yield blocker, first, threads
        finally:
            blocker.finish.set()


def queued(writer: Writer, jobs: int) -> None:
    while len(writer._jobs) < jobs:  # noqa: SLF001 -- nothing else tells that a job has been queued
        pass


def test_first_come_first_served(engine: Engine, lock: Path) -> None:
    writer = Writer(engine, lock)
    names = [f"{number:02}" for number in range(20)]
    with busy(writer) as (blocker, first, threads):
        jobs = []
        for place, name in enumerate(names):
            jobs.append(threads.submit(writer.run, note(name)))
            queued(writer, place + 1)
        blocker.finish.set()
        assert first.result() == "blocker"
        assert [job.result() for job in jobs] == names
    assert notes(engine) == ["blocker", *names]
    writer.close()


def test_who_gives_up_is_told_so_and_his_job_never_runs(engine: Engine, lock: Path) -> None:
    writer = Writer(engine, lock, longest_wait=0.5)
    with busy(writer) as (blocker, first, _):
        with pytest.raises(Unavailable, match=r"busy with other writers for 0\.5 s"):
            writer.run(note("given up"))
        blocker.finish.set()
        assert first.result() == "blocker"
    patient = Writer(engine, lock)
    assert patient.run(note("later")) == "later"
    assert notes(engine) == ["blocker", "later"]
    writer.close()
    patient.close()
    assert notes(engine) == ["blocker", "later"]


def test_a_job_that_has_begun_is_waited_for(engine: Engine, lock: Path) -> None:
    """However long it takes: nobody could tell otherwise whether it was committed."""
    writer = Writer(engine, lock, longest_wait=0.5)
    with busy(writer) as (blocker, first, _):
        assert not blocker.finish.wait(0.7)
        assert not first.done()
        blocker.finish.set()
        assert first.result() == "blocker"
    assert notes(engine) == ["blocker"]
    writer.close()


@pytest.mark.parametrize("error", [ZeroDivisionError("planted"), SystemExit(3), KeyboardInterrupt()])
def test_errors_reach_the_caller_and_nobody_else(engine: Engine, lock: Path, error: BaseException) -> None:
    writer = Writer(engine, lock)

    def work(session: Session) -> None:
        note("lost")(session)
        raise error

    with pytest.raises(type(error)) as caught:
        writer.run(work)
    assert caught.value is error
    assert writer.run(note("next")) == "next"
    assert notes(engine) == ["next"]
    writer.close()


def test_an_item_that_is_cancelled_before_its_turn_is_not_written(engine: Engine, lock: Path) -> None:
    writer = Writer(engine, lock)

    def write(cursor: DBAPICursor, _: str, items: Sequence[str]) -> Sequence[None]:
        cursor.executemany("INSERT INTO notes (note) VALUES (?)", [(item,) for item in items])
        return [None] * len(items)

    async def cancel() -> None:
        task = asyncio.create_task(writer.submit(write, "cancelled", 1))
        for _ in range(3):
            await asyncio.sleep(0)
        queued(writer, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with busy(writer) as (blocker, first, _):
        asyncio.run(cancel())
        blocker.finish.set()
        first.result()
    writer.close()
    assert notes(engine) == ["blocker"]


def test_closing_finishes_what_is_queued(engine: Engine, lock: Path) -> None:
    writer = Writer(engine, lock)
    with busy(writer) as (blocker, _, threads):
        jobs = [threads.submit(writer.run, note(str(number))) for number in range(5)]
        queued(writer, 5)
        closing = threads.submit(writer.close)
        queued(writer, 6)
        blocker.finish.set()
        closing.result()
        assert sorted(job.result() for job in jobs) == ["0", "1", "2", "3", "4"]
    assert len(notes(engine)) == 6


def test_closing_a_writer_that_never_wrote(engine: Engine, lock: Path) -> None:
    Writer(engine, lock).close()


HOLDER = """
import fcntl, sys
stream = open(sys.argv[1], "w")
fcntl.flock(stream, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process_writes(lock: Path) -> Iterator[Callable[[], None]]:
    """Another process has its turn; yields what ends it, by death."""
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            yield holder.kill
        finally:
            holder.kill()


def test_writers_wait_for_another_process_and_go_on_when_it_dies(engine: Engine, lock: Path) -> None:
    writer = Writer(engine, lock)
    with another_process_writes(lock) as die, ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(writer.run, note(str(number))) for number in range(4)]
        queued(writer, 3)
        assert notes(engine) == []
        assert not any(job.done() for job in jobs)
        die()
        assert sorted(job.result() for job in jobs) == ["0", "1", "2", "3"]
    assert sorted(notes(engine)) == ["0", "1", "2", "3"]
    writer.close()


def test_who_waits_too_long_for_another_process_is_told_so_and_his_job_never_runs(engine: Engine, lock: Path) -> None:
    writer = Writer(engine, lock, longest_wait=0.05)
    with ThreadPoolExecutor(2) as threads, another_process_writes(lock):
        for name in ("first", "second"):
            with pytest.raises(Unavailable, match="try again"):
                threads.submit(writer.run, note(name)).result(timeout=30)
    patient = Writer(engine, lock)
    patient.run(note("later"))
    writer.close()
    patient.close()
    assert notes(engine) == ["later"]


def test_two_writers_of_one_file_lose_no_update(tmp_path: Path, lock: Path) -> None:
    """As two processes have it: an engine and a queue each."""
    url = locate(f"sqlite:///{tmp_path / 'test.db'}")
    engines = [connect(url, pool_size=4) for _ in range(2)]
    with engines[0].begin() as connection:
        connection.exec_driver_sql("CREATE TABLE counter (value INTEGER NOT NULL)")
        connection.exec_driver_sql("INSERT INTO counter VALUES (0)")

    def count(session: Session) -> int:
        value = session.execute(text("SELECT value FROM counter")).scalar_one() + 1
        session.execute(text("UPDATE counter SET value = :value"), {"value": value})
        return int(value)

    writers = [Writer(engine, lock) for engine in engines]
    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(lambda number: writers[number % 2].run(count), range(100)))
    assert sorted(seen) == list(range(1, 101))
    for writer, engine in zip(writers, engines, strict=True):
        writer.close()
        engine.dispose()


def test_the_lock_is_held_by_one_at_a_time_and_freed_at_the_end(lock: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        entered = Event()

        def enter() -> None:
            with TurnLock(lock):
                entered.set()

        with TurnLock(lock):
            other = threads.submit(enter)
            assert not entered.wait(0.05)
        other.result()
    assert entered.is_set()
    assert lock.stat().st_mode & 0o777 == 0o600


def test_a_lock_file_that_cannot_be_opened_is_called_unavailable(engine: Engine, lock: Path) -> None:
    lock.mkdir()
    writer = Writer(engine, lock)
    with pytest.raises(Unavailable, match="lock file"):
        writer.run(note("lost"))
    lock.rmdir()
    writer.run(note("next"))
    assert notes(engine) == ["next"]
    writer.close()
