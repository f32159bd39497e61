"""No answer leaves before the disk has what it says (reliability.md T2).

A process that is killed loses nothing that it has written, synced or not, so test_kill.py cannot see this. Here the
system calls of the server are watched.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Barrier

import pytest
from sqlalchemy.engine.interfaces import DBAPICursor
from tests.support import system_calls
from tests.support.crowd import connected
from tests.support.load import QUANTITIES, Acknowledged, ask
from tests.support.mutants import mutant
from tests.support.processes import PROGRAM, Hanaper
from tests.support.sync_order import commits, left_before_sync, left_while_dirty, sent

from hanaper.storage.sqlite import journal_mode, library
from hanaper.web.services import Services

pytestmark = pytest.mark.long

LONE = 14
AT_ONCE = 8
ROUNDS = 2
_logger = logging.getLogger(__name__)

WHY_NOT = system_calls.why_not()
watches = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
writes_a_wal = pytest.mark.skipif(
    journal_mode(library().sqlite_version_info) != "wal", reason="this SQLite is too old for a WAL"
)


@dataclass(frozen=True)
class Seen:
    """What the system calls of a server show of its answers.

    Attributes:
        early: how many left before the transaction with their license keys was synced.
        dirty: how many of those that were alone left while anything was not synced.
    """

    answers: int
    commits: int
    early: int
    dirty: int


def ask_alone(url: str) -> list[tuple[int, bytes]]:
    connection = connected(url)
    with connection.sock:
        return [ask(connection, QUANTITIES[number % len(QUANTITIES)]) for number in range(LONE)]


def ask_at_once(url: str) -> list[tuple[int, bytes]]:
    ready = Barrier(AT_ONCE)
    with ExitStack() as stack:
        connections = [connected(url) for _ in range(AT_ONCE)]
        for connection in connections:
            stack.enter_context(connection.sock)
        threads = stack.enter_context(ThreadPoolExecutor(AT_ONCE))

        def one(number: int) -> list[tuple[int, bytes]]:
            ready.wait()
            return [ask(connections[number], QUANTITIES[number % len(QUANTITIES)]) for _ in range(ROUNDS)]

        return [answer for answers in threads.map(one, range(AT_ONCE)) for answer in answers]


def watch(hanaper: Hanaper, **environment: str) -> Seen:
    """Run a server under strace and ask it for license keys."""
    trace = hanaper.folder / "trace"
    with hanaper.serving(program=system_calls.watched(trace, PROGRAM), **environment) as server:
        server.wait_for("Application startup complete.")
        answers = ask_alone(server.url) + ask_at_once(server.url)
        # To the group, because strace itself does not listen.
        server.stop(whole_group=True)
    assert [status for status, _ in answers] == [200] * (LONE + AT_ONCE * ROUNDS)
    calls = system_calls.calls(trace)
    left, made = sent(calls), commits(calls)
    # Nothing went past the trace.
    received = [Acknowledged.from_body(body) for _, body in answers]
    assert sorted(answer.answer.license_keys for answer in left) == sorted(answer.license_keys for answer in received)
    assert [answer.answer for answer in left[:LONE]] == received[:LONE]
    seen = Seen(
        answers=len(left),
        commits=len(made),
        early=sum(left_before_sync(answer, made) for answer in left),
        dirty=sum(left_while_dirty(answer, calls) for answer in left[:LONE]),
    )
    _logger.info("%s", seen)
    return seen


@watches
@writes_a_wal
def test_on_sqlite_no_answer_leaves_before_its_license_keys_are_synced(demo: Hanaper) -> None:
    seen = watch(demo)
    assert (seen.early, seen.dirty) == (0, 0)
    # Also where several answers had to wait for the same sync.
    assert LONE < seen.commits < seen.answers == 30


@watches
@writes_a_wal
@pytest.mark.parametrize("name", ["weak_sync", "early_answer"])
def test_an_answer_before_its_sync_is_found(demo: Hanaper, name: str) -> None:
    seen = watch(demo, **mutant(name))
    assert seen.answers == 30
    # A checkpoint, or a commit that is faster than an answer, may cover for one or two.
    assert seen.early >= 25
    # Before an answer that is early enough, nothing has been written yet.
    assert name == "early_answer" or seen.dirty == LONE


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_postgresql_says_that_something_is_committed_when_it_is_on_disk(services: Services) -> None:
    """On the very connection, and in the very way, that license keys are stored."""

    def settings(cursor: DBAPICursor, _: str, items: Sequence[str]) -> list[str]:
        cursor.execute("SELECT current_setting(name) FROM unnest(%s::text[]) AS name", [list(items)])
        return [row[0] for row in cursor.fetchall()]

    async def shown() -> list[str]:
        names = ("synchronous_commit", "fsync", "full_page_writes")
        return [await services.storage.submit(settings, name, size=1) for name in names]

    assert asyncio.run(shown()) == ["on", "on", "on"]
