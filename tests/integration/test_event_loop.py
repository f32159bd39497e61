"""The event loop of a serving process: fair to its neighbours, and not to be stopped by a bad connection."""

import asyncio
import errno
import gc
import os
import socket
import struct
import sys
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from importlib.util import module_from_spec, spec_from_file_location
from threading import Timer
from types import ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from hanaper.web import event_loop

EXHAUSTED = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]


@pytest.fixture(params=["uvloop", "asyncio"])
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it is with uvloop, and as it is where there is none."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    else:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    spec = spec_from_file_location("event_loop_under_test", event_loop.__file__)
    assert spec is not None
    assert spec.loader is not None
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    assert issubclass(loaded.EventLoop, asyncio.SelectorEventLoop) == (request.param == "asyncio")
    return loaded


class Watched:
    """An event loop, and what failed on it behind everybody's back."""

    def __init__(self, module: ModuleType) -> None:
        self.loop: AbstractEventLoop = module.EventLoop()
        self.faults: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))

    def until(self, enough: Any) -> None:
        """Run until something has come true."""

        async def wait() -> None:
            while not enough():  # noqa: ASYNC110 -- a callback of the loop may fail, and then nothing would tell
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(asyncio.wait_for(wait(), 60))

    def one_round(self) -> None:
        """Do what is there to be done, and do not wait."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def rounds(self, number: int) -> None:
        for _ in range(number):
            self.one_round()

    def close(self) -> None:
        self.rounds(5)
        gc.collect()
        self.rounds(2)
        self.loop.close()


@pytest.fixture
def watched(module: ModuleType) -> Iterator[Watched]:
    made = Watched(module)
    with closing(made):
        yield made


class Greeter(asyncio.Protocol):
    """Says hello, and then what it hears."""

    def __init__(self, connections: list["Greeter"]) -> None:
        self._connections = connections
        self.transport: Any = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._connections.append(self)
        self.transport.write(b"hello ")

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost = True


class Listener(socket.socket):
    """A listening socket as `hanaper serve` makes it, at which accepting may fail."""

    def __init__(self) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.bind(("127.0.0.1", 0))
        self.listen(128)
        self.failures: list[int] = []
        self.asked = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.asked += 1
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()

    def connect_to(self) -> socket.socket:
        return socket.create_connection(self.getsockname(), timeout=60)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as made:
        yield made


class Served:
    """A server on a loop, with the connections it has made."""

    def __init__(self, watched: Watched, listener: socket.socket) -> None:
        self.connections: list[Greeter] = []
        self._watched = watched
        self.server = watched.loop.run_until_complete(
            watched.loop.create_server(lambda: Greeter(self.connections), sock=listener)
        )

    def greets(self, client: socket.socket) -> None:
        """The client is served."""
        before = len(self.connections)
        self._watched.until(lambda: len(self.connections) > before)
        client.sendall(b"world")
        self.answers(client, b"hello world")

    def answers(self, client: socket.socket, expected: bytes) -> None:
        client.setblocking(False)
        received = bytearray()

        def hear() -> bool:
            with suppress(BlockingIOError):
                received.extend(client.recv(100))
            return len(received) >= len(expected)

        self._watched.until(hear)
        assert bytes(received) == expected

    def end(self) -> None:
        self.server.close()
        for connection in self.connections:
            connection.transport.abort()
        self._watched.until(lambda: all(connection.lost for connection in self.connections))


@pytest.fixture
def served(watched: Watched, listener: Listener) -> Iterator[Served]:
    made = Served(watched, listener)
    yield made
    made.end()


def test_clients_are_served(listener: Listener, served: Served, watched: Watched) -> None:
    assert served.server.sockets == (listener,)
    with ExitStack() as stack:
        clients = [stack.enter_context(listener.connect_to()) for _ in range(20)]
        watched.until(lambda: len(served.connections) == 20)
        for number, client in enumerate(clients):
            client.sendall(b"number %d" % number)
        for number, client in enumerate(clients):
            served.answers(client, b"hello number %d" % number)
        assert not any(connection.lost for connection in served.connections)
    watched.until(lambda: all(connection.lost for connection in served.connections))
    assert watched.faults == []


def test_answers_do_not_wait_for_more_to_say(listener: Listener, served: Served, watched: Watched) -> None:
    """Nagle's algorithm is off."""
    with listener.connect_to():
        watched.until(lambda: served.connections)
        connection = served.connections[0].transport.get_extra_info("socket")
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert served.connections[0].transport.get_extra_info("peername")[0] == "127.0.0.1"


def test_a_client_that_does_not_read_keeps_nobody_waiting(listener: Listener, served: Served, watched: Watched) -> None:
    with listener.connect_to() as deaf, listener.connect_to() as client:
        # Else a loop that is stuck in this answer would stay there.
        rescue = Timer(20, deaf.shutdown, [socket.SHUT_RDWR])
        rescue.start()
        watched.until(lambda: len(served.connections) == 2)
        served.connections[0].transport.write(bytes(50_000_000))
        client.sendall(b"world")
        served.answers(client, b"hello world")
        assert rescue.is_alive(), "the loop waited for the one who does not read"
        rescue.cancel()


def test_loops_that_take_turns_share_the_clients(listener: Listener, module: ModuleType) -> None:
    """Of forty who wait, each takes one in a round, and leaves the next to the other."""
    with ExitStack() as stack:
        loops = [stack.enter_context(closing(Watched(module))) for _ in range(2)]
        servers = [Served(watched, listener) for watched in loops]
        clients = [stack.enter_context(listener.connect_to()) for _ in range(40)]
        while sum(len(server.connections) for server in servers) < len(clients):
            for watched in loops:
                watched.one_round()
        shares = [len(server.connections) for server in servers]
        assert min(shares) >= 12, shares
        assert [watched.faults for watched in loops] == [[], []]
        for server in servers:
            server.end()


def test_who_has_just_taken_a_client_leaves_the_next_to_the_others(
    listener: Listener, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it looks, and even if the others look later."""
    monkeypatch.setattr(module.EventLoop, "rest_s", 3600)
    with ExitStack() as stack:
        loops = [stack.enter_context(closing(Watched(module))) for _ in range(2)]
        servers = [Served(watched, listener) for watched in loops]
        clients = [stack.enter_context(listener.connect_to()) for _ in range(3)]
        for watched in loops:
            watched.rounds(20)
        assert [len(server.connections) for server in servers] == [1, 1]
        for client, server in zip(clients, servers, strict=False):
            server.answers(client, b"hello ")
        for server in servers:
            server.end()


def test_a_process_that_serves_alone_does_not_rest(listener: Listener, module: ModuleType) -> None:
    with closing(Watched(module)) as watched, ExitStack() as stack:
        watched.loop.close()
        watched.loop = module.LoneEventLoop()
        watched.loop.set_debug(False)
        served = Served(watched, listener)
        for _ in range(20):
            stack.enter_context(listener.connect_to())
        # With a rest of a millisecond after each it would be one or two.
        watched.rounds(25)
        assert len(served.connections) >= 15
        served.end()


def test_a_server_without_a_socket_of_its_own_is_the_librarys(watched: Watched) -> None:
    connections: list[Greeter] = []

    async def serve() -> bytes:
        server = await watched.loop.create_server(lambda: Greeter(connections), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        heard = await reader.readexactly(6)
        writer.close()
        await writer.wait_closed()
        server.close()
        return heard

    assert watched.loop.run_until_complete(serve()) == b"hello "


# --- what goes wrong ---


@pytest.mark.parametrize("number", EXHAUSTED, ids=errno.errorcode.get)
def test_where_nothing_is_left_it_pauses_and_goes_on(
    module: ModuleType,
    listener: Listener,
    served: Served,
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.5)
    listener.failures = [number]
    with listener.connect_to() as client, capture_logs() as logged:
        watched.until(lambda: listener.asked)
        # The client waits all the time, and nobody tries in vain.
        watched.rounds(20)
        assert listener.asked == 1
        served.greets(client)
    assert listener.asked == 2
    assert [line["event"] for line in logged] == ["no connection can be accepted"]
    assert logged[0]["reason"] == os.strerror(number)
    assert watched.faults == []
    with listener.connect_to() as client:
        served.greets(client)


def test_while_it_pauses_who_is_there_already_is_served(listener: Listener, served: Served, watched: Watched) -> None:
    with listener.connect_to() as first:
        served.greets(first)
        listener.failures = [errno.EMFILE]
        with listener.connect_to():
            watched.until(lambda: not listener.failures)
            first.sendall(b"still there")
            served.answers(first, b"still there")
            assert len(served.connections) == 1


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EINTR, errno.ECONNABORTED], ids=errno.errorcode.get)
def test_a_client_that_has_left_or_went_to_another_process_is_no_event(
    listener: Listener, served: Served, watched: Watched, number: int
) -> None:
    listener.failures = [number] * 3
    with listener.connect_to() as client, capture_logs() as logged:
        served.greets(client)
    assert logged == []
    assert watched.faults == []


def test_an_error_that_nobody_foresaw_is_told_and_does_not_end_it(
    listener: Listener, served: Served, watched: Watched
) -> None:
    listener.failures = [errno.EPERM]
    with listener.connect_to() as client:
        served.greets(client)
    assert [type(fault["exception"]) for fault in watched.faults] == [PermissionError]


def test_clients_that_leave_at_once_do_no_harm(listener: Listener, served: Served, watched: Watched) -> None:
    for linger in (struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)):  # With a reset, and with a goodbye.
        for _ in range(20):
            client = listener.connect_to()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.close()
    with listener.connect_to() as client:
        served.answers(client, b"hello ")
    watched.until(lambda: all(connection.lost for connection in served.connections))
    watched.rounds(5)
    gc.collect()
    watched.rounds(5)
    assert watched.faults == []


def test_a_process_that_was_too_late_goes_on(
    listener: Listener, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see a client, one gets it."""
    monkeypatch.setattr(module.EventLoop, "rest_s", 0)
    with ExitStack() as stack:
        loops = [stack.enter_context(closing(Watched(module))) for _ in range(2)]
        servers = [Served(watched, listener) for watched in loops]
        for number in range(10):
            client = stack.enter_context(listener.connect_to())
            first, second = loops[number % 2], loops[1 - number % 2]
            first.rounds(3)
            second.rounds(3)
            served = servers[number % 2]
            served.answers(client, b"hello ")
        assert [len(server.connections) for server in servers] == [5, 5]
        assert [watched.faults for watched in loops] == [[], []]
        for server in servers:
            server.end()


# --- the end ---


def test_after_closing_nobody_is_accepted_any_more(listener: Listener, served: Served, watched: Watched) -> None:
    with listener.connect_to() as first:
        served.greets(first)
        served.server.close()
        watched.loop.run_until_complete(served.server.wait_closed())
        with listener.connect_to() as second:
            asked = listener.asked
            watched.rounds(20)
            assert listener.asked == asked
            assert len(served.connections) == 1
            # Who is there already is served to the end.
            first.sendall(b"still there")
            served.answers(first, b"still there")
            second.setblocking(False)
            with pytest.raises(BlockingIOError):
                second.recv(1)
        served.server.close()
    assert watched.faults == []


def test_after_closing_in_a_pause_nobody_is_accepted_any_more(
    module: ModuleType, listener: Listener, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.05)
    served = Served(watched, listener)
    listener.failures = [errno.EMFILE]
    with listener.connect_to():
        watched.until(lambda: not listener.failures)
        served.server.close()
        listener.close()
        watched.loop.run_until_complete(asyncio.sleep(0.1))
    assert served.connections == []
    assert watched.faults == []
