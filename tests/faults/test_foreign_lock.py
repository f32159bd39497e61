"""Another program that holds SQLite's write lock, and does not take its turn by our lock file (reliability.md T16)."""

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.faults.conftest import inside, serving
from tests.support.clients import Caller, Kind, Told, nothing_lost
from tests.support.processes import Hanaper

pytestmark = pytest.mark.long

KINDS: tuple[Kind, ...] = ("generate", "create") * 4
LONGEST_S = 26
"""Fifteen for a turn, ten for the lock, and one."""

_logger = logging.getLogger(__name__)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
"""


@contextmanager
def held(hanaper: Hanaper, seconds: float) -> Iterator[None]:
    """The lock is held by another process for so long."""
    command = [sys.executable, "-c", HOLDER, str(hanaper.data_dir / "hanaper.db"), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        yield
        holder.kill()


def told(caller: Caller) -> list[Told]:
    """What several clients are told who ask at once."""
    with ThreadPoolExecutor(len(KINDS)) as threads:
        found = list(threads.map(caller.ask, KINDS))
    _logger.info("%s", [(each.status, round(each.seconds, 2)) for each in found])
    return found


def succeed_in_the_end(hanaper: Hanaper, caller: Caller, seconds: float) -> None:
    with held(hanaper, seconds):
        assert caller.ask("verify").status == 200
        found = told(caller)
    assert {each.status for each in found} == {200}
    nothing_lost(hanaper.settings, [license_key for each in found for license_key in each.license_keys])


def test_a_lock_that_is_held_for_a_moment_is_waited_for(on_sqlite: Hanaper) -> None:
    with inside(on_sqlite) as caller:
        succeed_in_the_end(on_sqlite, caller, 1)


@pytest.mark.slow
def test_a_lock_that_is_held_for_eight_seconds_is_waited_for(on_sqlite: Hanaper) -> None:
    with serving(on_sqlite) as caller:
        succeed_in_the_end(on_sqlite, caller, 8)


@pytest.mark.slow
def test_a_lock_that_is_held_for_longer_than_anybody_waits_is_a_refusal(on_sqlite: Hanaper) -> None:
    with serving(on_sqlite) as caller:
        with held(on_sqlite, 60):
            found = told(caller)
            assert caller.ask("verify").status == 200
        assert {each.status for each in found} == {503}
        assert max(each.seconds for each in found) < LONGEST_S
        after = told(caller)
    assert {each.status for each in after} == {200}
    nothing_lost(on_sqlite.settings, [license_key for each in after for license_key in each.license_keys])
