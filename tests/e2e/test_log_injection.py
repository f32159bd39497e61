"""What a client sends never makes a line of the log, nor a header of an answer (T37)."""

import json
import re
from urllib.parse import quote, urlencode

import pytest
from tests.support.load import SAMPLE_KEY
from tests.support.processes import Hanaper
from tests.support.proxy import free_port
from tests.support.raw import send

FORGED = '{"event":"forged","level":"info"}'
VALUES = [
    f"\r\n{FORGED}\r\n",
    f"\n{FORGED}",
    f"\r{FORGED}",
    f"\0{FORGED}",
    f"\x1b[2K\x1b[1G{FORGED}",
    f"\u2028{FORGED}",
    f"\u2029{FORGED}",
    f"\x85{FORGED}",
    f"\x0b\x0c\x1c\x1d\x1e{FORGED}",
    "\r\nSet-Cookie: forged=1\r\n\r\n",
    "\r\nHTTP/1.1 200 OK\r\n\r\n",
    '"}\n{"event":"forged"}',
    "\\n" + FORGED,
    "%0a" + FORGED,
    "\x08" * 40 + FORGED,
    "\x7f\x9b31m" + FORGED,
    "a" * 8000,
    "\u202e" + FORGED,
    "{event}",
    "%(message)s %s %d",
]
FORM = ("Content-Type", b"application/x-www-form-urlencoded")
HEADERS = {
    "connection",
    "retry-after",
    "idempotent-replayed",
    "cache-control",
    "content-length",
    "content-type",
    "date",
    "x-content-type-options",
    "x-request-id",
    "x-signing-key-id",
    "allow",
}


def requests(value: str) -> list[tuple[str, str, list[tuple[str, bytes]], bytes]]:
    """Requests with a value in each place from which something could get into a log or a header."""
    generate, order = "/api/v1/generate", {"api_key": SAMPLE_KEY, "generator_id": "1", "quantity": "1"}
    # What no client can send in a header, because it ends it, is left out there.
    header = re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", "", value).encode()[:4000]
    return [
        ("GET", f"/{quote(value)}", [], b""),
        ("GET", f"/api/v1/get-all-generators?{urlencode({**order, 'product_id': value})}", [], b""),
        *(
            ("POST", generate, [FORM], urlencode({**order, name: value}).encode())
            for name in [*order, "idempotency_key", "identifier"]
        ),
        *(
            ("POST", generate, [FORM, (name, header)], urlencode(order).encode())
            for name in ("User-Agent", "X-Request-Id", "Idempotency-Key", "X-Forwarded-For", "Referer", "Origin")
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("form", ["json", "text"])
def test_no_line_and_no_header_is_forged(demo_on_either: Hanaper, form: str) -> None:
    asked = [each for value in VALUES for each in requests(value)]
    port = str(free_port())
    with demo_on_either.serving("--port", port, HANAPER_LOG_FORMAT=form, HANAPER_LOG_LEVEL="debug") as server:
        with server.more:
            # In the other form it is no JSON, which `wait_for` wants.
            assert server.more.wait_for(lambda: any("startup complete" in line for line in server.lines), 60)
        for method, path, headers, body in asked:
            response = send(f"http://127.0.0.1:{port}", method, path, headers, body)
            assert {name.lower() for name in response.headers} <= HEADERS
        server.process.terminate()
        server.read_to_the_end()
        lines = list(server.lines)
    told = [line for line in lines if re.search(r"\brequest\b", line) and "path" in line]
    assert len(told) == len(asked)
    if form == "json":
        assert not [line for line in lines if json.loads(line)["event"] == "forged"]
    else:
        assert not [line for line in lines if not re.match(r"\d{4}-\d\d-\d\d", line)]
    for line in lines:
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", line), line
