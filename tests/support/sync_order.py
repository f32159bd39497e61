"""Was what an answer says on disk when the answer left? Read from the system calls of a server on SQLite."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.support.load import Acknowledged
from tests.support.system_calls import SYNCS, WRITES, Call

_FILES = (".db", ".db-wal", ".db-journal")
_FRAME_HEADER = struct.Struct(">II16x")
"""Of a page in the WAL: its number, and the size of the database where a commit ends, else 0 (fileformat2, 4.1)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer with license keys on its way to the client.

    Attributes:
        begin: of the call that sent its first byte.
    """

    answer: Acknowledged
    begin: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction in the WAL.

    Attributes:
        pages: all it wrote.
        written: end of the last write.
        synced: end of the sync that followed; None where there was none.
    """

    pages: bytes
    written: int
    synced: int | None


def sent(calls: Iterable[Call]) -> list[Sent]:
    """The answers with license keys that left, in order."""
    begun: dict[str, tuple[int, bytes]] = {}
    found = []
    for call in calls:
        if call.name not in WRITES or not call.target.startswith("socket:"):
            continue
        if call.data.startswith(b"HTTP/1.1 200"):
            begun[call.target] = call.begin, b""
        if call.target in begun:
            begin, before = begun[call.target]
            text = before + call.data[: call.result]
            begun[call.target] = begin, text
            head, _, body = text.partition(b"\r\n\r\n")
            if b"content-length: %d\r\n" % len(body) in head + b"\r\n":
                found.append(Sent(Acknowledged.from_body(body), begin))
                del begun[call.target]
    return found


def commits(calls: Sequence[Call]) -> list[Commit]:
    """The transactions in the WAL, in order."""
    syncs = [call for call in calls if _is_sync(call) and call.target.endswith(".db-wal")]
    found = []
    pages, ends = b"", False
    for call in calls:
        if call.name not in WRITES or not call.target.endswith(".db-wal"):
            continue
        if len(call.data) == _FRAME_HEADER.size:
            ends = _FRAME_HEADER.unpack(call.data)[1] > 0
            continue
        pages += call.data
        if ends:
            synced = min((sync.end for sync in syncs if sync.begin > call.end), default=None)
            found.append(Commit(pages, call.end, synced))
            pages, ends = b"", False
    return found


def left_before_sync(answer: Sent, made: Iterable[Commit]) -> bool:
    """Whether an answer left before the transaction with its license keys was on disk.

    Others' transactions may be on their way by then: those of the next group are.
    """
    keys = [key.encode() for key in answer.answer.license_keys]
    # The first transaction that has them all. Later ones write them again, beside others on the same page.
    own = next((commit for commit in made if all(key in commit.pages for key in keys)), None)
    return own is None or own.synced is None or own.synced > answer.begin


def left_while_dirty(answer: Sent, calls: Iterable[Call]) -> bool:
    """Whether anything at all had been written to the database and not synced when an answer left.

    For a request that was alone. It asks nothing about what was written, so it cannot be wrong about it.
    """
    dirty: dict[str, int] = {}
    for call in calls:
        if call.begin > answer.begin:
            break
        if not call.target.endswith(_FILES):
            continue
        if call.name in WRITES:
            dirty[call.target] = call.end
        elif _is_sync(call) and call.end < answer.begin and call.begin > dirty.get(call.target, call.begin):
            del dirty[call.target]
    return bool(dirty)


def _is_sync(call: Call) -> bool:
    return call.name in SYNCS and call.result == 0
