"""Requests as fast as they are answered, over a few connections that stay open."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from math import inf
from urllib.parse import urlsplit

HEAD = (
    b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)


def post(path: str, body: str) -> bytes:
    """The bytes of a request."""
    return HEAD % (path.encode(), len(body), body.encode())


def flood(
    url: str,
    request: Callable[[int], bytes],
    times: int,
    connections: int = 8,
    *,
    source: str | None = None,
    a_second: float = inf,
) -> Counter[int]:
    """Send so many requests; how often each HTTP status was answered.

    Args:
        request: its bytes, by its number.
        source: the address they come from; None: the usual one.
        a_second: so many at most.
    """
    parts = urlsplit(url)
    statuses: Counter[int] = Counter()

    began = time.monotonic()

    async def client(first: int) -> None:
        local = None if source is None else (source, 0)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, local_addr=local)
        for number in range(first, times, connections):
            await asyncio.sleep(began + number / a_second - time.monotonic())
            writer.write(request(number))
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            statuses[int(head.split(b" ", 2)[1])] += 1
        writer.close()
        await writer.wait_closed()

    async def work() -> None:
        await asyncio.gather(*map(client, range(connections)))

    asyncio.run(work())
    return statuses
