"""Whose line is it: every line of the log carries the id of its own request, however many run at once."""

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from sqlalchemy import select
from tests.support.processes import Hanaper

from hanaper.issuing.models import Batch
from hanaper.licenses.models import LicenseKey
from hanaper.storage.transactions import Storage

SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
FORM = {"api_key": SAMPLE_KEY, "generator_id": "1", "quantity": "2"}
CALLS = 240

# Its keys come from a function that no package offers, so that each order is answered with 902 and a warning.
UNABLE = """
    INSERT INTO generators (uuid, product_id, name, method, prefix, suffix, function_name, number_of_chunks,
        chunk_length, charset, activation_limit, validity, status, created_at, updated_at)
    SELECT 'unable', product_id, name, 'custom', prefix, suffix, 'not-there', number_of_chunks, chunk_length, charset,
        activation_limit, validity, status, created_at, updated_at FROM generators
"""


@dataclass(frozen=True)
class Told:
    """What a caller knows of his request."""

    request_id: str
    path: str
    status: int
    code: int


@pytest.mark.parametrize("workers", [1, 2])
def test_a_line_carries_the_id_of_its_own_request(demo: Hanaper, workers: int) -> None:
    demo.sql(UNABLE)
    with demo.serving("--workers", str(workers)) as server:
        url = server.url
        server.wait_for("Application startup complete.", times=workers)
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client, ThreadPoolExecutor(16) as threads:

            def call(number: int) -> Told:
                match number % 4:
                    case 0:
                        answer = client.post("/api/v1/generate", data=FORM)
                    case 1:
                        answer = client.post("/api/v1/generate", data={**FORM, "generator_id": "2"})
                    case 2:
                        answer = client.get(f"/v1/unknown-{number}")
                    case _:
                        answer = client.get("/v1/get-all-generators", params={"api_key": SAMPLE_KEY})
                code = answer.json()["response"]["code"]
                return Told(answer.headers["x-request-id"], answer.request.url.path, answer.status_code, code)

            told = list(threads.map(call, range(CALLS)))
        server.wait_for("request", times=CALLS)
        assert server.stop() == 0
    assert Counter(one.code for one in told) == dict.fromkeys((815, 902, 1700, 820), CALLS // 4)
    assert len({one.request_id for one in told}) == CALLS
    logged = {(line["request_id"], line["path"], line["status"]) for line in server.events("request")}
    assert logged == {(one.request_id, one.path, one.status) for one in told}
    assert len(server.events("request")) == CALLS
    warned = [line["request_id"] for line in server.events("no license keys generated")]
    assert sorted(warned) == sorted(one.request_id for one in told if one.code == 902)
    # What belongs to no request has the id of none.
    others = [json.loads(line) for line in server.lines]
    others = [line for line in others if line["event"] not in {"request", "no license keys generated"}]
    assert {line.get("request_id") for line in others} == {None}


def test_batches_are_recorded_under_the_id_that_the_caller_was_told(demo: Hanaper) -> None:
    with demo.serving() as server, httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:

        def call(_: int) -> tuple[str, list[str]]:
            answer = client.post("/api/v1/generate", data=FORM)
            return answer.headers["x-request-id"], answer.json()["response"]["licenseKeys"]

        with ThreadPoolExecutor(8) as threads:
            told = dict(threads.map(call, range(40)))
        assert server.stop() == 0
    recorded: dict[str, list[str]] = {}
    query = select(Batch.request_id, LicenseKey.license_key).join(LicenseKey, LicenseKey.batch_id == Batch.id)
    with Storage.open(demo.settings) as storage:
        rows = storage.read(lambda session: session.execute(query.order_by(LicenseKey.id)).all())
    for request_id, license_key in rows:
        recorded.setdefault(request_id, []).append(license_key)
    assert recorded == told


def test_a_server_whose_log_nobody_reads_any_more_goes_on(demo: Hanaper) -> None:
    command = [sys.executable, "-m", "hanaper", "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=demo.folder, env=demo.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stderr is not None
            url = next(line["url"] for line in map(json.loads, process.stderr) if line["event"] == "serving")
            process.stderr.close()
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                for _ in range(20):
                    assert client.post("/api/v1/generate", data=FORM).json()["response"]["code"] == 815
                    assert client.get("/unknown").json()["response"]["code"] == 1700
                # One connection all the while: no request has ended in an error after its answer.
                assert client.get("/healthz").text == "ok\n"
            assert process.poll() is None
        finally:
            process.kill()
    assert len(demo("key", "list", "--json").json) == 40
