"""A server that is killed again and again, without warning, while clients ask it for license keys."""

import os
import random
import signal
import time
from typing import Literal

from tests.support.load import History, Load, load
from tests.support.processes import Hanaper, Server

Life = Literal["killed as it starts", "killed before it answers", "killed at work", "workers killed first"]
TEN_KILLS: tuple[Life, ...] = (
    "killed as it starts",
    "killed before it answers",
    *("killed at work", "killed at work"),
    *("workers killed first", "workers killed first"),
)
WORKERS_FIRST = 2
LONGEST_START_S = 0.8
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.45
"""Most of what this takes is starting servers."""


class Killer:
    """Starts servers on one installation, and ends them by SIGKILL.

    Attributes:
        history: what all their clients were told.
        kills: how often a server, or one of its workers, was killed.
    """

    def __init__(self, hanaper: Hanaper, *, seed: int, **environment: str) -> None:
        self.history = History()
        self.kills = 0
        self._hanaper = hanaper
        # Who is killed reports no coverage, and starts faster without it.
        self._environment = {**environment, "COVERAGE_PROCESS_CONFIG": ""}
        self._chance = random.Random(seed)  # noqa: S311 -- a test wants to be repeated

    def __str__(self) -> str:
        keys = sum(len(answer.license_keys) for answer in self.history.acknowledged)
        return (
            f"{self.kills} kills, {len(self.history.acknowledged)} answers with {keys} license keys, "
            f"{self.history.refused} refused, {len(self.history.unknown)} unknown"
        )

    def kill(self, *lives: Life) -> None:
        """Let servers live so, one after the other, in any order."""
        for life in self._chance.sample(lives, len(lives)):
            self._live(life)

    def _live(self, life: Life) -> None:
        with self._hanaper.serving("--workers", "2", **self._environment) as server:
            if life == "killed as it starts":
                time.sleep(self._chance.uniform(0, LONGEST_START_S))
                self._kill_all(server)
                return
            with load(server.url, self.history, self._chance.randrange(2**32)) as clients:
                if life == "killed before it answers":
                    time.sleep(self._chance.uniform(0, LONGEST_START_S))
                else:
                    if life == "workers killed first":
                        self._kill_workers(server, clients)
                    self._let_work(clients)
                self._kill_all(server)

    def _kill_all(self, server: Server) -> None:
        assert server.stop(signal.SIGKILL, whole_group=True) == -signal.SIGKILL
        self.kills += 1

    def _kill_workers(self, server: Server, clients: Load) -> None:
        killed: set[int] = set()
        for _ in range(WORKERS_FIRST):
            self._let_work(clients)
            # The last keys may have come from the worker that is dead by now, before there was another.
            server.wait_for_workers(len(killed) + 1)
            victim = self._chance.choice([pid for pid in server.workers if pid not in killed])
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
            self.kills += 1

    def _let_work(self, clients: Load) -> None:
        clients.wait_for_keys()
        time.sleep(self._chance.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S))
