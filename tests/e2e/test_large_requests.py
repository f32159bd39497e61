"""A request of ten megabytes, whatever its shape, is refused after little of it has been read (T27)."""

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from tests.support.load import SAMPLE_KEY
from tests.support.processes import Hanaper, Server
from tests.support.raw import connected

pytestmark = pytest.mark.long

SIZE = 10_000_000
MOST_READ = 1_000_000
"""The limit of 64 KiB, and what a read of the event loop brings at once."""
MOST_MIB = 4.0
_FORM = b"application/x-www-form-urlencoded"
_MULTIPART = b"multipart/form-data; boundary=b"
_JSON = b"application/json"
_ORDER = urlencode({"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}).encode()
_PART = b'--b\r\nContent-Disposition: form-data; name="quantity"\r\n\r\n1\r\n'
_logger = logging.getLogger(__name__)


def _filled(piece: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    return before + piece * ((SIZE - len(before) - len(after)) // len(piece)) + after


BODIES: dict[str, tuple[bytes, bytes]] = {
    "one field": (_FORM, _filled(b"a", _ORDER + b"&x=")),
    "many fields": (_FORM, _filled(b"&a=b", _ORDER)),
    "empty fields": (_FORM, _filled(b"&", _ORDER)),
    "percent signs": (_FORM, _filled(b"%25", _ORDER + b"&x=")),
    "a long name": (_FORM, _filled(b"a", _ORDER + b"&")),
    "no type": (b"", _filled(b"a")),
    "multipart preamble": (_MULTIPART, _filled(b"x", after=b"\r\n" + _PART + b"--b--\r\n")),
    "multipart epilogue": (_MULTIPART, _filled(b"x", _PART + b"--b--\r\n")),
    "multipart headers": (_MULTIPART, _filled(b"X: y\r\n", b"--b\r\n")),
    "multipart fields": (_MULTIPART, _filled(_PART)),
    "multipart dashes": (_MULTIPART, _filled(b"--b")),
    "deep JSON": (_JSON, _filled(b"[")),
    "flat JSON": (_JSON, _filled(b'"a":1,', b"{", b'"b":1}')),
    "a long number": (_JSON, _filled(b"9", b'{"quantity":', b"}")),
    "a long text": (_JSON, _filled(b"a", b'{"quantity":"', b'"}')),
}


def _read_by(pid: int) -> int:
    """Bytes a process has read so far, from files and from connections."""
    return int(re.findall(r"rchar: (\d+)", Path(f"/proc/{pid}/io").read_text())[0])


def _memory_of(pid: int) -> float:
    return int(re.findall(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def _sent(url: str, head: bytes, body: bytes, *, chunked: bool) -> bytes:
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    if chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    answer = b""
    with connected(url) as connection, suppress(ConnectionError):
        connection.sendall(b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\n%b%b\r\n\r\n" % (head, length))
        with suppress(ConnectionError):
            connection.sendall(body)
        while part := connection.recv(65_536):
            answer += part
    return answer


@contextmanager
def _probing(server: Server) -> Iterator[list[float]]:
    """Somebody else asks meanwhile, again and again; how long that takes, in seconds."""
    took: list[float] = []
    over = threading.Event()

    def probe() -> None:
        with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
            while not over.wait(0.005):
                began = time.monotonic()
                assert client.get("/healthz").status_code == 200
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_little_is_read_of_what_is_too_large(demo_on_either: Hanaper) -> None:
    read: dict[str, int] = {}
    with demo_on_either.serving() as server:
        server.wait_for("serving")
        pid = server.process.pid
        _sent(server.url, b"", b"a" * 100_000, chunked=False)
        memory = _memory_of(pid)
        with _probing(server) as took:
            for name, (kind, body) in BODIES.items():
                head = b"Content-Type: %b\r\n" % kind if kind else b""
                for chunked in (False, True):
                    before = _read_by(pid)
                    answer = _sent(server.url, head, body, chunked=chunked)
                    read[f"{name}, chunked" if chunked else name] = _read_by(pid) - before
                    # Who does not read while he sends may find the connection reset before the answer.
                    assert answer == b"" or (answer.startswith(b"HTTP/1.1 413 ") and b'"code":1702,' in answer)
        grown = _memory_of(pid) - memory
    _logger.info("read at most %d bytes; %.1f MiB more; others waited %.0f ms at most",
                 max(read.values()), grown, max(took) * 1000)  # fmt: skip
    assert {name: bytes_ for name, bytes_ in read.items() if bytes_ > MOST_READ} == {}
    assert grown < MOST_MIB
