"""Where budgets are counted: in the database, in a file, or in the memory of a process."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Protocol

from hanaper import log
from hanaper.limiting import store
from hanaper.limiting.file import WindowsFile
from hanaper.limiting.rules import Ask, Grant, Window, given_back, take
from hanaper.limiting.store import Back
from hanaper.storage.transactions import Storage

MOST_KEPT = 4096
"""Windows that a process keeps in memory: those that have been asked for last."""

LONGEST_WAIT_S = 0.5
AWAY_S = 1.0
PURGE_EVERY_S = 60.0

_logger = log.get(__name__)


class Windows(Protocol):
    """What has been taken of budgets."""

    async def take(self, ask: Ask) -> Grant:
        """Take of a budget. Not twice at the same time of the same."""

    async def give_back(self, back: Back) -> None:
        """Give back what has not been used."""

    def close(self) -> None:
        """There is nothing more to come."""


class InMemory:
    """For one process."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._windows: OrderedDict[bytes, Window] = OrderedDict()

    async def take(self, ask: Ask) -> Grant:
        """See `Windows`."""
        window, grant = take(self._windows.pop(ask.subject, None), int(self._now()), ask)
        self._windows[ask.subject] = window
        if len(self._windows) > MOST_KEPT:
            self._windows.popitem(last=False)
        return grant

    async def give_back(self, back: Back) -> None:
        """See `Windows`."""
        window = self._windows.get(back.subject)
        if window is not None:
            self._windows[back.subject] = given_back(window, back.second, back.amount)

    def close(self) -> None:
        """See `Windows`."""


class InFile:
    """For the processes of one machine. The file is locked in a thread: waiting must not stop the event loop."""

    def __init__(self, file: WindowsFile) -> None:
        self._file = file
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hanaper-limits")

    async def take(self, ask: Ask) -> Grant:
        """See `Windows`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._file.take, ask)

    async def give_back(self, back: Back) -> None:
        """See `Windows`."""
        await asyncio.get_running_loop().run_in_executor(
            self._thread, self._file.give_back, back.subject, back.second, back.amount
        )

    def close(self) -> None:
        """See `Windows`."""
        self._thread.shutdown()
        self._file.close()


class InDatabase:
    """For all replicas."""

    def __init__(self, storage: Storage, now: Callable[[], float] = monotonic) -> None:
        self._storage = storage
        self._now = now
        self._purged = now()
        self._purging: asyncio.Task[None] | None = None

    async def take(self, ask: Ask) -> Grant:
        """See `Windows`."""
        grant = await self._storage.ask_aside(store.take, ask)
        if self._now() - self._purged > PURGE_EVERY_S:
            self._purged = self._now()
            self._purging = asyncio.create_task(self._purge())
        return grant

    async def give_back(self, back: Back) -> None:
        """See `Windows`."""
        await self._storage.ask_aside(store.give_back, back)

    def close(self) -> None:
        """See `Windows`. The storage is closed by who opened it."""

    async def _purge(self) -> None:
        try:
            await self._storage.ask_aside(store.purge, None)
        except Exception as error:  # noqa: BLE001 -- another process, or the next minute, will do it
            _logger.warning("what was counted for rate limits long ago stays", reason=type(error).__name__)


class Lasting:
    """Shared with others as long as that is possible, and counted for this process alone meanwhile.

    Nobody is refused since the limits cannot be looked up, and nobody waits long for them.
    """

    def __init__(self, shared: Windows, now: Callable[[], float] = monotonic) -> None:
        self._shared = shared
        self._alone = InMemory(now)
        self._now = now
        self._away_until = 0.0
        self._away = False

    async def take(self, ask: Ask) -> Grant:
        """See `Windows`."""
        if self._now() >= self._away_until:
            try:
                grant = await asyncio.wait_for(self._shared.take(ask), LONGEST_WAIT_S)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the request must not fail for it
                self._stays_away(error)
            else:
                self._away = False
                return grant
        return await self._alone.take(ask)

    async def give_back(self, back: Back) -> None:
        """See `Windows`. What was taken elsewhere is not found, and so much is lost."""
        if self._now() >= self._away_until:
            try:
                await asyncio.wait_for(self._shared.give_back(back), LONGEST_WAIT_S)
            except Exception as error:  # noqa: BLE001 -- as above
                self._stays_away(error)
        else:
            await self._alone.give_back(back)

    def close(self) -> None:
        """See `Windows`."""
        self._shared.close()

    def _stays_away(self, error: Exception) -> None:
        self._away_until = self._now() + AWAY_S
        if not self._away:
            self._away = True
            _logger.warning("rate limits are counted for this process alone", where=log.where(error))
