"""A cap is exact, however many ask for the last license keys, of two processes (reliability.md T13)."""

import json
import os
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from tests.support.crowd import connected
from tests.support.load import SAMPLE_KEY
from tests.support.mutants import mutant
from tests.support.processes import Hanaper

from hanaper.checking.check import check
from hanaper.clock import utc_now
from hanaper.protocol import envelope
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

QUANTITIES = (1, 3, 10, 50)
ROUNDS = int(os.environ.get("HANAPER_TEST_CAP_ROUNDS", "1"))


class Askers:
    """Threads that ask until they have been refused often enough, together."""

    def __init__(self, urls: list[str], enough: int, quantities: tuple[int, ...]) -> None:
        self.given: list[str] = []
        self.others: Counter[object] = Counter()
        self._urls = urls
        self._enough = enough
        self._quantities = quantities
        self._refused = 0
        self._lock = threading.Lock()

    def ask(self, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 -- a test wants to be repeated
        connection = connected(self._urls[seed % len(self._urls)])
        with connection.sock:
            while self._refused < self._enough:
                fields = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": chance.choice(self._quantities)}
                connection.request("POST", "/api/v1/generate", json.dumps(fields), {"Content-Type": "application/json"})
                response = connection.getresponse()
                payload = json.loads(envelope.decode(response.read()).payload_bytes)
                with self._lock:
                    if payload["code"] == 815:
                        self.given += payload["licenseKeys"]
                    else:
                        self._refused += payload["code"] == 902
                        self.others[payload["code"], response.status] += 1


def ask_beyond(
    hanaper: Hanaper,
    cap: int,
    *,
    threads: int,
    refusals: int,
    quantities: tuple[int, ...] = QUANTITIES,
    **environment: str,
) -> Askers:
    hanaper("generator", "set-cap", "1", str(cap))
    # Two servers, not two workers of one: of those, one may take every connection.
    with hanaper.serving(**environment) as one, hanaper.serving(**environment) as other:
        askers = Askers([one.url, other.url], refusals, quantities)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(askers.ask, range(threads)))
    return askers


def stored(hanaper: Hanaper) -> tuple[int, int]:
    """What the generator has counted, and what it has made."""
    with Storage.open(hanaper.settings) as storage:
        report = check(storage, None, now=utc_now())
        assert report.is_clean or report.counts.keys() == {"cap"}, report
        return storage.read(
            lambda session: (
                session.scalars(text("SELECT issued FROM generator_caps")).one(),
                session.scalars(text("SELECT count(*) FROM license_keys WHERE generator_id = 1")).one(),
            )
        )


@pytest.mark.parametrize(
    ("cap", "threads", "refusals"), [(1511, 8, 40), pytest.param(20_011, 64, 400, marks=pytest.mark.slow)]
)
def test_exactly_the_cap_is_issued(demo_on_either: Hanaper, cap: int, threads: int, refusals: int) -> None:
    for round_ in range(1, ROUNDS + 1):
        before = stored(demo_on_either)[1] if round_ > 1 else 0
        askers = ask_beyond(demo_on_either, cap * round_, threads=threads, refusals=refusals)
        assert askers.others.keys() == {(902, 200)}
        assert len(askers.given) == len(set(askers.given)) == cap * round_ - before
        assert stored(demo_on_either) == (cap * round_, cap * round_)


@pytest.mark.parametrize("database_kind", ["postgresql"])  # SQLite has one writer, whatever the statements are.
def test_a_cap_that_is_read_and_then_counted_on_is_found(demo_on_either: Hanaper) -> None:
    # One at a time: whoever looks while another process has the last one in hand finds room for it.
    faulty = mutant("counted_by_reading")
    askers = ask_beyond(demo_on_either, 40, threads=16, refusals=16, quantities=(1,), **faulty)
    assert len(askers.given) > 40
