"""Orders beside a flood of wrong API keys: none is refused, and how much longer they take is told (T33)."""

import logging
import multiprocessing
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from math import inf

import httpx
import pytest
from tests.support.flood import flood, post
from tests.support.load import SAMPLE_KEY
from tests.support.processes import Hanaper

WRONG_KEYS = int(os.environ.get("HANAPER_TEST_WRONG_KEYS", "20000"))
ORDERS = 300
PAUSE_S = 0.02
LONGEST_S = 60.0
ORDER = {"api_key": SAMPLE_KEY, "generator_id": "1", "quantity": "1"}
FLOODED_FROM = "127.0.0.2"
FAILURES_PER_MINUTE = 10
_logger = logging.getLogger(__name__)


def wrong_request(number: int) -> bytes:
    return post("/api/v1/generate", f"api_key=00000000-0000-4000-8000-{number:012}&generator_id=1&quantity=1")


def client_from(source: str, url: str) -> httpx.Client:
    """A client with an address of its own."""
    transport = httpx.HTTPTransport(local_address=source)
    return httpx.Client(base_url=url, transport=transport, trust_env=False, timeout=LONGEST_S)


def order(client: httpx.Client) -> float:
    """How long an order takes, in seconds."""
    began = time.monotonic()
    assert client.post("/api/v1/generate", data=ORDER).json()["response"]["code"] == 815
    return time.monotonic() - began


def p99(took: list[float]) -> float:
    return sorted(took)[len(took) * 99 // 100]


@pytest.mark.slow
@pytest.mark.parametrize("a_second", [300.0, inf], ids=["300 a second", "as fast as they are answered"])
def test_right_keys_are_served_beside_a_flood_of_wrong_ones(demo_on_either: Hanaper, a_second: float) -> None:
    limits = {"HANAPER_FAILURES_PER_MINUTE": str(FAILURES_PER_MINUTE)}
    times = WRONG_KEYS if a_second == inf else min(WRONG_KEYS, 6000)
    with ExitStack() as stack:
        servers = [stack.enter_context(demo_on_either.serving(**limits)) for _ in range(2)]
        # Right keys come from an address of their own, and from the one that is flooded from.
        sources = ("127.0.0.1", FLOODED_FROM)
        clients = {
            source: stack.enter_context(client_from(source, server.url))
            for source, server in zip(sources, servers, strict=True)
        }
        alone: dict[str, list[float]] = {source: [] for source in sources}
        beside: dict[str, list[float]] = {source: [] for source in sources}
        for _ in range(ORDERS):
            for source, client in clients.items():
                alone[source].append(order(client))
            time.sleep(PAUSE_S)
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            began = time.monotonic()
            floods = [
                pool.submit(flood, server.url, wrong_request, times // 2, source=FLOODED_FROM, a_second=a_second / 2)
                for server in servers
            ]
            while not all(each.done() for each in floods):
                for source, client in clients.items():
                    beside[source].append(order(client))
                time.sleep(PAUSE_S)
            seconds = time.monotonic() - began
            statuses = sum((each.result() for each in floods), Counter[int]())
    assert statuses.keys() <= {401, 429}
    assert statuses.total() == times // 2 * 2
    assert statuses[401] <= FAILURES_PER_MINUTE * (seconds // 60 + 2)
    for source in sources:
        ratio = p99(beside[source]) / p99(alone[source])
        _logger.info("%d wrong keys, %.0f a second; %d orders from %s: p99 %.2f of that alone (%.1f ms)",
                     times, times / seconds, len(beside[source]), source, ratio, p99(alone[source]) * 1000)  # fmt: skip
