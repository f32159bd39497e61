"""A server at work for a long time uses no more than it did, and what it has done is in order (reliability.md T41)."""

import http.client
import json
import logging
import os
import random
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from tests.support.crowd import Crowd, at_work
from tests.support.load import SAMPLE_KEY
from tests.support.mutants import mutant
from tests.support.processes import Hanaper
from tests.support.soak import KEPT_S, Sample, trends, watching

SECONDS = float(os.environ.get("HANAPER_TEST_SOAK_S", "180"))
RATE = float(os.environ.get("HANAPER_TEST_SOAK_RATE", "20"))
"""Requests in a second, of all clients together."""
STORED = int(os.environ.get("HANAPER_TEST_SOAK_KEYS", "0"))
"""License keys that are there before: with many, the caches of the database fill while the server warms up."""
WARM_UP_S = float(os.environ.get("HANAPER_TEST_SOAK_WARM_UP_S", "0"))
"""So long they work at `WARM_UP_RATE` before anything is measured: threads, connections and caches come into use."""
WARM_UP_RATE = 10 * RATE
HISTORIES = os.environ.get("HANAPER_TEST_HISTORIES")
CLIENTS = 4
MOST_SAMPLES = 360
LONG_S = 1800
"""From here on memory is judged by its slope."""
MOST_MIB = 1.0
"""More in the last third than in the second; or, in a long run, in an hour."""
MOST_DESCRIPTORS = 6
"""More at once: as many clients may have come and gone between two looks."""
MOST_THREADS = 2
"""More at once: threads for work that waits begin as they are needed, up to a limit."""
TOLD_EVERY_S = 60
"""With `--log-cli-level=DEBUG`: where it stands, for those who wait."""
MOST_OF_A_LOG = 32 * 2**20
CHECKED: set[int | str] = {800, 801, 200, 201, 202, 300, 301, 302, "400", 401}
_logger = logging.getLogger(__name__)


class Customers(Crowd):
    """Clients that do a bit of everything, at a steady pace."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.rate = RATE
        self.seconds: list[tuple[float, float]] = []
        self.unexpected: list[tuple[str, int, bytes]] = []
        self._sent: list[dict[str, Any]] = []
        self._license_keys: list[str] = []
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def warm_up(self, seconds: float) -> None:
        """Let them work harder for a while, and forget how long they waited."""
        self.rate = WARM_UP_RATE
        time.sleep(seconds)
        self.rate = RATE
        with self._lock:
            self.seconds.clear()
            self._began = time.monotonic()

    def use(self, connection: http.client.HTTPConnection, chance: random.Random) -> None:
        """Work with one connection for a while; now and then leave in the midst of a request."""
        for _ in range(chance.randrange(20, 60)):
            if self.over.wait(chance.expovariate(self.rate / CLIENTS)):
                return
            kind = chance.choices(
                ["new", "new under a key", "again", "checks", "a wrong key", "a wrong quantity", "leave"],
                [10, 40, 10, 25, 6, 6, 3],
            )[0]
            match kind:
                case "new":
                    self._ask(connection, "generate", self._order(chance), {815})
                case "new under a key":
                    order = {**self._order(chance), "idempotency_key": uuid4().hex}
                    self._ask(connection, "generate", order, {815})
                    self._sent = [*self._sent[-50:], order]
                case "again":
                    if self._sent:
                        self._ask(connection, "generate", chance.choice(self._sent), {815})
                case "checks":
                    self._check(connection, chance)
                case "a wrong key":
                    self._ask(connection, "generate", {**self._order(chance), "api_key": uuid4().hex}, {100})
                case "a wrong quantity":
                    self._ask(connection, "generate", {**self._order(chance), "quantity": "many"}, {901})
                case _:
                    connection.request("POST", "/api/v1/generate", urlencode(self._order(chance)), _FORM)
                    return

    def _order(self, chance: random.Random) -> dict[str, Any]:
        return {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": chance.choice([1, 2, 5, 10])}

    def _check(self, connection: http.client.HTTPConnection, chance: random.Random) -> None:
        if not self._license_keys:
            return
        fields = {"api_key": SAMPLE_KEY, "license_key": chance.choice(self._license_keys), "identifier": "a"}
        endpoint = chance.choice(["assign-license-key", "activate", "verify", "verify", "deactivate"])
        self._ask(connection, endpoint, fields, CHECKED)

    def _ask(
        self, connection: http.client.HTTPConnection, endpoint: str, fields: dict[str, Any], expected: set[int | str]
    ) -> None:
        began = time.monotonic()
        connection.request("POST", f"/api/v1/{endpoint}", urlencode(fields), _FORM)
        response = connection.getresponse()
        body = response.read()
        answer = json.loads(body)["response"]
        with self._lock:
            self.seconds.append((began - self._began, time.monotonic() - began))
            if answer["code"] not in expected:
                self.unexpected.append((endpoint, response.status, body))
            self._license_keys = [*self._license_keys[-200:], *answer.get("licenseKeys", [])]


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def soak(hanaper: Hanaper, seconds: float, **faults: str) -> tuple[list[Sample], Customers]:
    """Let customers work with a server, and look at it all the time."""
    every_s = max(seconds / MOST_SAMPLES, 1.0)
    with ExitStack() as stack:
        server = stack.enter_context(hanaper.serving("--workers", "2", **faults))
        server.wait_for_workers(2)
        customers = Customers(server.url)
        stack.enter_context(at_work(customers.run, range(CLIENTS), customers.end))
        customers.warm_up(WARM_UP_S)
        watch = stack.enter_context(watching(hanaper, [server.process.pid, *server.workers], every_s))
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, TOLD_EVERY_S))
            _logger.debug("%.0f s to go; %s", max(ends - time.monotonic(), 0), watch.samples[-1:])
    if HISTORIES is not None:
        kind = "postgresql" if "HANAPER_DATABASE_URL" in hanaper.environment else "sqlite"
        watch.write(Path(HISTORIES) / f"soak-{kind}.jsonl")
    return watch.samples, customers


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100]


# hanaper itself looks for old records every ten minutes.
HASTY = mutant("hasty_purge")


@pytest.mark.slow
def test_a_server_at_work_uses_no_more_than_it_did(demo_on_either: Hanaper, database_kind: str, tmp_path: Path) -> None:
    began = time.monotonic()
    if STORED:
        demo_on_either(
            "generate", "--generator", "1", "--quantity", str(STORED), "--output", str(tmp_path / "stored.csv")
        )
    samples, customers = soak(demo_on_either, SECONDS, **HASTY)
    _logger.info("%s: %d requests in %.0f s", database_kind, len(customers.seconds), time.monotonic() - began)
    third = SECONDS / 3
    parts = [[took for at, took in customers.seconds if n * third <= at < (n + 1) * third] for n in range(3)]
    _logger.info("p99 of the thirds: %s ms", ", ".join(f"{p99(part) * 1000:.0f}" for part in parts))
    first, last = samples[0], samples[-1]
    a_key = (last.database - first.database) / (last.license_keys - first.license_keys)
    most_log, most_records = max(each.log for each in samples), max(each.records for each in samples)
    _logger.info(
        "%d license keys, %.0f bytes each; log at most %.1f MB; records at most %d",
        last.license_keys,
        a_key,
        most_log / 2**20,
        most_records,
    )
    found = trends(samples)
    for trend, use in zip(found, last.processes.values(), strict=True):
        _logger.info("%s; at the end %s", trend, use)
    assert customers.unexpected == []
    assert most_log <= MOST_OF_A_LOG
    # Those of the time that they are kept, and of one more look.
    assert most_records <= 2 * RATE * KEPT_S
    for trend in found:
        assert (trend.slope if SECONDS >= LONG_S else trend.memory) < MOST_MIB
        assert trend.descriptors <= MOST_DESCRIPTORS
        assert trend.threads <= MOST_THREADS
    assert demo_on_either("check-store", "--json").json["findings"] == []


@pytest.mark.slow
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_server_that_keeps_what_it_is_asked_is_found(demo_on_either: Hanaper) -> None:
    samples, _ = soak(demo_on_either, 45, **mutant("hoards"))
    found = trends(samples)
    assert any(trend.memory > MOST_MIB for trend in found)
    assert any(trend.descriptors > MOST_DESCRIPTORS for trend in found)
