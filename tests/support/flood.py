"""Requests as fast as they are answered, over a few connections that stay open."""

import asyncio
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

HEAD = (
    b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)


def post(path: str, body: str) -> bytes:
    """The bytes of a request."""
    return HEAD % (path.encode(), len(body), body.encode())


def flood(url: str, request: Callable[[int], bytes], times: int, connections: int = 8) -> Counter[int]:
    """Send so many requests; how often each HTTP status was answered.

    Args:
        request: its bytes, by its number.
    """
    parts = urlsplit(url)
    statuses: Counter[int] = Counter()

    async def client(first: int) -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for number in range(first, times, connections):
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
