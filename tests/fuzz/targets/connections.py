"""The whole server: what comes in over a connection. See `fuzz/site.py` for what has to hold.

`@KEY@` stands for a good API key, `@NEW@` for an idempotency key that nothing else uses, `@LENGTH@` for the number of
bytes behind the first empty line.
"""

import atexit
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from itertools import islice

from tests.conftest import SAMPLE_KEY
from tests.fuzz.site import Site, site
from tests.support import generated, malformed

LONGEST_SEED = 1500
GENERATED = 300
COST = 3
"""As many times less is done by chance: each is a request."""


def run(data: bytes) -> None:
    new = hashlib.sha256(data).hexdigest()[:32]
    written = data.replace(b"@KEY@", SAMPLE_KEY.encode()).replace(b"@NEW@", new.encode())
    length = len(written.partition(b"\r\n\r\n")[2])
    _site().exchange(written.replace(b"@LENGTH@", str(length).encode()))


def seeds() -> Iterator[bytes]:
    for row in malformed.corpus():
        if len(row.body) < LONGEST_SEED:
            yield _written(row.method, row.path, row.headers, row.body)
    for asked in islice(generated.by_chance(26), GENERATED):
        yield _written(asked.method, asked.path, asked.headers, asked.body).replace(SAMPLE_KEY.encode(), b"@KEY@")
    for path in ("/healthz", "/readyz", "/.well-known/jwks.json", "/openapi.json", "*", "http://x/api/v1/generate"):
        yield _written("GET", path, (), b"")
    yield _written("HEAD", "/readyz", (), b"") + _written("OPTIONS", "/v1/generate", (), b"")
    yield b"POST /v1/generate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a\r\na=1\r\n0\r\nX: y\r\n\r\n"
    yield b"POST /v1/generate HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\na=1"
    yield b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def _written(method: str, path: str, headers: tuple[tuple[str, bytes], ...], body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: x"]
    lines += [name.encode() + b": " + value for name, value in headers]
    if body or method == "POST":
        lines.append(b"Content-Length: @LENGTH@")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@cache
def _site() -> Site:
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(site())
