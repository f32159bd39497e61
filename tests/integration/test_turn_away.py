"""A port that is closed: who has come is served, who comes knows that nothing was sent."""

import asyncio
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from hanaper.web.event_loop import EventLoop, LoneEventLoop
from hanaper.web.turn_away import let_in, turn_away

FAMILIES = pytest.mark.parametrize(
    ("family", "host", "dual"),
    [(socket.AF_INET, "127.0.0.1", False), (socket.AF_INET6, "::1", False), (socket.AF_INET6, "::", True)],
    ids=["IPv4", "IPv6", "both"],
)
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="it is done by the kernel of Linux")


def listening(family: socket.AddressFamily, host: str, dual: object) -> tuple[socket.socket, tuple[str, int]]:
    """A listening socket, and the address it is reached at."""
    try:
        listener = socket.create_server((host, 0), family=family, dualstack_ipv6=bool(dual))
    except OSError:
        pytest.skip(f"this machine has no {host}")
    return listener, ("127.0.0.1" if dual else host, listener.getsockname()[1])


@ON_LINUX
@FAMILIES
def test_who_has_come_is_served_and_who_comes_is_refused(family: socket.AddressFamily, host: str, dual: object) -> None:
    listener, address = listening(family, host, dual)
    with listener, socket.create_connection(address) as early, ThreadPoolExecutor(1) as thread:
        early.sendall(b"early")
        turn_away(listener)
        late = thread.submit(socket.create_connection, address, 30)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(100) == b"early"
            listener.settimeout(0.3)
            with pytest.raises(TimeoutError):
                listener.accept()
            listener.close()
            with pytest.raises(ConnectionRefusedError):
                late.result()
            # Whoever is served is still connected.
            accepted.sendall(b"served")
            assert early.recv(100) == b"served"


@ON_LINUX
@FAMILIES
def test_who_was_on_the_way_is_heard_once_let_in(family: socket.AddressFamily, host: str, dual: object) -> None:
    listener, address = listening(family, host, dual)
    with listener, socket.socket(socket.AF_INET if dual else family) as client:
        turn_away(listener)
        # Its packets come with all their hops, as those of nobody else: so it gets a connection that is as deaf.
        hops(client, 255)
        client.connect(address)
        hops(client, 64)
        accepted, _ = listener.accept()
        with accepted:
            client.sendall(b"asked")
            accepted.settimeout(0.3)
            with pytest.raises(TimeoutError):
                accepted.recv(100)
            let_in(accepted)
            accepted.settimeout(30)
            assert accepted.recv(100) == b"asked"


@ON_LINUX
@pytest.mark.parametrize("loop", [EventLoop, LoneEventLoop])
def test_the_server_lets_in_whom_it_accepts(loop: type[EventLoop]) -> None:
    async def answered() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            turn_away(listener)
            hops(client, 255)
            client.connect(listener.getsockname())
            hops(client, 64)
            client.sendall(b"asked")
            heard = asyncio.get_running_loop().create_future()

            class Ear(asyncio.Protocol):
                def data_received(self, data: bytes) -> None:
                    heard.set_result(data)

            server = await asyncio.get_running_loop().create_server(Ear, sock=listener)
            data: bytes = await asyncio.wait_for(heard, 10)
            server.close()
            return data

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(answered()) == b"asked"


def hops(client: socket.socket, most: int) -> None:
    """What its packets come with."""
    if client.family == socket.AF_INET:
        client.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, most)
    else:
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, most)


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        turn_away(listener)
        with socket.create_connection(listener.getsockname()):
            listener.accept()[0].close()
