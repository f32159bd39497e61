"""How long a request waits (decision 0016)."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from hanaper.refusal import OutcomeUnknown
from hanaper.storage import patience
from hanaper.storage.patience import Patience, unhurried

SHORT_S = 0.05
LONG_S = 60.0


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOOK_EVERY_S", 0.01)


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def never() -> None:
    await asyncio.Event().wait()


async def at_once() -> str:
    return "done"


@in_a_loop
async def test_what_is_done_in_time_is_what_was_asked_for() -> None:
    assert await Patience().bound(at_once(), SHORT_S) == "done"


@in_a_loop
async def test_what_fails_in_time_fails_as_it_does() -> None:
    async def fail() -> None:
        raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        await Patience().bound(fail(), SHORT_S)


@in_a_loop
async def test_what_is_not_done_in_time_is_left_and_its_outcome_is_unknown() -> None:
    left = asyncio.Event()

    async def work() -> None:
        try:
            await never()
        finally:
            left.set()

    with pytest.raises(OutcomeUnknown, match=r"not done within 0\.05 s"):
        await Patience().bound(work(), SHORT_S)
    assert left.is_set()
    # The task goes on: the answer is still to be sent.
    await asyncio.sleep(0)
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


@in_a_loop
async def test_who_has_as_long_as_it_takes_is_not_hurried() -> None:
    work = asyncio.create_task(Patience().bound(never(), None))
    assert (await asyncio.wait({work}, timeout=2 * SHORT_S))[0] == set()
    work.cancel()


@in_a_loop
async def test_one_ends_and_another_goes_on() -> None:
    together = Patience()
    hurried = asyncio.create_task(together.bound(never(), SHORT_S))
    patient = asyncio.create_task(together.bound(never(), LONG_S))
    done, _ = await asyncio.wait({hurried, patient}, timeout=1)
    assert done == {hurried}
    assert isinstance(hurried.exception(), OutcomeUnknown)
    patient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patient


@in_a_loop
async def test_a_task_that_somebody_else_ends_ends() -> None:
    """The server, when it stops."""
    together = Patience()
    for seconds in (SHORT_S, LONG_S):
        task = asyncio.create_task(together.bound(never(), seconds))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@in_a_loop
async def test_what_takes_its_time_for_other_reasons_does_not_count() -> None:
    async def work() -> str:
        with unhurried():
            await asyncio.sleep(4 * SHORT_S)
        return "done"

    assert await Patience().bound(work(), SHORT_S) == "done"


@in_a_loop
async def test_and_what_comes_after_it_counts_again() -> None:
    async def work() -> None:
        with unhurried(), unhurried():
            await asyncio.sleep(2 * SHORT_S)
        await never()

    with pytest.raises(OutcomeUnknown):
        await Patience().bound(work(), SHORT_S)


@in_a_loop
async def test_nobody_is_hurried_outside_of_a_request() -> None:
    with unhurried():
        await at_once()
