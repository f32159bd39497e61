"""A server that is killed again and again, without warning, while clients ask it for license keys."""

import os
import random
import signal
import time
from pathlib import Path
from typing import Literal

from tests.support.processes import Hanaper, Server
from tests.support.retries import Clients, OrderBook, clients, replay, settle

Life = Literal["killed as it starts", "killed before it answers", "killed at work", "workers killed first"]
TEN_KILLS: tuple[Life, ...] = (
    "killed as it starts",
    "killed before it answers",
    *("killed at work", "killed at work"),
    *("workers killed first", "workers killed first"),
)
FIVE_KILLS: tuple[Life, ...] = ("killed as it starts", "killed at work", "workers killed first")
WORKERS_FIRST = 2
LONGEST_START_S = 0.8
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.45
"""Most of what this takes is starting servers."""
MOST_REPLAYS = 300
"""At the end, by each of two servers."""


class Killer:
    """Starts servers on one installation, and ends them by SIGKILL.

    Attributes:
        book: what all their clients asked for, and were told.
        kills: how often a server, or one of its workers, was killed.
    """

    def __init__(self, hanaper: Hanaper, *, seed: int, history: Path, **environment: str) -> None:
        self.book = OrderBook(history)
        self.kills = 0
        self._hanaper = hanaper
        # Who is killed reports no coverage, and starts faster without it.
        self._environment = environment
        self._chance = random.Random(seed)  # noqa: S311 -- a test wants to be repeated

    def __str__(self) -> str:
        return f"{self.kills} kills, {self.book}"

    def kill(self, *lives: Life) -> None:
        """Let servers live so, one after the other, in any order."""
        for life in self._chance.sample(lives, len(lives)):
            self._live(life)

    def settle(self) -> None:
        """Have two servers, neither of which made any of the answers, say what came of all orders.

        These are not killed, and have no fault.
        """
        with self._hanaper.serving() as one, self._hanaper.serving() as other:
            settle(one.url, self.book)
            replay([one.url, other.url], self.book, MOST_REPLAYS, seed=self.kills)

    def _live(self, life: Life) -> None:
        with self._hanaper.serving("--workers", "2", **self._environment) as server:
            if life == "killed as it starts":
                time.sleep(self._chance.uniform(0, LONGEST_START_S))
                self._kill_all(server)
                return
            with clients(server.url, self.book, self._chance.randrange(2**32)) as at_work:
                if life == "killed before it answers":
                    time.sleep(self._chance.uniform(0, LONGEST_START_S))
                else:
                    if life == "workers killed first":
                        self._kill_workers(server, at_work)
                    self._let_work(at_work)
                self._kill_all(server)

    def _kill_all(self, server: Server) -> None:
        assert server.stop(signal.SIGKILL, whole_group=True) == -signal.SIGKILL
        self.kills += 1

    def _kill_workers(self, server: Server, at_work: Clients) -> None:
        killed: set[int] = set()
        for _ in range(WORKERS_FIRST):
            self._let_work(at_work)
            # The last keys may have come from the worker that is dead by now, before there was another.
            server.wait_for_workers(len(killed) + 1)
            victim = self._chance.choice([pid for pid in server.workers if pid not in killed])
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
            self.kills += 1

    def _let_work(self, at_work: Clients) -> None:
        at_work.wait_for_keys()
        time.sleep(self._chance.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S))
