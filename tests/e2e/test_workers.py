"""The serving processes as a caller sees them: fair to each other, set up alike, and not to be stopped by a crowd.

A custom function tells from inside which process it is in and how that is set up: its license keys say so.
"""

import gc
import json
import os
import re
import resource
import signal
import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from tests.support.flood import flood
from tests.support.processes import MEASURED, Hanaper, Server
from tests.support.raw import connected, receive

from hanaper.app import YOUNG_OBJECTS
from hanaper.issuing import custom

pytestmark = pytest.mark.long

SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
CLIENTS = 256
SOURCE = """
    import gc, json, os
    from secrets import token_hex

    def whoami(quantity):
        told = {"pid": os.getpid(), "threshold": gc.get_threshold(), "frozen": gc.get_freeze_count()}
        return [json.dumps({**told, "n": token_hex(8)}) for _ in range(quantity)]
"""


@pytest.fixture
def installed(demo: Hanaper, tmp_path: Path) -> dict[str, str]:
    """A package with the function, and the environment in which it is installed; generator 2 uses it."""
    folder = tmp_path / "site-packages"
    information = folder / "told-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "hanaper_told.py").write_text(dedent(SOURCE))
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: told\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{custom.ENTRY_POINT_GROUP}]\nwhoami = hanaper_told:whoami\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    arguments = ["--product", "demo", "--method", "custom", "--function-name", "whoami", "--json"]
    assert demo.anew("generator", "add", *arguments, PYTHONPATH=path).json["id"] == 2
    return {"PYTHONPATH": path}


def request(generator: int = 2) -> bytes:
    body = f"api_key={SAMPLE_KEY}&generator_id={generator}&quantity=1".encode()
    return (
        b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def told(connection: socket.socket) -> dict[str, Any]:
    """What the process says of itself that answers on a connection."""
    answer = receive(connection, "POST")
    assert answer.json()["response"]["code"] == 815
    said: dict[str, Any] = json.loads(answer.json()["response"]["licenseKeys"][0])
    return said


def workers_of(server: Server, number: int) -> None:
    server.wait_for("Application startup complete.", times=number)


def test_two_processes_share_many_who_come_at_once(demo: Hanaper, installed: dict[str, str]) -> None:
    with demo.serving("--workers", "2", **MEASURED, **installed) as server:
        url = server.url
        workers_of(server, 2)
        workers = [int(pid) for pid in re.findall(r"Started server process \[([0-9]+)\]", server.log)]
        with ExitStack() as stack:
            # All are there before either process can see the first of them.
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            connections = [stack.enter_context(connected(url)) for _ in range(CLIENTS)]
            for connection in connections:
                connection.sendall(request())
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            shares = Counter(told(connection)["pid"] for connection in connections)
            # Whoever has accepted a connection keeps it.
            for connection in connections:
                connection.sendall(request())
            assert Counter(told(connection)["pid"] for connection in connections) == shares
        assert server.stop() == 0
    assert shares.keys() == set(workers)
    assert shares.total() == CLIENTS
    assert min(shares.values()) >= CLIENTS // 5, shares


def test_a_process_that_can_take_no_more_goes_on_when_it_can(demo: Hanaper) -> None:
    with demo.serving(**MEASURED) as server:
        url = server.url
        workers_of(server, 1)
        pid = server.process.pid
        _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        with ExitStack() as stack:
            first = stack.enter_context(connected(url))
            assert answered(first, 1)
            few = len(list(Path(f"/proc/{pid}/fd").iterdir())) + 8
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, most))
            for _ in range(30):
                stack.enter_context(connected(url))
            line = server.wait_for("no connection can be accepted")
            assert (line["level"], line["reason"]) == ("warning", "Too many open files")
            # Who is there already is still answered, if only that there is no such generator.
            assert answered(first, 999)
        # All have left, and somebody new is served.
        with connected(url) as last:
            assert answered(last, 1)
        assert server.stop() == 0


def answered(connection: socket.socket, generator: int) -> bool:
    connection.sendall(request(generator))
    outer = receive(connection, "POST").json()
    code: int = outer["response"]["code"]
    return code == (815 if generator == 1 else 806)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_serving_process_spares_the_garbage_collector_what_stays(
    demo: Hanaper, installed: dict[str, str], workers: int
) -> None:
    with demo.serving("--workers", str(workers), **MEASURED, **installed) as server:
        url = server.url
        workers_of(server, workers)
        seen: dict[int, dict[str, Any]] = {}
        while len(seen) < workers:
            with ExitStack() as stack:
                connections = [stack.enter_context(connected(url)) for _ in range(16)]
                for connection in connections:
                    connection.sendall(request())
                for connection in connections:
                    said = told(connection)
                    seen[said["pid"]] = said
        assert server.stop() == 0
    assert (server.process.pid in seen) == (workers == 1)
    for said in seen.values():
        assert said["threshold"][0] == YOUNG_OBJECTS > gc.get_threshold()[0]
        # What a server has loaded are a hundred thousand objects and more.
        assert said["frozen"] > 10_000


def test_it_serves_without_uvloop_as_well(demo: Hanaper, tmp_path: Path) -> None:
    """As on a platform that has no wheel of it."""
    folder = tmp_path / "without"
    folder.mkdir()
    (folder / "uvloop.py").write_text("raise ImportError('not for this platform')\n")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    with demo.serving("--workers", "2", PYTHONPATH=path, **MEASURED) as server:
        url = server.url
        workers_of(server, 2)
        with httpx.Client(trust_env=False, timeout=60) as client:
            fields = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 3}
            keys = [
                key
                for _ in range(10)
                for key in client.post(f"{url}/api/v1/generate", data=fields).json()["response"]["licenseKeys"]
            ]
        assert server.stop() == 0
    assert len(set(keys)) == 30
    assert {row["license_key"] for row in demo("key", "list", "--json").json} == set(keys)


def test_a_worker_that_cannot_begin_says_why_in_one_line_and_the_next_does_better(demo: Hanaper) -> None:
    database = demo.data_dir / "hanaper.db"
    with demo.serving("--workers", "2", **MEASURED) as server:
        server.wait_for_workers(2)
        kept = database.rename(database.with_name("kept.db"))
        os.kill(server.workers[0], signal.SIGKILL)
        server.wait_for("a serving process has ended, another one is started")
        ended = server.events("a serving process has ended, another one is started")[0]
        assert (ended["level"], ended["exit_status"]) == ("warning", -signal.SIGKILL)
        line = server.wait_for("this process cannot serve")
        assert (line["level"], str(database) in line["reason"]) == ("error", True)
        kept.rename(database)
        server.wait_for_workers(3)
        # Each line is JSON, and none a traceback: `stop` looks.
        assert server.stop() == 0


def test_all_processes_have_one_budget(demo: Hanaper) -> None:
    with demo.serving("--workers", "3", HANAPER_REQUESTS_PER_MINUTE="300", **MEASURED) as server:
        server.wait_for_workers(3)
        plain = request(1)
        statuses = flood(server.url, lambda _: plain, 450, connections=24)
        assert statuses.total() == 450
        assert 0.9 * 300 <= statuses[200] <= 300
        assert (demo.data_dir / "hanaper.db.limits").stat().st_mode & 0o777 == 0o600
        server.stop()
