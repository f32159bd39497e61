"""A network to the database that fails when it is told to."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.clusters import free_port

Way = Literal["to", "from"]
"""To the database, or from it."""

_CHUNK = 65_536


@dataclass(eq=False)
class _Pair:
    """A connection through the proxy: both its ends."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    cut_after: int | None = None
    reset: bool = False


@dataclass
class Proxy:
    """A TCP proxy. What it does to the bytes may be changed at any time, for connections that are open, too.

    Attributes:
        latency_s: each piece is kept so long, in each direction.
        slice_bytes: what comes from the database is handed on in pieces of so many.
        marker: bytes in what a client sends. The answer to it is cut:
        cut_after: after so many bytes, and the connection with it, as it ends in order, or
        reset: as it breaks.
        cuts: how often that was done.
        connections: that were made so far.
    """

    upstream_port: int
    port: int = 0
    latency_s: float = 0.0
    slice_bytes: int = _CHUNK
    marker: bytes | None = None
    cut_after: int = 0
    reset: bool = False
    cuts: int = 0
    connections: int = 0
    _pairs: set[_Pair] = field(default_factory=set)
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    started: threading.Event = field(default_factory=threading.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        """Be the proxy, until it is stopped."""
        self._loop = asyncio.get_running_loop()
        self._open.set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.started.set()
        await self._over.wait()
        server.close()
        await self._break_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)

    def url(self, database: str, user: str = "hanaper") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def hold(self) -> None:
        """Swallow everything from now on: nothing arrives, and nobody is told."""
        self._call(self._set(on=False))

    def release(self) -> None:
        """Hand on what was kept, as a network does when its packets are sent again."""
        self._call(self._set(on=True))

    def break_all(self) -> None:
        """Break every connection that is open."""
        self._call(self._break_all())

    @property
    def open_connections(self) -> int:
        return len(self._pairs)

    async def _set(self, *, on: bool) -> None:
        if on:
            self._open.set()
        else:
            self._open.clear()

    async def _break_all(self) -> None:
        for pair in list(self._pairs):
            _end(pair, reset=True)

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            upstream, server = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        except OSError:
            client.close()
            return
        pair = _Pair(client, server)
        self._pairs.add(pair)
        ways = [
            asyncio.ensure_future(self._copy("to", reader, server, pair)),
            asyncio.ensure_future(self._copy("from", upstream, client, pair)),
        ]
        # Cancelled only when the proxy stops.
        with suppress(asyncio.CancelledError):
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for task in ways:
            task.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._pairs.discard(pair)
        _end(pair, reset=pair.reset)

    async def _copy(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: _Pair) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)
                await self._open.wait()
                if way == "to":
                    if self.marker is not None and self.marker in data:
                        pair.cut_after, pair.reset = self.cut_after, self.reset
                    writer.write(data)
                elif not await self._answer(data, writer, pair):
                    return
                await writer.drain()

    async def _answer(self, data: bytes, writer: asyncio.StreamWriter, pair: _Pair) -> bool:
        """Hand bytes of the database on; whether the connection goes on."""
        goes_on = True
        if pair.cut_after is not None:
            goes_on = len(data) < pair.cut_after
            data = data[: pair.cut_after]
            pair.cut_after -= len(data)
        for start in range(0, len(data), self.slice_bytes):
            writer.write(data[start : start + self.slice_bytes])
            await writer.drain()
            if self.slice_bytes < _CHUNK:
                await asyncio.sleep(0)
        if not goes_on:
            self.cuts += 1
        return goes_on


def _end(pair: _Pair, *, reset: bool) -> None:
    for writer in (pair.client, pair.server):
        raw = writer.get_extra_info("socket")
        if reset and raw is not None and raw.fileno() >= 0:
            # A close that does not wait for what is still to be sent is a reset.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()


@contextmanager
def proxied(upstream_port: int) -> Iterator[Proxy]:
    """A proxy in a thread of its own."""
    proxy = Proxy(upstream_port, free_port())
    thread = threading.Thread(target=asyncio.run, args=(proxy.run(),), daemon=True)
    thread.start()
    assert proxy.started.wait(10)
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(10)
