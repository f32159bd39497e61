"""One fair writer at a time for SQLite (design.md rule 5; decision 0003).

SQLite lets one connection write and makes the others poll, with waits of seconds under load. Here the requests of
a process queue up, first come, first served, for one writer thread; between the processes of a machine the threads
take turns by a blocking file lock, which the operating system frees when a process dies.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hanaper.refusal import Unavailable

LONGEST_WAIT_S = 15.0

Result = TypeVar("Result")


class _Job:
    """A piece of work on its way to the writer thread and back."""

    def __init__(self, work: Callable[[Session], Any]) -> None:
        self.work = work
        self.done = Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self._claimed = False
        self._lock = Lock()

    def claim(self) -> bool:
        """True for the first who asks: the writer that will run it, or the caller that gives up on it."""
        with self._lock:
            first = not self._claimed
            self._claimed = True
            return first


class Writer:
    """The writer thread of this process."""

    def __init__(self, engine: Engine, lock_file: Path, *, longest_wait: float = LONGEST_WAIT_S) -> None:
        self._engine = engine
        self._lock_file = lock_file
        self._longest_wait = longest_wait
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._starting = Lock()

    def run(self, work: Callable[[Session], Result]) -> Result:
        """Run work in a transaction of its own and return when it is committed.

        Raises:
            Unavailable: it did not get its turn in time; it has not run and will not.
            Exception: what the work raised; its transaction was rolled back.
        """
        self._start()
        job = _Job(work)
        self._jobs.put(job)
        if not job.done.wait(self._longest_wait) and job.claim():
            raise Unavailable(f"the database was busy with other writers for {self._longest_wait:g} s: try again")
        # Its turn came: from here on only the outcome may be told.
        job.done.wait()
        if job.error is not None:
            raise job.error
        result: Result = job.result
        return result

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(self._longest_wait)

    def _start(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = Thread(target=self._serve, name="hanaper-writer", daemon=True)
                    thread.start()
                    self._thread = thread

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                # The job is claimed only when the turn has come, so that its caller can give up while another process
                # holds the lock.
                with TurnLock(self._lock_file):
                    if job.claim():
                        job.result = self._commit(job.work)
            except BaseException as error:  # noqa: BLE001 -- handed over to the caller, who raises it
                job.error = error
            job.done.set()

    def _commit(self, work: Callable[[Session], Result]) -> Result:
        engine = self._engine.execution_options(hanaper_writes=True)
        with engine.begin() as connection, Session(connection, expire_on_commit=False) as session:
            result = work(session)
            session.flush()
        return result


class TurnLock:
    """The lock by which the writing processes of one machine take turns. The kernel wakes the next, nobody polls."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = -1

    def __enter__(self) -> None:
        try:
            self._descriptor = os.open(self._file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"the lock file {self._file} cannot be opened: {error.strerror}") from error
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
