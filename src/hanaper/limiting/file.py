"""A file in which the processes of one machine count together: beside a SQLite database, which is too slow for it.

It is a hash table of a fixed size: each subject has a place in one of many short rows, and where a row is full, the
place of the one that has been left alone for longest. Nothing is lost that could not be lost: without the file, or with
an empty one, the limits begin anew.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from time import monotonic
from zlib import crc32

from hanaper.limiting.rules import SECONDS, Ask, Grant, Window, given_back, take

ROWS = 1024
PLACES = 4
_RECORD = Struct(f"<17sq{SECONDS}I")
_ROW_BYTES = PLACES * _RECORD.size
SIZE = ROWS * _ROW_BYTES
_EMPTY = bytes(17)
_LARGEST = 2**32 - 1


class WindowsFile:
    """The file of one process. For one thread."""

    def __init__(self, file: Path, now: Callable[[], float] = monotonic) -> None:
        """Open nothing yet.

        Args:
            file: is made where it is not there.
            now: seconds, alike for all processes of the machine.
        """
        self._file = file
        self._now = now
        self._descriptor = -1

    def take(self, ask: Ask) -> Grant:
        """Take of a budget.

        Raises:
            OSError: the file cannot be used.
        """
        with self._row_of(ask.subject) as row:
            window, grant = take(row.get(ask.subject), int(self._now()), ask)
            row[ask.subject] = window
        return grant

    def give_back(self, subject: bytes, second: int, amount: int) -> None:
        """Give back what was taken in a second and has not been used.

        Raises:
            OSError: the file cannot be used.
        """
        with self._row_of(subject) as row:
            window = row.get(subject)
            if window is not None:
                row[subject] = given_back(window, second, amount)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def _row_of(self, subject: bytes) -> Iterator[dict[bytes, Window]]:
        """The row in which a subject has its place, to be changed while nobody else looks."""
        if self._descriptor < 0:
            self._descriptor = os.open(self._file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            if os.fstat(self._descriptor).st_size != SIZE:
                self._begin()
            # Budgets apart: who makes many of one kind must not drive out those of another.
            kinds = subject[0] % 4
            at = (kinds * (ROWS // 4) + crc32(subject) % (ROWS // 4)) * _ROW_BYTES
            row = _read(os.pread(self._descriptor, _ROW_BYTES, at))
            yield row
            os.pwrite(self._descriptor, _written(row), at)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _begin(self) -> None:
        # Written, not left as a hole: a full disk is noticed here, and what is left of it is the database's.
        os.ftruncate(self._descriptor, 0)
        written = os.pwrite(self._descriptor, bytes(SIZE), 0)
        if written < SIZE:
            os.ftruncate(self._descriptor, 0)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _read(row: bytes) -> dict[bytes, Window]:
    return {
        subject: Window(second, tuple(used)) for subject, second, *used in _RECORD.iter_unpack(row) if subject != _EMPTY
    }


def _written(row: dict[bytes, Window]) -> bytes:
    newest = sorted(row.items(), key=lambda item: item[1].second, reverse=True)[:PLACES]
    written = b"".join(
        _RECORD.pack(subject, window.second, *(min(amount, _LARGEST) for amount in window.used))
        for subject, window in newest
    )
    return written.ljust(_ROW_BYTES, b"\0")
