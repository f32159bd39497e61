"""How long a request waits for PostgreSQL: every one is answered within ten seconds (decision 0016)."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from hanaper.refusal import OutcomeUnknown

LONGEST_REQUEST_S = 9.0
LOOK_EVERY_S = 0.25

Result = TypeVar("Result")


class _Request:
    """One that is at work. `ends` is in the loop's time; None while nobody counts."""

    def __init__(self, task: asyncio.Task[object], ends: float) -> None:
        self.task = task
        self.ends: float | None = ends
        self.given_up = False


_request: ContextVar[_Request | None] = ContextVar("_request", default=None)


class Patience:
    """Ends requests that take too long. For one event loop.

    What the request waited for goes on without it: a thread cannot be stopped, and what has been asked of the database
    cannot be taken back. All requests have one timer: one for each would cost more than all the rest of this.
    """

    def __init__(self) -> None:
        self._at_work: dict[_Request, None] = {}
        self._looking = False

    async def bound(self, work: Awaitable[Result], seconds: float | None) -> Result:
        """What comes of the work of this task.

        Args:
            work: waits, if it has to, where it can be cancelled.
            seconds: it may take; None for any number.

        Raises:
            OutcomeUnknown: it took longer.
            Exception: what the work raised.
        """
        task = asyncio.current_task()
        if seconds is None or task is None:
            return await work
        loop = asyncio.get_running_loop()
        request = _Request(task, loop.time() + seconds)
        self._at_work[request] = None
        if not self._looking:
            self._looking = True
            loop.call_later(LOOK_EVERY_S, self._look, loop)
        _request.set(request)
        try:
            return await work
        except asyncio.CancelledError:
            # Somebody else may want the task to end, too: the server, when it stops.
            if not request.given_up or task.uncancel() > 0:
                raise
            raise OutcomeUnknown(f"the request was not done within {seconds:g} s") from None
        finally:
            _request.set(None)
            del self._at_work[request]

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for request in self._at_work:
            if request.ends is not None and request.ends < now and not request.given_up:
                request.given_up = True
                request.task.cancel()
        self._looking = bool(self._at_work)
        if self._looking:
            loop.call_later(LOOK_EVERY_S, self._look, loop)


@contextmanager
def unhurried() -> Iterator[None]:
    """Around what may take longer than a request has, for other reasons than the database."""
    request = _request.get()
    if request is None or request.ends is None:
        yield
        return
    left = request.ends - asyncio.get_running_loop().time()
    request.ends = None
    try:
        yield
    finally:
        request.ends = asyncio.get_running_loop().time() + left
