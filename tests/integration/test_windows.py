"""Budgets that are shared: in the file beside SQLite, and in PostgreSQL."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from tests.conftest import Installation

from hanaper.limiting import file as files
from hanaper.limiting import store
from hanaper.limiting.budget import Budget
from hanaper.limiting.file import PLACES, ROWS, SIZE, WindowsFile
from hanaper.limiting.limiter import windows_file
from hanaper.limiting.rules import SECONDS, Ask, Grant, Window, take
from hanaper.limiting.store import Back
from hanaper.limiting.windows import InDatabase, InFile, Lasting, Windows
from hanaper.metrics.meter import OFF
from hanaper.refusal import RateLimited
from hanaper.settings import Settings
from hanaper.storage.transactions import Storage

ANN = b"a" * 16


@asynccontextmanager
async def one_more(settings: Settings) -> AsyncIterator[Windows]:
    """What another process would count in."""
    with Storage.open(settings) as storage:
        file = storage.database.file
        windows = InDatabase(storage) if file is None else InFile(WindowsFile(windows_file(file)))
        yield windows
        windows.close()


async def got(budget: Budget, tries: int, amount: int = 1) -> int:
    many = 0
    for _ in range(tries):
        try:
            await budget.take(ANN, amount)
            many += 1
        except RateLimited:
            pass
        await asyncio.sleep(0)
    return many


@pytest.mark.parametrize(("most", "amount"), [(10, 1), (600, 1), (2000, 7)])
def test_processes_have_one_budget_together(installation: Installation, most: int, amount: int) -> None:
    async def work() -> None:
        async with one_more(installation.settings) as one, one_more(installation.settings) as two:
            budgets = [Budget("requests", most, windows, OFF) for windows in (one, two)]
            tries = most // amount + 20
            together = amount * sum(await asyncio.gather(*(got(budget, tries, amount) for budget in budgets)))
        # What one of them has leased the other cannot have: a fiftieth, at most.
        assert most * 0.96 - amount <= together <= most

    asyncio.run(work())


def test_what_is_given_back_is_there_for_the_others(installation: Installation) -> None:
    async def work() -> None:
        async with one_more(installation.settings) as one, one_more(installation.settings) as two:
            mine, yours = (Budget("keys", 10, windows, OFF) for windows in (one, two))
            second = await mine.take(ANN, 10)
            assert await got(yours, 1, 1) == 0
            await mine.give_back(ANN, 10, second)
            assert await got(Budget("keys", 10, two, OFF), 1, 10) == 1

    asyncio.run(work())


def test_budgets_of_one_subject_are_different_ones(installation: Installation) -> None:
    async def work() -> None:
        async with one_more(installation.settings) as windows:
            for name in ("requests", "keys", "failures"):
                assert await got(Budget(name, 3, windows, OFF), 5) == 3

    asyncio.run(work())


@pytest.fixture
def postgresql(database_kind: str, installation: Installation) -> Iterator[Storage]:
    if database_kind == "sqlite":
        pytest.skip("SQLite counts in a file, by the rules themselves")
    with Storage.open(installation.settings) as storage:
        yield storage


def test_the_statement_does_what_the_rules_say(postgresql: Storage) -> None:
    chance = random.Random(22)  # noqa: S311 -- a test wants to be repeated
    subjects = [bytes([1]) + bytes([number]) * 16 for number in range(150)]
    begun: dict[bytes, Window] = {}
    asks, backs = [], []
    for subject in subjects:
        most = chance.randrange(1, 60)
        least = chance.randrange(1, 20)
        wanted = least + chance.randrange(20)
        backs.append((chance.randrange(5), chance.randrange(-70, 5)))
        asks.append(Ask(subject, least, wanted, most))
        if chance.random() < 0.9:
            used = tuple(chance.choice((0, 0, 0, 0, 1, 3)) for _ in range(SECONDS))
            begun[subject] = Window(chance.choice((-100, -62, -61, -40, -2, -1, 0, 0, 1, 30, 61, 62, 90)), used)

    def put(session: Session) -> int:
        now: int = session.scalars(text("SELECT floor(extract(epoch FROM clock_timestamp()))::bigint")).one()
        for subject, window in begun.items():
            session.execute(
                text("INSERT INTO rate_windows VALUES (:subject, :second, :used, 0)"),
                {"subject": subject, "second": now + window.second, "used": list(window.used)},
            )
        return now

    def kept(session: Session) -> dict[bytes, Window]:
        rows = session.execute(text("SELECT subject, second, used FROM rate_windows"))
        return {bytes(subject): Window(second, tuple(used)) for subject, second, used in rows}

    now = postgresql.write(put)
    asks = [replace(ask, back=back, back_second=now + ago) for ask, (back, ago) in zip(asks, backs, strict=True)]
    grants = asyncio.run(all_at_once(postgresql, asks))
    stored = postgresql.read(kept)
    for ask, grant in zip(asks, grants, strict=True):
        window = begun.get(ask.subject)
        before = window and Window(now + window.second, window.used)
        # It may have taken until the next seconds.
        assert (stored[ask.subject], grant) in [take(before, now + passed, ask) for passed in range(10)], (ask, window)


def test_who_asks_twice_in_one_statement_gets_it_twice(postgresql: Storage) -> None:
    async def work() -> None:
        grants = await all_at_once(postgresql, [Ask(bytes([1]) * 17, 4, 4, 10)] * 3)
        assert sorted(grant.amount for grant in grants) == [0, 4, 4]

    asyncio.run(work())


async def all_at_once(storage: Storage, asks: list[Ask]) -> list[Grant]:
    return list(await asyncio.gather(*(storage.ask_aside(store.take, ask) for ask in asks)))


def test_the_table_is_not_logged_and_what_is_old_is_deleted(postgresql: Storage) -> None:
    persistence = postgresql.read(
        lambda session: session.scalars(
            text("SELECT relpersistence FROM pg_class WHERE relname = 'rate_windows'")
        ).one()
    )
    assert persistence in ("u", b"u")
    new, old = bytes([1]) * 17, bytes([2]) * 17

    async def work() -> None:
        await all_at_once(postgresql, [Ask(new, 1, 1, 10), Ask(old, 1, 1, 10)])
        aged = text(f"UPDATE rate_windows SET second = second - {SECONDS + 1} WHERE subject = :old")  # noqa: S608 -- ours
        await asyncio.to_thread(postgresql.write, lambda session: session.execute(aged, {"old": old}))
        await postgresql.ask_aside(store.purge, None)

    asyncio.run(work())
    left = postgresql.read(lambda session: list(session.scalars(text("SELECT subject FROM rate_windows"))))
    assert [bytes(subject) for subject in left] == [new]


def test_without_the_table_the_process_goes_on_alone(postgresql: Storage) -> None:
    postgresql.write(lambda session: session.execute(text("ALTER TABLE rate_windows RENAME TO away")))

    async def work() -> None:
        assert await got(Budget("requests", 10, Lasting(InDatabase(postgresql)), OFF), 20) == 10

    asyncio.run(work())


def test_a_file_that_cannot_be_used_leaves_the_process_alone(tmp_path: Path) -> None:
    async def work() -> None:
        windows = Lasting(InFile(WindowsFile(tmp_path / "missing" / "file")))
        assert await got(Budget("requests", 10, windows, OFF), 20) == 10
        windows.close()

    asyncio.run(work())


def test_the_file_is_private_and_of_one_size_and_outlives_its_process(tmp_path: Path) -> None:
    file = tmp_path / "limits"
    file.write_bytes(b"something else")
    file.unlink()
    one = WindowsFile(file, lambda: 100.0)
    assert one.take(Ask(bytes([1]) * 17, 7, 7, 10)).amount == 7
    one.close()
    assert (file.stat().st_mode & 0o777, file.stat().st_size) == (0o600, SIZE)
    two = WindowsFile(file, lambda: 110.0)
    assert two.take(Ask(bytes([1]) * 17, 4, 4, 10)).amount == 0
    two.give_back(bytes([1]) * 17, 100, 1)
    assert two.take(Ask(bytes([1]) * 17, 4, 4, 10)).amount == 4
    two.close()
    file.write_bytes(b"something else")
    three = WindowsFile(file, lambda: 110.0)
    assert three.take(Ask(bytes([1]) * 17, 10, 10, 10)).amount == 10
    three.close()


def test_crowds_of_addresses_do_not_drive_out_api_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROWS", 4)
    monkeypatch.setattr(files, "SIZE", SIZE // ROWS * 4)
    file = WindowsFile(tmp_path / "limits", lambda: 100.0)
    key = Ask(bytes([1]) * 17, 10, 10, 10)
    assert file.take(key).amount == 10
    for number in range(PLACES * 20):
        assert file.take(Ask(bytes([3]) + number.to_bytes(16, "big"), 1, 1, 10)).amount == 1
    assert file.take(key).amount == 0
    file.close()
    assert (tmp_path / "limits").stat().st_size == SIZE // ROWS * 4


def test_the_newest_of_a_row_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROWS", 4)
    monkeypatch.setattr(files, "SIZE", SIZE // ROWS * 4)
    now = 100.0
    file = WindowsFile(tmp_path / "limits", lambda: now)
    for number in range(PLACES + 1):
        now += 1
        assert file.take(Ask(bytes([3]) + number.to_bytes(16, "big"), 10, 10, 10)).amount == 10
    again = [
        file.take(Ask(bytes([3]) + number.to_bytes(16, "big"), 10, 10, 10)).amount for number in range(1, PLACES + 1)
    ]
    assert again == [0] * PLACES
    assert file.take(Ask(bytes([3]) + bytes(16), 10, 10, 10)).amount == 10
    file.close()


def test_giving_back_what_nobody_has_taken_changes_nothing(installation: Installation) -> None:
    async def work() -> None:
        async with one_more(installation.settings) as windows:
            await windows.give_back(Back(bytes([2]) * 17, 5, 3))
            assert (await windows.take(Ask(bytes([2]) * 17, 10, 10, 10))).amount == 10

    asyncio.run(work())
