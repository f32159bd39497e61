"""A budget of so much a minute, for each of many subjects.

Where it is counted is asked seldom: what a process will use within two seconds, as far as it can tell by those before,
it leases at once, a fiftieth of the budget at most. Who is refused is not looked up again until there is something.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic

from hanaper.limiting.rules import LEASE_S, Ask
from hanaper.limiting.store import Back
from hanaper.limiting.windows import Windows
from hanaper.metrics.meter import BudgetName, Meter
from hanaper.refusal import RateLimited

MOST_LEASES = 10_000
"""Subjects that a process remembers: those that have come last."""

SMALLEST_SHARE = 50
"""So many leases there are in a budget, at least."""

_MARKS: dict[BudgetName, bytes] = {"requests": b"\1", "keys": b"\2", "failures": b"\3"}


@dataclass(slots=True)
class _Lease:
    """What this process may use of one subject's budget, and what it has been refused."""

    left: int = 0
    size: int = 0
    second: int = 0
    ends: float = 0.0
    refused: int = 0
    refused_until: float = 0.0
    waiting: int = 0
    renewal: asyncio.Future[None] | None = None


class Budget:
    """One budget. For one event loop."""

    def __init__(
        self, name: BudgetName, most: int, windows: Windows, meter: Meter, now: Callable[[], float] = monotonic
    ) -> None:
        """Set it up.

        Args:
            most: a minute; 0 for any amount.
            windows: where it is counted.
            meter: is told of refusals.
        """
        self.name = name
        self._mark = _MARKS[name]
        self._most = most
        self._windows = windows
        self._meter = meter
        self._now = now
        self._leases: OrderedDict[bytes, _Lease] = OrderedDict()

    async def take(self, subject: bytes, amount: int = 1) -> int:
        """Take of the budget.

        Args:
            subject: whose, 16 bytes.

        Returns:
            The second in which it is counted.

        Raises:
            RateLimited: there is not enough left.
        """
        if not self._most or not amount:
            return 0
        lease = self._leases.get(subject) or self._lease(subject)
        while True:
            now = self._now()
            if amount <= lease.left and now < lease.ends:
                lease.left -= amount
                return lease.second
            if now < lease.refused_until and amount >= lease.refused:
                raise self._refusal(lease.refused_until - now)
            if lease.renewal is None:
                return await self._renew(lease, subject, amount, now)
            lease.waiting += amount
            try:
                # Shielded: who gives up waiting must not end it for the others.
                await asyncio.shield(lease.renewal)
            finally:
                lease.waiting -= amount

    async def give_back(self, subject: bytes, amount: int, second: int) -> None:
        """Give back what was taken in a second and not used."""
        if self._most and amount:
            await self._windows.give_back(Back(self._mark + subject, second, amount))

    def _lease(self, subject: bytes) -> _Lease:
        lease = self._leases[subject] = _Lease()
        if len(self._leases) > MOST_LEASES:
            self._leases.popitem(last=False)
        return lease

    async def _renew(self, lease: _Lease, subject: bytes, amount: int, began: float) -> int:
        if subject in self._leases:
            self._leases.move_to_end(subject)
        renewal = lease.renewal = asyncio.get_running_loop().create_future()
        try:
            used = lease.size - lease.left
            # Used up early: more is needed. Else what was used, and a little more.
            wanted = 2 * lease.size if began < lease.ends else used + used // 4
            wanted = min(max(wanted, amount + lease.waiting), self._most // SMALLEST_SHARE)
            left, lease.left = lease.left, 0
            ask = Ask(self._mark + subject, amount, max(amount, wanted), self._most, left, lease.second)
            grant = await self._windows.take(ask)
            lease.size = grant.amount
            if not grant.amount:
                lease.refused, lease.refused_until = amount, self._now() + grant.wait_s
                raise self._refusal(grant.wait_s)
            lease.left, lease.second, lease.ends = grant.amount - amount, grant.second, began + LEASE_S
            lease.refused_until = 0.0
            return grant.second
        finally:
            lease.renewal = None
            renewal.set_result(None)

    def _refusal(self, wait_s: float) -> RateLimited:
        self._meter.limited(self.name)
        return RateLimited(max(1, ceil(wait_s)))
