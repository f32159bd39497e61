"""`hanaper serve` in real processes: started, asked and stopped as users do it."""

import json
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import httpx
import pytest
from tests.e2e.conftest import client
from tests.support.processes import MEASURED, Hanaper, Server, clean_environment

SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
FORM = {"api_key": SAMPLE_KEY, "generator_id": "1", "quantity": "10"}

CALLS = 25
CLIENT = f"""
import json, sys
from concurrent.futures import ThreadPoolExecutor
import httpx

with httpx.Client(timeout=60, trust_env=False) as client, ThreadPoolExecutor(8) as threads:
    def call(_):
        answer = client.post(sys.argv[1] + "/api/v1/generate", data={FORM!r})
        return answer.status_code, answer.json()["response"].get("licenseKeys", [])
    print(json.dumps(list(threads.map(call, range({CALLS})))))
"""


def refuses_connections(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz", timeout=10, trust_env=False)
    except httpx.ConnectError:
        return True
    return False


def ask(url: str) -> dict[str, Any]:
    answer = httpx.post(f"{url}/api/v1/generate", data=FORM, timeout=60, trust_env=False)
    payload: dict[str, Any] = answer.json()["response"]
    return payload


def test_the_documented_request_is_answered_and_verified_with_tools_everybody_has(bare: Hanaper) -> None:
    made = bare.anew("init", "--demo", "--json").json
    with bare.serving(**MEASURED) as server:
        command = ["curl", "--silent", "--show-error", "--fail", f"{server.url}/api/v1/generate"]
        command += ["-d", "api_key=2964c3c9-0b5d-4d89-b3ac-4668f30bc492&generator_id=1&quantity=10"]
        body = subprocess.run(command, capture_output=True, check=True, timeout=60, env=bare.environment).stdout
        url = server.url
        assert server.stop() == 0
        assert server.events("stopped")
        assert refuses_connections(url)
    outer = json.loads(body)
    assert outer["response"]["code"] == 815
    assert outer["response"]["message"] == "Generated license keys"
    assert len(set(outer["response"]["licenseKeys"])) == 10
    assert outer["private_key_used"] == "product"
    (bare.folder / "answer.json").write_bytes(body)
    (bare.folder / "message").write_text(outer["response_base64"])
    (bare.folder / "signature.base64").write_text(outer["signature"])
    decode = ["openssl", "base64", "-d", "-A", "-in", "signature.base64", "-out", "signature"]
    subprocess.run(decode, check=True, cwd=bare.folder)
    verify = ["openssl", "dgst", "-sha256", "-verify", made["product_public_key"], "-signature", "signature", "message"]
    verdict = subprocess.run(verify, check=True, cwd=bare.folder, capture_output=True, text=True)
    assert verdict.stdout == "Verified OK\n"
    shown = bare("verify", "answer.json", "--public-key", made["product_public_key"]).json
    assert shown == outer["response"]
    stored = bare("key", "list", "--json").json
    assert [row["license_key"] for row in stored] == outer["response"]["licenseKeys"]


def test_an_interrupt_ends_the_server_as_well_as_sigterm_does(demo: Hanaper) -> None:
    with demo.serving(**MEASURED) as server:
        url = server.url
        assert ask(url)["code"] == 815
        assert server.stop(signal.SIGINT) == 0
        assert server.events("stopped")
        assert refuses_connections(url)


def test_a_request_under_way_is_answered_before_the_server_ends(demo: Hanaper) -> None:
    body = f"api_key={SAMPLE_KEY}&generator_id=1&quantity=10".encode()
    with demo.serving(**MEASURED) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection, connection.makefile("rb") as answer:
            connection.sendall(
                b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            # With this the server says that it has begun with the request, and waits for its body.
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
            while answer.readline() != b"\r\n":
                pass
            server.process.send_signal(signal.SIGTERM)
            server.wait_for("Shutting down")
            # A second one does not make it any more hasty.
            server.process.send_signal(signal.SIGTERM)
            connection.sendall(body)
            assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
            while answer.readline() != b"\r\n":
                pass
            keys = json.loads(answer.read())["response"]["licenseKeys"]
        assert server.stop() == 0
    assert [row["license_key"] for row in demo("key", "list", "--json").json] == keys


def test_workers_share_the_load_without_a_duplicate_or_an_error(demo_on_either: Hanaper) -> None:
    with demo_on_either.serving("--workers", "2", **MEASURED) as server:
        url = server.url
        server.wait_for("Application startup complete.", times=2)
        clients = [
            subprocess.Popen(
                [sys.executable, "-c", CLIENT, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        answers = []
        for process in clients:
            stdout, stderr = process.communicate(timeout=60)
            assert (process.returncode, stderr) == (0, "")
            answers += json.loads(stdout)
        # It only returns when all processes have ended.
        assert server.stop() == 0
        assert refuses_connections(url)
    assert [status for status, _ in answers] == [200] * 2 * CALLS
    keys = [key for _, made in answers for key in made]
    assert len(set(keys)) == len(keys) == 2 * CALLS * 10
    stored = [json.loads(line) for line in demo_on_either("key", "export", "--format", "jsonl").stdout.splitlines()]
    assert sorted(row["license_key"] for row in stored) == sorted(keys)
    # Every answer is one batch, whole and in order.
    batches: dict[int, list[str]] = {}
    for row in stored:
        batches.setdefault(row["batch_id"], []).append(row["license_key"])
    assert sorted(batches.values()) == sorted(made for _, made in answers)
    assert warnings_of(server) == []


def test_an_interrupt_of_a_terminal_ends_all_workers(demo: Hanaper) -> None:
    with demo.serving("--workers", "2", **MEASURED) as server:
        url = server.url
        server.wait_for("Application startup complete.", times=2)
        assert ask(url)["code"] == 815
        # Ctrl-C goes to every process in the foreground, not only to the first.
        assert server.stop(signal.SIGINT, whole_group=True) == 0
        assert refuses_connections(url)


# --- what forbids the start ---


def test_a_port_that_is_taken_is_told_in_one_line(demo: Hanaper) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = demo("serve", "--port", str(port), status=69)
    assert ended.stderr == (
        f"hanaper: port {port} on 127.0.0.1 cannot be opened (Address already in use): "
        "stop what listens there, or choose another by --port\n"
    )


@pytest.mark.parametrize(("host", "status"), [("no such host", 78), ("192.0.2.1", 69)])
def test_an_address_that_is_not_of_this_machine_is_told_in_one_line(plain: Hanaper, host: str, status: int) -> None:
    ended = plain("serve", "--host", host, "--port", "0", status=status)
    assert host in ended.stderr
    assert ended.stderr.endswith("by --host\n" if status == 78 else "by --port\n")
    assert len(ended.stderr.splitlines()) == 1


def test_an_outdated_schema_forbids_the_start_until_it_is_migrated(bare: Hanaper) -> None:
    # An installation whose schema has gone, which is as outdated as it gets while there is one migration only.
    bare("init", "--demo")
    hanaper = Hanaper(bare.forks, bare.folder, clean_environment(HANAPER_DATA_DIR=str(bare.folder / "data")))
    key = (hanaper.data_dir / "key-encryption-key").read_bytes()
    (hanaper.data_dir / "hanaper.db").unlink()
    ended = hanaper("serve", "--port", "0", status=78)
    assert ended.last_line.endswith("hanaper.db: run `hanaper init` first, or put it back from its backup")
    # Nothing is made in its place.
    assert not (hanaper.data_dir / "hanaper.db").exists()
    migrated = hanaper("serve", "--port", "0", "--migrate", status=78)
    assert migrated.last_line.endswith("has no global signing key: run `hanaper init`")
    assert hanaper("db", "check", "--json").json["current"] is True
    hanaper("init", "--demo")
    with hanaper.serving(**MEASURED) as server:
        assert ask(server.url)["code"] == 815
    assert (hanaper.data_dir / "key-encryption-key").read_bytes() == key


def test_a_newer_schema_forbids_the_start(demo: Hanaper) -> None:
    demo.sql("UPDATE alembic_version SET version_num = '9999'")
    ended = demo("serve", "--port", "0", status=78)
    assert ended.stdout == ""
    assert ended.stderr == (
        f"hanaper: sqlite:///{demo.data_dir / 'hanaper.db'} has schema 9999, which is newer than this hanaper: "
        "install the newer release\n"
    )


# --- what changes while it runs ---


def test_products_and_keys_change_while_the_server_runs(demo: Hanaper) -> None:
    with demo.serving(**MEASURED) as server:
        url = server.url
        assert ask(url)["code"] == 815
        demo("product", "add", "Second")
        demo("generator", "add", "--product", "second", "--prefix", "S-")
        key = demo("api-key", "add", "Shop", "--product", "second", "--json").json["api_key"]
        pem = demo.folder / "second.pem"
        demo("public-key", "--product", "second", "-o", str(pem))
        second = {**FORM, "api_key": key, "generator_id": "2"}
        with client(url, demo, pem) as api:
            answer = api.post("/api/v1/generate", second)
            assert (answer.code, answer.signed_by) == (815, "product")
            assert all(license_key.startswith("S-") for license_key in answer.payload["licenseKeys"])
            assert api.post("/api/v1/generate", {**FORM, "api_key": key}).code == 806
            demo("generator", "disable", "2")
            assert api.post("/api/v1/generate", second).code == 806
            demo("api-key", "revoke", "2")
            assert api.post("/api/v1/generate", second).code == 101
            demo("block-list", "add", "--address", "127.0.0.0/8")
            assert api.post("/api/v1/generate", FORM).code == 150
        assert server.stop() == 0


# --- what it says ---


def warnings_of(server: Server) -> list[dict[str, Any]]:
    server.wait_for("serving")
    return [line for line in map(json.loads, server.lines) if line["level"] not in ("debug", "info")]


def test_demo_data_on_an_open_address_are_warned_of(demo: Hanaper) -> None:
    with demo.serving("--host", "0.0.0.0", **MEASURED) as server:  # noqa: S104 -- this is what the warning is about
        warnings = warnings_of(server)
        assert [line["event"].split(":")[0] for line in warnings] == ["this installation has demo data"]
        assert "hanaper api-key revoke" in warnings[0]["cure"]


def test_settings_come_from_the_environment_as_well(demo: Hanaper) -> None:
    environment = {"HANAPER_MAX_QUANTITY": "9", "HANAPER_HOST": "localhost", "HANAPER_OPENAPI": "true"}
    with demo.serving(**MEASURED, **environment) as server:
        assert warnings_of(server) == []
        with client(server.url, demo) as api:
            refused = api.post("/api/v1/generate", FORM)
            assert refused.errors == {"quantity": ["The quantity field must not be greater than 9."]}
            assert api.http.get("/openapi.json").json()["info"]["title"] == "hanaper"


def test_the_log_may_be_text_for_people(demo: Hanaper) -> None:
    with demo.serving(HANAPER_LOG_FORMAT="text", **MEASURED) as server:
        with server.more:
            assert server.more.wait_for(lambda: any("serving" in line for line in server.lines), 60)
        assert "url=http://127.0.0.1:" in server.log
        assert "database=sqlite:///" in server.log


def test_the_server_is_ready_when_its_database_is(demo: Hanaper) -> None:
    with demo.serving(**MEASURED) as server:
        for path, said in (("/healthz", "ok\n"), ("/readyz", "ready\n")):
            answer = httpx.get(f"{server.url}{path}", timeout=60, trust_env=False)
            assert (answer.status_code, answer.text) == (200, said)
        threads = [threading.Thread(target=ask, args=(server.url,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.wait_for("request", times=3)
        line = server.events("request")[0]
        assert {"method", "path", "status", "ms", "request_id", "timestamp", "level"} <= set(line)
        assert (line["method"], line["path"], line["status"]) == ("POST", "/api/v1/generate", 200)
        assert len({line["request_id"] for line in server.events("request")}) == 3
