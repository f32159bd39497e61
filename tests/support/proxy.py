"""nginx and Caddy in front of servers, with the configurations of docs/deploy."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_S = 60


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def proxy(ports: Sequence[int], folder: Path) -> Iterator[str]:
    """Run nginx in front of two servers on these ports for the length of a `with` block; yields its base URL.

    Only addresses, ports and files are others than in the file.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    front, health = free_port(), free_port()
    text = (ROOT / "docs" / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    for number, port in enumerate(ports, start=1):
        text = text.replace(f"hanaper-{number}:8000", f"127.0.0.1:{port}")
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{front};").replace("127.0.0.1:8081", f"127.0.0.1:{health}")
    text = text.replace(" /tmp/", f" {folder}/nginx-").replace("/dev/stdout", str(folder / "access.log"))
    file = folder / "nginx.conf"
    file.write_text(text, encoding="utf-8")
    command = [program, "-c", str(file), "-p", str(folder), "-e", "stderr", "-g", "daemon off;"]
    with subprocess.Popen(command) as process:
        try:
            _wait_for(health, process)
            yield f"http://127.0.0.1:{front}"
        finally:
            process.terminate()


@contextmanager
def caddy(ports: Sequence[int], folder: Path) -> Iterator[str]:
    """The same with Caddy. Its log is `caddy.log` in the folder."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("Caddy is not installed")
    front = free_port()
    text = (ROOT / "docs" / "deploy" / "Caddyfile").read_text(encoding="utf-8")
    for number, port in enumerate(ports, start=1):
        text = text.replace(f"hanaper-{number}:8000", f"127.0.0.1:{port}")
    text = text.replace("\n:8080 {", f"\nhttp://:{front} {{")
    file = folder / "Caddyfile"
    file.write_text(text, encoding="utf-8")
    command = [program, "run", "--config", str(file), "--adapter", "caddyfile"]
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "caddy.log").open("wb") as log:  # noqa: SIM117 -- the log outlives the process
        with subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process:
            try:
                _wait_for(front, process)
                yield f"http://127.0.0.1:{front}"
            finally:
                process.terminate()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + LONGEST_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=LONGEST_S).close()
        except ConnectionRefusedError:
            assert process.poll() is None, "the proxy has ended at once"
            assert time.monotonic() < deadline, "the proxy does not start"
            time.sleep(0.02)
        else:
            return
