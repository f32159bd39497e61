"""One thread that may hang in a device without keeping a process from its end."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar

Result = TypeVar("Result")


class LoneThread:
    """Does one piece of work after the other. It is a daemon; the threads of the standard library's pools are not."""

    def __init__(self, name: str) -> None:
        """Start it with the first work.

        Args:
            name: of the thread.
        """
        self._name = name
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any], float]] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = False
        self._due = math.inf

    @property
    def hangs(self) -> bool:
        """Whether some work goes on for longer than it may."""
        return self._due < monotonic()

    def submit(self, work: Callable[[], Result], longest_s: float) -> Future[Result]:
        """Have work done. A future that can be cancelled has not been begun.

        Args:
            work: to be done.
            longest_s: it may take; more, and it counts as hanging.
        """
        future: Future[Result] = Future()
        self._jobs.put((future, work, longest_s))
        with self._lock:
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return future

    def _run(self) -> None:
        while True:
            future, work, longest_s = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            self._due = monotonic() + longest_s
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 -- it is raised where the result is wanted
                future.set_exception(error)
            else:
                future.set_result(result)
            finally:
                self._due = math.inf
                del future, work
