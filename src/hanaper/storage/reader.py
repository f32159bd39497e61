"""Group reads: one statement for what many requests look up alike (decision 0012).

Handing a read to a thread and back costs more than the read. While one group is being read the next one gathers; a lone
request does not wait for others.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Engine

from hanaper.metrics.meter import OFF, Meter
from hanaper.storage.bulk import Bulk, read_bulk

LARGEST_GROUP = 256

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
_Waiting: TypeAlias = list[tuple[Any, asyncio.Future[Any], float]]
_Queue: TypeAlias = tuple[asyncio.AbstractEventLoop, Bulk[Any, Any]]


class Reader:
    """A reading thread of this process."""

    def __init__(self, engine: Engine, meter: Meter = OFF) -> None:
        self._engine = engine
        self._meter = meter
        # Its thread starts with the first group.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hanaper-reader")
        self._waiting: dict[_Queue, _Waiting] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def ask(self, bulk: Bulk[Item, Outcome], item: Item) -> Outcome:
        """Have an item looked up, together with others that wait, in a read that begins after this call.

        Args:
            bulk: one statement for a group of items; items of the same bulk are grouped.
            item: for it.

        Raises:
            Exception: what the bulk raised for the group.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Outcome] = loop.create_future()
        queue = (loop, bulk)
        waiting = self._waiting.get(queue)
        if waiting is not None:
            waiting.append((item, future, perf_counter()))
        else:
            self._waiting[queue] = [(item, future, perf_counter())]
            task = loop.create_task(self._serve(queue))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        return await future

    def close(self) -> None:
        """Finish what is being read and end the thread."""
        self._thread.shutdown()

    async def _serve(self, queue: _Queue) -> None:
        """Read group after group, until nobody waits."""
        waiting = self._waiting[queue]
        try:
            while waiting:
                group = waiting[:LARGEST_GROUP]
                del waiting[:LARGEST_GROUP]
                await self._read(queue, group)
        finally:
            del self._waiting[queue]

    async def _read(self, queue: _Queue, group: _Waiting) -> None:
        loop, bulk = queue
        self._meter.group("read", len(group), perf_counter() - group[0][2])
        try:
            items = [item for item, _, _ in group]
            outcomes: Sequence[Any] = await loop.run_in_executor(self._thread, read_bulk, self._engine, bulk, items)
        except Exception as error:  # noqa: BLE001 -- handed over to the callers, who raise it
            for _, future, _ in group:
                if not future.done():
                    future.set_exception(error)
        else:
            for (_, future, _), outcome in zip(group, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)
