"""The queue in front of the database's writers (design.md rule 5; decisions 0003 and 0008).

SQLite lets one connection write and makes the others poll, with waits of seconds under load. Here the requests of
a process queue up, first come, first served, for one writer thread; between the processes of a machine the threads
take turns by a blocking file lock, which the operating system frees when a process dies.

What many requests do alike, on both databases, is done for all of them that wait in one transaction (group commit): one
sync of the disk for all. A lone request is not delayed: the writer takes what is there and never waits for more.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Condition, Thread
from time import perf_counter
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hanaper import log
from hanaper.metrics.meter import OFF, Meter
from hanaper.refusal import OutcomeUnknown, Unavailable
from hanaper.storage.bulk import Bulk, run_bulk
from hanaper.storage.failures import unknown_where_lost
from hanaper.storage.jobs import BulkJob, SingleJob, finish_bulk, go_together
from hanaper.storage.turn_lock import TurnLock

LONGEST_WAIT_S = 15.0
MOST_GATHERED = 32
"""Jobs of one round of the event loop that are handed over together, at most."""

LARGEST_GROUP = 2_000
"""Rows, roughly. What is larger is not grouped further: its sync is a small part of it already."""

Result = TypeVar("Result")
Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_logger = log.get(__name__)


class Busy(Unavailable):
    """A job did not get its turn in time. It has not run and will not."""

    shortage = "queue"


class Writer:
    """A writer thread of this process."""

    def __init__(
        self,
        engine: Engine,
        lock_file: Path | None,
        *,
        longest_wait: float = LONGEST_WAIT_S,
        meter: Meter = OFF,
    ) -> None:
        """Set the writer up; its thread starts with the first job.

        Args:
            engine: of the database.
            lock_file: by which the writing processes of a machine take turns; None where the database does that.
            longest_wait: seconds a job may wait for its turn.
            meter: is told of queue, groups and commits.
        """
        self._engine = engine
        self._lock_file = lock_file
        self._longest_wait = longest_wait
        self._meter = meter
        self._jobs: deque[SingleJob | BulkJob | None] = deque()
        # By event loop: each touches its own only.
        self._gathered: dict[asyncio.AbstractEventLoop, list[BulkJob]] = {}
        self._more = Condition()
        self._thread: Thread | None = None

    def run(self, work: Callable[[Session], Result]) -> Result:
        """Run work in a transaction of its own and return when it is committed.

        Raises:
            Busy: it did not get its turn in time.
            Exception: what the work raised; its transaction was rolled back.
        """
        job = SingleJob(work)
        self._put(job)
        if not job.done.wait(self._longest_wait) and job.claim():
            raise self._too_late()
        # Its turn came: from here on only the outcome may be told.
        job.done.wait()
        if job.error is not None:
            raise job.error
        result: Result = job.result
        return result

    async def submit(self, bulk: Bulk[Item, Outcome], item: Item, size: int) -> Outcome:
        """Have an item written, together with others that wait, and return when it is committed.

        Args:
            bulk: what to do with a group of items; jobs of the same bulk are grouped.
            item: for it.
            size: how many rows it makes, roughly.

        Raises:
            Busy: it did not get its turn in time.
            Exception: what the bulk raised for this item; nothing of it is stored.
        """
        job = BulkJob(bulk, item, size)
        self._gather(job)

        def give_up() -> None:
            if job.claim() and not job.future.done():
                job.future.set_exception(self._too_late())

        patience = asyncio.get_running_loop().call_later(self._longest_wait, give_up)
        try:
            outcome: Outcome = await job.future
        except asyncio.CancelledError:
            # Nobody would be told, so it is not done unless it is too late.
            job.claim()
            raise
        finally:
            patience.cancel()
            # Of a request that could not wait any longer: where its turn has not come, it will not.
            job.claim()
        return outcome

    def _gather(self, job: BulkJob) -> None:
        """Hand over jobs of one round of the event loop together: who signs next in this round joins them.

        A lone request's round ends with it. Under load a round is as long as there are requests to sign.
        """
        gathered = self._gathered.setdefault(job.loop, [])
        gathered.append(job)
        if len(gathered) == 1:
            job.loop.call_soon(self._hand_over, job.loop)
        elif len(gathered) >= MOST_GATHERED:
            self._hand_over(job.loop)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        jobs = self._gathered.pop(loop, None)
        if jobs:
            self._put(*jobs)

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        for loop in list(self._gathered):
            self._hand_over(loop)
        if self._thread is not None:
            self._put(None)
            self._thread.join(self._longest_wait)

    def _put(self, *jobs: SingleJob | BulkJob | None) -> None:
        with self._more:
            self._jobs.extend(jobs)
            self._meter.queue(len(self._jobs))
            if self._thread is None and jobs != (None,):
                self._thread = Thread(target=self._serve, name="hanaper-writer", daemon=True)
                self._thread.start()
            self._more.notify()

    def _serve(self) -> None:
        while True:
            with self._more:
                while not self._jobs:
                    self._more.wait()
                if self._jobs[0] is None:
                    return
            group: list[SingleJob | BulkJob] = []
            try:
                # Jobs are claimed only when the turn has come, so that their callers can give up while another process
                # holds the lock; and more of them may have come meanwhile.
                with self._turn():
                    group = self._take()
                    self._write_measured(group)
            except BaseException as error:  # noqa: BLE001 -- handed over to the callers, who raise it
                # What fails in the work itself does not come here: it may be committed by now.
                told = _unknown(error) if group else error
                for job in group or self._take():
                    job.finish(None, told)

    def _turn(self) -> AbstractContextManager[None]:
        return nullcontext() if self._lock_file is None else TurnLock(self._lock_file)

    def _take(self) -> list[SingleJob | BulkJob]:
        """The next job, and with a bulk job those that follow and can be done in the same transaction."""
        group: list[SingleJob | BulkJob] = []
        size = 0
        with self._more:
            while self._jobs:
                job = self._jobs[0]
                if job is None or (group and not go_together(group[0], job)):
                    break
                if isinstance(job, BulkJob):
                    if group and size + job.size > LARGEST_GROUP:
                        break
                    size += job.size
                self._jobs.popleft()
                if job.claim():
                    group.append(job)
                if isinstance(job, SingleJob):
                    break
            self._meter.queue(len(self._jobs))
        return group

    def _write_measured(self, group: list[SingleJob | BulkJob]) -> None:
        if not group:
            return  # All of them gave up.
        began = perf_counter()
        self._meter.group("write", len(group), began - group[0].since)
        try:
            self._write(group)
        finally:
            self._meter.committed(perf_counter() - began)

    def _write(self, group: list[SingleJob | BulkJob]) -> None:
        bulk_jobs = [job for job in group if isinstance(job, BulkJob)]
        if bulk_jobs:
            outcomes = run_bulk(self._engine, bulk_jobs[0].bulk, [job.item for job in bulk_jobs])
            finish_bulk([(job, *outcome) for job, outcome in zip(bulk_jobs, outcomes, strict=True)])
            return
        for single in group:
            if isinstance(single, SingleJob):
                try:
                    single.finish(self._commit(single.work), None)
                except BaseException as error:  # noqa: BLE001 -- handed over to the caller, who raises it
                    single.finish(None, error)

    def _commit(self, work: Callable[[Session], Result]) -> Result:
        engine = self._engine.execution_options(hanaper_writes=True)
        with engine.connect() as connection:
            connection.begin()
            with Session(connection, expire_on_commit=False) as session:
                result = work(session)
                session.flush()
            with unknown_where_lost():
                connection.commit()
        return result

    def _too_late(self) -> Busy:
        return Busy(f"the database was busy with other writers for {self._longest_wait:g} s: try again")


def _unknown(error: BaseException) -> OutcomeUnknown:
    _logger.error("internal error", where=log.where(error))
    unknown = OutcomeUnknown("an internal error came up where the transaction may have been committed")
    unknown.__cause__ = error
    return unknown
