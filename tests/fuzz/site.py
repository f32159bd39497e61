"""The application on SQLite, spoken to by bytes, without a socket."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from tests.conftest import client_of
from tests.support.api import PATIENT
from uvicorn.server import ServerState

from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.install import Installed, install
from hanaper.metrics.meter import Meter
from hanaper.protocol import codes
from hanaper.settings import Settings
from hanaper.web.http_protocol import HttpProtocol

UNSIGNED = {"/healthz", "/readyz", "/.well-known/jwks.json"}
_ENDS_THE_WORLD = {codes.PRODUCT_DELETED.number, codes.PRODUCT_UPDATED.number}
_LONGEST_S = 30
MOST_QUANTITY = 20


class Wire(asyncio.Transport):
    """A connection: what is sent is kept."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 1024)})
        self.sent = bytearray()
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


class Recorder(Meter):
    """Which codes have been answered, or would have been, had the client stayed."""

    def __init__(self) -> None:
        self.codes: list[int | None] = []

    def answered(self, endpoint: str, code: int | None, status: int, seconds: float) -> None:  # noqa: ARG002 -- told anyway
        self.codes.append(code)


class Site:
    """A server, and its only client."""

    def __init__(self, settings: Settings, installed: Installed) -> None:
        self._settings = settings
        self._client = client_of("http://fuzz", installed)
        self._loop = asyncio.new_event_loop()
        self._template = settings.data_dir.with_name("template")
        shutil.copytree(settings.data_dir, self._template)
        self._open()

    def _open(self) -> None:
        self._recorder = Recorder()
        self._services = open_services(self._settings, meter=self._recorder)
        self._app = create_app(self._services)
        self._config = uvicorn.Config(
            self._checked,
            interface="asgi3",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        self._config.load()
        self._answered = 0
        self._failures: list[Exception] = []

    def close(self) -> None:
        self._close_services()
        self._client.http.close()
        self._loop.close()

    def _close_services(self) -> None:
        self._services.limiter.close()
        self._services.storage.close()

    def exchange(self, data: bytes) -> bytes:
        """Send bytes, and check each answer; what came back."""
        self._answered = 0
        self._recorder.codes.clear()
        self._failures.clear()
        wire = Wire()
        self._loop.run_until_complete(self._serve(wire, data))
        if self._failures:
            raise self._failures[0]
        assert codes.INTERNAL_ERROR.number not in self._recorder.codes
        assert not wire.sent or wire.sent.startswith(b"HTTP/1.1 ")
        if not self._answered and wire.sent:
            assert wire.sent.startswith((b"HTTP/1.1 400 Bad Request\r\n", b"HTTP/1.1 100 Continue\r\n"))
        if _ENDS_THE_WORLD.intersection(self._recorder.codes):
            self._close_services()
            shutil.rmtree(self._settings.data_dir)
            shutil.copytree(self._template, self._settings.data_dir)
            self._open()
        return bytes(wire.sent)

    async def _serve(self, wire: Wire, data: bytes) -> None:
        state = ServerState()
        protocol = HttpProtocol(self._config, state, {}, deadlines=PATIENT)
        protocol.connection_made(wire)
        # In two pieces, as networks do.
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            if piece and not wire.is_closing():
                protocol.data_received(piece)
        is_there = True
        while state.tasks:
            if is_there and protocol.cycle.more_body and not protocol.pipeline:
                # It may wait for the rest of a body, which does not come.
                await asyncio.wait(state.tasks, timeout=0.002)
                if state.tasks:
                    protocol.connection_lost(None)
                    is_there = False
                continue
            done, _ = await asyncio.wait(state.tasks, timeout=_LONGEST_S, return_when=asyncio.FIRST_COMPLETED)
            assert done, "no answer"
        if is_there:
            protocol.connection_lost(None)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._check(scope, receive, send)
        except Exception as error:
            # Raised where the fuzzer hears of it: uvicorn makes an answer of it.
            self._failures.append(error)
            raise

    async def _check(self, scope: Scope, receive: Receive, send: Send) -> None:
        started: Message = {}
        body = bytearray()

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                body.extend(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, sent)
        assert started, "no answer"
        self._answered += 1
        status = started["status"]
        assert status < 500, status
        if scope["path"] in UNSIGNED and status in (200, 405):
            return
        self._client.check(httpx.Response(status, headers=started["headers"], content=bytes(body)))


@contextmanager
def site() -> Iterator[Site]:
    """One with demo data, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="hanaper-fuzz-", ignore_cleanup_errors=True) as folder:
        settings = Settings(data_dir=Path(folder) / "data", failures_per_minute=0, max_quantity=MOST_QUANTITY)
        opened = Site(settings, install(settings, demo=True, now=utc_now()))
        yield opened
        opened.close()
