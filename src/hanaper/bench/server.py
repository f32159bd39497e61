"""A server in processes of its own, which are gone when the measurement is."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NoReturn

from hanaper.bench.installation import HANAPER, Installation
from hanaper.refusal import Unavailable

STARTUP_S = 120.0
STOP_S = 20.0
_POLL_S = 0.005
_OK = 200


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        pid: of its first process; the others are below it.
        startup_s: from the start of the program to the first 200 of /readyz.
    """

    base_url: str
    pid: int
    startup_s: float

    @property
    def generate_url(self) -> str:
        """Where license keys are asked for."""
        return f"{self.base_url}/api/v1/generate"


@contextmanager
def serving(installation: Installation, *, workers: int, folder: Path) -> Iterator[Server]:
    """Run `hanaper serve` for the length of a `with` block.

    Args:
        folder: for its log.

    Raises:
        Unavailable: it does not start.
    """
    port = free_port()
    command = [*HANAPER, "serve", "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    with running(command, installation.environment, port=port, folder=folder) as server:
        yield server


@contextmanager
def running(
    command: Sequence[str], environment: dict[str, str], *, port: int, folder: Path, path: str = "/readyz"
) -> Iterator[Server]:
    """Run any server on 127.0.0.1 for the length of a `with` block.

    Args:
        environment: laid over that of this process.
        folder: for its log.
        path: answers 200 as soon as it is ready.

    Raises:
        Unavailable: it does not start.
    """
    file = folder / "server.log"
    with file.open("wb") as log:
        began = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 -- our own programs
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait_until_ready(process, port, path, file)
            yield Server(f"http://127.0.0.1:{port}", process.pid, time.perf_counter() - began)
        finally:
            _stop(process)


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this program as an interrupt does, so that nothing it started stays behind."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, path: str, log: Path) -> None:
    deadline, said = time.monotonic() + STARTUP_S, "it did not answer"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            raise Unavailable(f"the server stopped at once: {lines[-1] if lines else 'without a word'}")
        # The port may be open before anybody answers: the first answer ends the wait at once.
        connection = HTTPConnection("127.0.0.1", port, timeout=STARTUP_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status == _OK:
                return
            said = answer.read().decode("ascii", "replace").strip()
        except (OSError, HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(_POLL_S)
    raise Unavailable(f"the server was not ready after {STARTUP_S:g} s: {said}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    # Not SIGTERM, which has a delay for proxies.
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # The whole session: also workers whose supervisor is gone.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
