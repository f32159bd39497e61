"""The proxy and hanaper never disagree about how many requests there are (T29)."""

import re
import time
from pathlib import Path

import httpx
import pytest
from tests.support.processes import Hanaper, Server
from tests.support.proxy import proxy
from tests.support.raw import until_silence
from tests.support.smuggling import SHAPES, TWO

SILENCE_S = 0.1
LONGEST_S = 60
MARK = "/api/v1/mark"


def requests(server: Server) -> list[str]:
    """The paths of all requests that hanaper has answered, without probes."""
    return [event["path"] for event in server.events("request")]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_proxy_and_hanaper_count_alike(demo_on_either: Hanaper, tmp_path: Path) -> None:
    with demo_on_either.serving() as server:
        server.wait_for("serving")
        port = int(server.url.rsplit(":", 1)[1])
        with proxy([port, port], tmp_path) as front:
            apart: dict[str, tuple[list[str], list[str]]] = {}
            log = tmp_path / "access.log"
            for name, shape in {**SHAPES, "two": TWO}.items():
                before, told = len(requests(server)), len(log.read_text())
                until_silence(front, shape, SILENCE_S)
                # Both have told of what came before this one.
                httpx.get(f"{front}{MARK}", trust_env=False, timeout=LONGEST_S)
                deadline = time.monotonic() + LONGEST_S
                while not (MARK in passed_on(log, told) and MARK in requests(server)[before:]):
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                of_proxy, of_hanaper = passed_on(log, told), requests(server)[before:]
                if of_proxy != of_hanaper:
                    apart[name] = of_proxy, of_hanaper
            assert apart == {}
            # Else the test would not see a thing.
            assert requests(server)[-3:] == ["/api/v1/first", "/api/v1/hidden", MARK]


def passed_on(log: Path, since: int) -> list[str]:
    """The paths of the requests that the proxy passed on to a server, from its access log."""
    lines = log.read_text()[since:].splitlines()
    return [found[1] for line in lines if (found := re.search(r'"\S+ (/\S*)" \d+ \d+ \S+ 127\.0\.0\.1:\d+ \d+$', line))]
