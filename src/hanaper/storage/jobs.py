"""Jobs: what is handed to the writer thread, and how its outcome comes back."""

import asyncio
from collections.abc import Callable
from threading import Event, Lock
from time import perf_counter
from typing import Any

from sqlalchemy.orm import Session

from hanaper.storage.bulk import Bulk


class Job:
    """A piece of work on its way to the writer thread and back.

    Attributes:
        since: when it was handed in, by `time.perf_counter()`.
    """

    def __init__(self) -> None:
        self.since = perf_counter()
        self._claimed = False
        self._lock = Lock()

    def claim(self) -> bool:
        """True for the first who asks: the writer that will run it, or the caller that gives up on it."""
        with self._lock:
            first = not self._claimed
            self._claimed = True
            return first


class SingleJob(Job):
    """Work of its own kind, in a transaction of its own; a thread waits for it."""

    def __init__(self, work: Callable[[Session], Any]) -> None:
        super().__init__()
        self.work = work
        self.done = Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def finish(self, result: Any, error: BaseException | None) -> None:
        """Wake the thread that waits."""
        self.result, self.error = result, error
        self.done.set()


class BulkJob(Job):
    """An item of a bulk write; a coroutine waits for it."""

    def __init__(self, bulk: Bulk[Any, Any], item: Any, size: int) -> None:
        super().__init__()
        self.bulk = bulk
        self.item = item
        self.size = size
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    def finish(self, result: Any, error: BaseException | None) -> None:
        """Wake the coroutine that waits, from another thread."""
        finish_bulk([(self, result, error)])

    def tell(self, result: Any, error: BaseException | None) -> None:
        """Wake the coroutine, on its loop."""
        if self.future.done():
            return  # cancelled meanwhile
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


def go_together(first: SingleJob | BulkJob, job: SingleJob | BulkJob) -> bool:
    """Whether two jobs may share a transaction."""
    return isinstance(first, BulkJob) and isinstance(job, BulkJob) and first.bulk == job.bulk and first.loop is job.loop


def finish_bulk(outcomes: list[tuple[BulkJob, Any, BaseException | None]]) -> None:
    """Tell the coroutines of one loop what came of their jobs, all at once: waking a loop costs more than telling."""

    def tell() -> None:
        for job, result, error in outcomes:
            job.tell(result, error)

    loop = outcomes[0][0].loop
    # The loop may be gone: who waited there is then gone, too.
    if not loop.is_closed():
        loop.call_soon_threadsafe(tell)
