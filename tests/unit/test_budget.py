"""What a process leases of budgets, without anything shared."""

import asyncio
from collections import Counter

import pytest

from hanaper.limiting import budget as budgets
from hanaper.limiting import windows as all_windows
from hanaper.limiting.budget import Budget
from hanaper.limiting.rules import SECONDS, Ask, Grant
from hanaper.limiting.windows import InMemory, Lasting
from hanaper.metrics.meter import BudgetName, Meter
from hanaper.refusal import RateLimited

ANN, BEN = b"a" * 16, b"b" * 16


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Asked(InMemory):
    """Counts how often it is asked; and may be out of order."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.asks: list[Ask] = []
        self.broken = False
        self.hangs = False

    async def take(self, ask: Ask) -> Grant:
        self.asks.append(ask)
        await asyncio.sleep(3600 if self.hangs else 0)
        if self.broken:
            raise ConnectionError("away")
        return await super().take(ask)


class Counting(Meter):
    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()

    def limited(self, budget: BudgetName) -> None:
        self.refused[budget] += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def windows(clock: Clock) -> Asked:
    return Asked(clock)


async def taken(budget: Budget, times: int, amount: int = 1, subject: bytes = ANN) -> int:
    """How many of so many at once get what they want."""

    waits: list[tuple[int, str]] = []

    async def one() -> bool:
        try:
            await budget.take(subject, amount)
        except RateLimited as refusal:
            waits.append((refusal.retry_after_s, refusal.headers["Retry-After"]))
            return False
        return True

    many = sum(await asyncio.gather(*(one() for _ in range(times))))
    assert all(1 <= seconds <= SECONDS and header == str(seconds) for seconds, header in waits)
    return many


@pytest.mark.parametrize("most", [1, 7, 60, 1000, 2000])
def test_exactly_the_budget_is_to_be_had(most: int, clock: Clock, windows: Asked) -> None:
    async def work() -> None:
        meter = Counting()
        budget = Budget("requests", most, windows, meter, clock)
        assert await taken(budget, most + 50) == most
        assert await taken(budget, 50, subject=BEN) == min(50, most)
        assert meter.refused == {"requests": 50 + max(0, 50 - most)}
        clock.now += SECONDS
        assert await taken(budget, most + 50) == most

    asyncio.run(work())


def test_many_are_leased_at_once_and_refusals_are_remembered(clock: Clock, windows: Asked) -> None:
    async def work() -> None:
        budget = Budget("requests", 60_000, windows, Meter(), clock)
        for _ in range(25):
            assert await taken(budget, 1000) == 1000
            clock.now += 0.5
        assert len(windows.asks) < 50

    asyncio.run(work())


def test_a_refusal_is_not_looked_up_again_until_there_is_something(clock: Clock, windows: Asked) -> None:
    async def work() -> None:
        budget = Budget("failures", 10, windows, Meter(), clock)
        assert await taken(budget, 10) == 10
        asked = len(windows.asks)
        assert await taken(budget, 5000) == 0
        assert len(windows.asks) == asked + 1
        clock.now += SECONDS - 1
        assert await taken(budget, 100) == 0
        assert len(windows.asks) == asked + 1

    asyncio.run(work())


def test_an_order_that_is_too_large_for_now_does_not_keep_smaller_ones_out(clock: Clock, windows: Asked) -> None:
    async def work() -> None:
        budget = Budget("keys", 100, windows, Meter(), clock)
        assert await taken(budget, 1, 60) == 1
        assert await taken(budget, 1, 60) == 0
        assert await taken(budget, 1, 40) == 1
        assert await taken(budget, 1, 1) == 0

    asyncio.run(work())


def test_what_was_leased_and_not_used_is_given_back(clock: Clock, windows: Asked) -> None:
    async def work() -> None:
        budget = Budget("keys", 1000, windows, Meter(), clock)
        for _ in range(3):
            assert await taken(budget, 1, 7) == 1
        assert any(ask.wanted > ask.least for ask in windows.asks)
        clock.now += 2
        assert await taken(budget, 1, 1000 - 21) == 1
        assert await taken(budget, 1) == 0

    asyncio.run(work())


def test_what_is_given_back_can_be_taken_again(clock: Clock, windows: Asked) -> None:
    async def work() -> None:
        budget = Budget("keys", 10, windows, Meter(), clock)
        await budget.give_back(ANN, 10, await budget.take(ANN, 10))
        assert await taken(budget, 2, 10) == 1

    asyncio.run(work())


def test_without_a_limit_nothing_is_counted(windows: Asked) -> None:
    async def work() -> None:
        assert await taken(Budget("requests", 0, windows, Meter()), 1000) == 1000
        assert await Budget("keys", 5, windows, Meter()).take(ANN, 0) == 0

    asyncio.run(work())
    assert windows.asks == []


def test_the_process_goes_on_alone_while_what_is_shared_is_away(clock: Clock, windows: Asked) -> None:
    async def work() -> None:
        budget = Budget("requests", 40, Lasting(windows, clock), Meter(), clock)
        windows.broken = True
        assert await taken(budget, 50) == 40
        assert len(windows.asks) == 1
        windows.broken = False
        clock.now += SECONDS
        assert await taken(budget, 50) == 40
        assert len(windows.asks) > 1

    asyncio.run(work())


def test_nobody_waits_long_for_what_hangs(clock: Clock, windows: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_windows, "LONGEST_WAIT_S", 0.01)

    async def work() -> None:
        budget = Budget("requests", 40, Lasting(windows, clock), Meter(), clock)
        windows.hangs = True
        assert await asyncio.wait_for(taken(budget, 50), 30) == 40

    asyncio.run(work())


def test_who_leaves_while_he_waits_does_not_disturb_the_others(clock: Clock, windows: Asked) -> None:
    async def work() -> None:
        budget = Budget("requests", 40, windows, Meter(), clock)
        first, second, third = (asyncio.create_task(budget.take(ANN)) for _ in range(3))
        await asyncio.sleep(0)
        second.cancel()
        assert (await first, await third) == (1000, 1000)
        fourth, fifth = (asyncio.create_task(budget.take(BEN)) for _ in range(2))
        await asyncio.sleep(0)
        fourth.cancel()
        assert await fifth == 1000

    asyncio.run(work())


def test_memory_is_bounded(clock: Clock, windows: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "MOST_LEASES", 100)
    monkeypatch.setattr(all_windows, "MOST_KEPT", 50)

    async def work() -> None:
        budget = Budget("failures", 10, windows, Meter(), clock)
        for number in range(1000):
            await budget.take(number.to_bytes(16, "big"))
        assert len(budget._leases) == 100  # noqa: SLF001 -- it shows nowhere else
        assert len(windows._windows) == 50  # noqa: SLF001 -- as above

    asyncio.run(work())
