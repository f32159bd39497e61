"""Taking turns between processes."""

import fcntl
import os
from pathlib import Path

from hanaper.refusal import Unavailable


class TurnLock:
    """The lock by which the writing processes of one machine take turns. The kernel wakes the next, nobody polls."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = -1

    def __enter__(self) -> None:
        try:
            self._descriptor = os.open(self._file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"the lock file {self._file} cannot be opened: {error.strerror}") from error
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
