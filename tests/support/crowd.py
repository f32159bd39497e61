"""Clients in threads of their own, for as long as a test needs them."""

import http.client
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

LONGEST_S = 60
Each = TypeVar("Each")


def connected(url: str) -> http.client.HTTPConnection:
    """A connection that stays open from request to request."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=LONGEST_S)
    connection.connect()
    return connection


@contextmanager
def at_work(run: Callable[[Each], None], each: Iterable[Each], end: Callable[[], None]) -> Iterator[None]:
    """Let threads run, one for each argument, for the length of a `with` block; `end` tells them that it is over."""
    threads = [threading.Thread(target=run, args=(argument,), daemon=True) for argument in each]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end()
        for thread in threads:
            thread.join(LONGEST_S)
    assert not any(thread.is_alive() for thread in threads), "a client is still waiting for an answer"


class Crowd(ABC):
    """Clients of a server that may be killed: each sends its next request when the last one has come to something."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.over = threading.Event()

    def end(self) -> None:
        self.over.set()

    def run(self, seed: int) -> None:
        """Be one of the clients."""
        chance = random.Random(seed)  # noqa: S311 -- a test wants to be repeated
        while not self.over.is_set():
            try:
                connection = connected(self.url)
            except OSError:
                # Nothing has been sent. The server is not there, or has just been killed.
                self.over.wait(0.01)
                continue
            # Also the connection that is opened where the server has closed the last one.
            with closing(connection):
                self.use(connection, chance)

    @abstractmethod
    def use(self, connection: http.client.HTTPConnection, chance: random.Random) -> None:
        """Send requests until it is over, or one of them is not answered."""
