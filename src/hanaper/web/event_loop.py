"""The event loop of a serving process: it shares the listening socket fairly with the others (decision 0008)."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

from hanaper import log
from hanaper.web.turn_away import let_in

try:
    from uvloop import Loop as _Loop
except ImportError:  # no wheel for this platform
    from asyncio import SelectorEventLoop as _Loop  # type: ignore[assignment]  # the same interface

PAUSE_S = 1.0
REST_S = 0.001
"""After each connection. Only who has taken none lately takes the next."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_logger = log.get(__name__)


class EventLoop(_Loop):
    """A loop whose servers accept one connection at a time.

    Event loops take all connections that wait as soon as they see one. With several processes on one socket, whoever
    wakes first would then serve nearly all clients and the others none. Who has taken one rests for a moment, so that
    they take turns.
    """

    rest_s = REST_S

    async def create_server(self, protocol_factory: Any, *arguments: Any, **options: Any) -> Any:
        """As in the base class, where no listening socket is given."""
        listener = options.get("sock")
        if listener is None:
            return await super().create_server(protocol_factory, *arguments, **options)
        return _Server(self, listener, protocol_factory, self.rest_s)


class LoneEventLoop(EventLoop):
    """The same for a process that serves alone: there is nobody to leave a connection to."""

    rest_s = 0.0


class _Server:
    """Accepts connections of one socket."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        protocol_factory: Callable[[], asyncio.Protocol],
        rest_s: float,
    ) -> None:
        self.sockets = (listener,)
        self._loop = loop
        self._listener = listener
        self._protocol_factory = protocol_factory
        self._rest_s = rest_s
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        self._closed = True
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Connections are the protocols' to close."""

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._accept)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(seconds, self._listen)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # Another process was faster, or the client has left.
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            # Without a pause the loop would do nothing but try.
            _logger.warning("no connection can be accepted", reason=error.strerror)
            self._rest(PAUSE_S)
            return
        if self._rest_s:
            self._rest(self._rest_s)
        let_in(connection)
        connection.setblocking(False)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol_factory, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
