"""A port that is closed: who has come is served, who comes knows that nothing was sent."""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from hanaper.web.turn_away import turn_away


@pytest.mark.skipif(sys.platform != "linux", reason="it is done by the kernel of Linux")
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_who_has_come_is_served_and_who_comes_is_refused(family: socket.AddressFamily, host: str) -> None:
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    address = listener.getsockname()[:2]
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


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        turn_away(listener)
        with socket.create_connection(listener.getsockname()):
            listener.accept()[0].close()
