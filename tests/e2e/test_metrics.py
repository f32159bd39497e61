"""`/metrics` of real servers: exact figures of all processes, on an address of its own, whoever dies meanwhile."""

import os
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest
from tests.e2e.conftest import client
from tests.support.api import Api
from tests.support.metrics import ADDRESS, Figures, metrics_url, scrape, scrape_when
from tests.support.mutants import mutant
from tests.support.processes import MEASURED, Hanaper, Server

pytestmark = pytest.mark.long

SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
CANARY = "Canary-2268"
KILLS = int(os.environ.get("HANAPER_TEST_METRICS_KILLS", "1"))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the server puts its files, apart from those of other servers."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def generate(api: Api, quantity: int, **more: str) -> list[str]:
    answer = api.post("/api/v1/generate", {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": quantity, **more})
    assert answer.code == 815
    keys: list[str] = answer.payload["licenseKeys"]
    return keys


def ask_all_kinds(api: Api) -> list[str]:
    """18 requests; returns the license keys in them."""
    keys = [key for quantity in (1, 2, 3, 10) for key in generate(api, quantity)]
    for _ in range(3):
        assert api.post("/v1/generate", {"api_key": CANARY, "generator_id": 1, "quantity": 1}).code == 100
    assert api.post("/v1/generate", {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": CANARY}).code == 901
    for path in (f"/{CANARY}", f"/api/v1/{CANARY}", "/metrics"):
        assert api.get(path, {"api_key": SAMPLE_KEY}).code == 1700
    # Also by a method that is not the endpoint's, and on a path that is nobody's.
    assert api.get("/api/v1/generate", {"api_key": SAMPLE_KEY}).code == 1701
    assert api.check(api.http.put(f"/{CANARY}")).code == 1700
    wanted = {"api_key": SAMPLE_KEY, "product_id": 1, "quantity": 20, "generate": 1, "owner_email": "a@example.com"}
    assigned = api.post("/v1/random-assign-license-keys", wanted).payload["license_keys"]
    keys += [row["license_key"] for row in assigned]
    named = {"api_key": SAMPLE_KEY, "license_key": keys[0], "identifier": CANARY}
    assert api.post("/v1/activate", named).code == 300
    assert api.post("/v1/verify", named).code == 200
    assert api.http.get("/healthz").status_code == 200
    assert api.http.get("/readyz").status_code == 200
    return keys


ALL_KINDS = {
    ("generate", "815", "200"): 4,
    ("generate", "100", "401"): 3,
    ("generate", "901", "200"): 1,
    ("generate", "1701", "405"): 1,
    ("other", "1700", "404"): 4,
    ("random-assign-license-keys", "803", "200"): 1,
    ("activate", "300", "200"): 1,
    ("verify", "200", "200"): 1,
    ("healthz", "unsigned", "200"): 1,
    ("readyz", "unsigned", "200"): 1,
}


@pytest.mark.parametrize(
    ("database_kind", "workers"),
    [
        ("sqlite", 1),
        ("postgresql", 2),
        pytest.param("sqlite", 2, marks=pytest.mark.slow),
        pytest.param("postgresql", 1, marks=pytest.mark.slow),
    ],
)
def test_the_figures_are_exact_and_hold_nothing_a_client_wrote(
    demo_on_either: Hanaper, scratch: Path, workers: int
) -> None:
    environment = {**ADDRESS, "TMPDIR": str(scratch), "HANAPER_MAX_QUANTITY": "2000"}
    with demo_on_either.serving("--workers", str(workers), **MEASURED, **environment) as server:
        with client(server.url, demo_on_either) as api:
            server.wait_for_workers(workers)
            keys = ask_all_kinds(api)
            figures = scrape_when(server, 18)
            assert figures.answers == ALL_KINDS
            assert figures.by("hanaper_request_seconds_count", "endpoint") == counts_by_endpoint()
            # 16 of the 20 assigned were there before.
            assert figures["hanaper_license_keys_generated_total"] == 20
            assert (figures["hanaper_batch_license_keys_count"], figures["hanaper_batch_license_keys_sum"]) == (4, 16)
            signatures = figures.by("hanaper_signatures_total", "kind")
            assert sum(signatures.values()) == 16
            assert signatures[("fresh",)] == figures["hanaper_signing_seconds_count"]
            assert figures["hanaper_commit_seconds_count"] >= 6
            assert figures.of("hanaper_group_jobs_sum", way="read") >= 1
            assert figures.of("hanaper_group_jobs_sum", way="write") >= 4
            assert figures["hanaper_database_pool_connections"] == 16 * workers
            assert figures["hanaper_serving_processes"] == workers
            assert figures["hanaper_writer_queue_jobs"] == 0
            assert figures.by("hanaper_database_unavailable_total", "reason") == {}
            assert CANARY not in figures.text
            assert SAMPLE_KEY not in figures.text
            assert not any(key in figures.text for key in keys)
            # A large order is a batch as well.
            generate(api, 1500)
            figures = scrape_when(server, 19)
            assert (figures["hanaper_batch_license_keys_count"], figures["hanaper_batch_license_keys_sum"]) == (5, 1516)
            assert figures["hanaper_license_keys_generated_total"] == 1520
        assert bool(list(scratch.iterdir())) == (workers > 1)
        assert server.stop() == 0
    assert list(scratch.iterdir()) == []


def test_the_test_above_would_notice_a_label_that_a_client_wrote(demo: Hanaper) -> None:
    with demo.serving(**ADDRESS, **mutant("paths_as_labels")) as server:
        with client(server.url, demo) as api:
            api.get(f"/{CANARY}")
        assert CANARY in scrape_when(server, 1).text


def counts_by_endpoint() -> dict[tuple[str], float]:
    found: dict[tuple[str], float] = {}
    for (endpoint, _, _), number in ALL_KINDS.items():
        found[(endpoint,)] = found.get((endpoint,), 0) + number
    return found


def test_metrics_have_an_address_of_their_own_and_nothing_else_is_there(demo: Hanaper) -> None:
    with demo.serving(**MEASURED, **ADDRESS) as server:
        url = metrics_url(server)
        assert url.removesuffix("/metrics") != server.url
        base = url.removesuffix("/metrics")
        for path in ("/", "/metrics/", "/healthz", "/api/v1/generate", "/metricsx"):
            assert httpx.get(base + path, timeout=60, trust_env=False).status_code == 404
        assert httpx.post(url, data={"api_key": SAMPLE_KEY}, timeout=60, trust_env=False).status_code == 501
        answer = httpx.get(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"}, trust_env=False)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")
        # On the port of the API it is a path like any that is unknown.
        with client(server.url, demo) as api:
            assert api.get("/metrics").code == 1700
        assert server.stop() == 0


def die(server: Server, pid: int) -> None:
    """Kill a worker and wait for the one that takes its place."""
    before = len(server.workers)
    os.kill(pid, signal.SIGKILL)
    server.wait_for_workers(before + 1)


@pytest.mark.parametrize("database_kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_a_worker_that_is_killed_takes_no_figure_along(demo_on_either: Hanaper, scratch: Path) -> None:
    with demo_on_either.serving("--workers", "2", TMPDIR=str(scratch), **MEASURED, **ADDRESS) as server:
        server.wait_for_workers(2)
        with client(server.url, demo_on_either) as api:
            asked = 0
            for _ in range(KILLS):
                # Each connection goes to one of the workers.
                for _ in range(8):
                    api.http.headers["Connection"] = "close"
                    generate(api, 2)
                asked += 8
                before = scrape_when(server, asked)
                victim = server.workers[-1]
                die(server, victim)
                after = scrape(server)
                assert after.answers == before.answers == {("generate", "815", "200"): asked}
                assert after["hanaper_license_keys_generated_total"] == 2 * asked
                # Not that of three processes, and no more files than two need.
                assert figures_settle(server)["hanaper_database_pool_connections"] == 32
            generate(api, 5)
            assert scrape_when(server, asked + 1)["hanaper_license_keys_generated_total"] == 2 * asked + 5
        [folder] = scratch.iterdir()
        assert sorted(file.name for file in folder.glob("place-*")) == ["place-0.lock", "place-1.lock"]
        assert server.stop() == 0


def figures_settle(server: Server) -> Figures:
    """The figures once two processes serve: one that has begun may not have taken its place yet."""
    deadline = time.monotonic() + 30
    while (figures := scrape(server))["hanaper_serving_processes"] != 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return figures


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_address_that_is_taken_is_told_in_one_line(demo: Hanaper, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        address = {"HANAPER_METRICS_ADDRESS": f"127.0.0.1:{port}"}
        ended = demo("serve", "--port", "0", "--workers", workers, status=69, **address)
    assert ended.stderr == (
        f"hanaper: port {port} on 127.0.0.1 cannot be opened for metrics (Address already in use): "
        "stop what listens there, or choose another by HANAPER_METRICS_ADDRESS\n"
    )


def test_the_port_of_the_api_is_refused_whatever_the_address(demo: Hanaper) -> None:
    ended = demo("serve", "--port", "9464", status=78, HANAPER_METRICS_ADDRESS="127.0.0.2:9464")
    assert ended.stderr.startswith("hanaper: HANAPER_METRICS_ADDRESS: ")
    assert "the API is served on this port" in ended.stderr


def test_many_who_say_nothing_do_not_pile_up(demo: Hanaper) -> None:
    with demo.serving(**MEASURED, **ADDRESS) as server:
        host, port = metrics_url(server).removeprefix("http://").removesuffix("/metrics").split(":")
        silent = [socket.create_connection((host, int(port)), timeout=60) for _ in range(20)]
        # Those for whom there is no thread are told at once that there is none.
        closed = sum(1 for connection in silent if _is_closed(connection))
        assert closed == 12
        with client(server.url, demo) as api:
            generate(api, 1)
        for connection in silent:
            connection.close()
        scrape_when(server, 1)
        assert server.stop() == 0


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.1)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
