"""Group reads: everybody gets his own answer, in a read that began after he asked."""

import asyncio
from collections.abc import Sequence
from threading import Event
from typing import Any

import pytest

from hanaper.refusal import Unavailable
from hanaper.storage.reader import LARGEST_GROUP
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services


class Groups:
    """A group read that tells each item its double, and remembers the groups."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go_on = Event()
        self.go_on.set()

    def __call__(self, cursor: Any, dialect: str, items: Sequence[int], /) -> Sequence[int]:
        assert dialect in ("sqlite", "postgresql")
        self.sizes.append(len(items))
        assert self.go_on.wait(30)
        cursor.execute("SELECT 2")
        factor: int = cursor.fetchone()[0]
        return [item * factor for item in items]


@pytest.fixture
def storage(services: Services) -> Storage:
    return services.storage


def test_a_lone_request_is_read_at_once(storage: Storage) -> None:
    groups = Groups()
    assert asyncio.run(storage.ask(groups, 21)) == 42
    assert groups.sizes == [1]


def test_who_comes_while_a_group_is_being_read_is_in_the_next(storage: Storage) -> None:
    groups = Groups()

    async def work() -> list[int]:
        groups.go_on.clear()
        first = asyncio.create_task(storage.ask(groups, 0))
        while not groups.sizes:  # noqa: ASYNC110 -- a thread sets it
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(storage.ask(groups, number)) for number in range(1, 40)]
        await asyncio.sleep(0)
        groups.go_on.set()
        return list(await asyncio.gather(first, *others))

    assert asyncio.run(work()) == [2 * number for number in range(40)]
    assert groups.sizes == [1, 39]


def test_groups_are_bounded(storage: Storage) -> None:
    groups = Groups()

    async def work() -> list[int]:
        return list(await asyncio.gather(*[storage.ask(groups, number) for number in range(LARGEST_GROUP + 10)]))

    assert asyncio.run(work()) == [2 * number for number in range(LARGEST_GROUP + 10)]
    assert groups.sizes == [LARGEST_GROUP, 10]


def test_different_reads_are_not_mixed(storage: Storage) -> None:
    one, other = Groups(), Groups()

    async def work() -> list[int]:
        return list(await asyncio.gather(*[storage.ask(group, 1) for group in (one, other, one, other)]))

    assert asyncio.run(work()) == [2, 2, 2, 2]
    assert (one.sizes, other.sizes) == ([2], [2])


def test_a_request_that_is_given_up_does_not_disturb_the_others(storage: Storage) -> None:
    groups = Groups()

    async def work() -> int:
        groups.go_on.clear()
        given_up = asyncio.create_task(storage.ask(groups, 1))
        other = asyncio.create_task(storage.ask(groups, 2))
        while not groups.sizes:  # noqa: ASYNC110 -- a thread sets it
            await asyncio.sleep(0.001)
        given_up.cancel()
        groups.go_on.set()
        return await other

    assert asyncio.run(work()) == 4


def test_a_fault_meets_the_group_and_not_the_next_one(storage: Storage) -> None:
    failing = True

    def read(cursor: Any, _dialect: str, items: Sequence[int], /) -> Sequence[int]:
        cursor.execute("SELECT 1 FROM no_such_table" if failing else "SELECT 1")
        return items

    async def ask(number: int) -> int:
        return await storage.ask(read, number)

    with pytest.raises(Exception, match="no_such_table"):
        asyncio.run(ask(1))
    failing = False
    assert asyncio.run(ask(2)) == 2


def test_a_database_that_is_away_is_unavailable(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(storage.engine, "raw_connection", away)
    with pytest.raises(Unavailable):
        asyncio.run(storage.ask(Groups(), 1))
