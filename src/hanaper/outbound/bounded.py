"""Bounds of one call: how long it may take, how much of the answer is read."""

import io
import socket
import time
from typing import Any

MOST_READ = 65_536
"""Bytes of an answer, its head included."""


class Deadline:
    """A moment by which all of a call has to be over, whatever it is waiting for."""

    def __init__(self, longest_s: float) -> None:
        self._end = time.monotonic() + longest_s

    def left(self) -> float:
        """Seconds, more than none.

        Raises:
            TimeoutError: there are none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class BoundedSocket:
    """All that `http.client` asks of a socket. Whoever opened it closes it."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send all of it before the deadline."""
        self._connection.settimeout(self._deadline.left())
        self._connection.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """For reading."""
        return io.BufferedReader(_Answer(self._connection, self._deadline))

    def close(self) -> None:
        """Nothing: the answer has not been read yet."""


class _Answer(io.RawIOBase):
    """What comes from a connection. After the most that is read it seems to end; after the deadline it times out.

    A time limit of the socket's own would begin anew with each byte.
    """

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._left = MOST_READ

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left == 0:
            return 0
        self._connection.settimeout(self._deadline.left())
        got = self._connection.recv_into(buffer, min(len(buffer), self._left))
        self._left -= got
        return got
