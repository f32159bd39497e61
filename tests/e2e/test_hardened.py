"""hanaper as a container engine runs its image: no rights, nothing to write to, nobody to talk to (T43)."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support import cage
from tests.support.by_openssl import check_answer
from tests.support.processes import LONGEST_S, PROGRAM, ForkServer, Hanaper

pytestmark = pytest.mark.long

PORT = "8000"
# What the Dockerfile sets, and nothing of whoever runs the tests.
IMAGE = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "HOME": "/nonexistent",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "HANAPER_DATA_DIR": cage.DATA,
    "HANAPER_HOST": "0.0.0.0",  # noqa: S104 -- in a network of its own
    "HANAPER_PORT": PORT,
    "HANAPER_DRAIN_DELAY": "0",
    "HANAPER_TRUSTED_PROXIES": "127.0.0.9",
    "COLUMNS": "250",
}
URL = f"http://127.0.0.1:{PORT}"
SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
WRITABLE = {"/data", "/tmp"}  # noqa: S108 -- of the cage
ELSEWHERE = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What a volume is: a folder that belongs to the user of the image."""
    if cage.why_not():
        pytest.skip(cage.why_not())
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, cage.USER, cage.USER)
    return folder


@pytest.fixture
def caged(data: Path, forks: ForkServer) -> Hanaper:
    """The command; each has a cage of its own, on the same data."""
    return Hanaper(forks, data.parent, IMAGE, program=tuple(cage.command(data, *PROGRAM)))


def the_only_child(pid: int) -> int:
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def rights(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines)}


def writable_mounts(pid: int) -> set[str]:
    mounts = [line.split(" ") for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return {mount[4] for mount in mounts if "rw" in mount[5].split(",")}


def tried_to_leave(pid: int) -> int:
    """How often somebody in the network of a process spoke to whom no way leads to."""
    names, values = re.findall(r"(?m)^Ip: (.*)$", Path(f"/proc/{pid}/net/snmp").read_text())
    old = int(dict(zip(names.split(), values.split(), strict=True))["OutNoRoutes"])
    found = re.search(r"(?m)^Ip6OutNoRoutes\s+(\d+)$", Path(f"/proc/{pid}/net/snmp6").read_text())
    return old + (int(found[1]) if found else 0)


def inside(pid: int, *program: str, status: int = 0) -> bytes:
    """What a program prints in the network of a process."""
    ran = subprocess.run(cage.entered(pid, *program), capture_output=True, timeout=LONGEST_S, check=False)
    assert ran.returncode == status, ran.stderr
    return ran.stdout


def test_the_cage_lets_nothing_be_written_but_data_and_tmp(data: Path) -> None:
    """Looked at by who is in it: the test below sees the mounts only."""
    look = ["find", "/", "-maxdepth", "5", "-path", "/proc", "-prune", "-o", "-type", "d", "-writable", "-print"]
    ran = subprocess.run(cage.command(data, *look), capture_output=True, text=True, check=False, timeout=LONGEST_S)
    assert set(ran.stdout.splitlines()) == WRITABLE, ran.stderr
    for gain in (["setpriv", "--reuid=0", "true"], ["unshare", "--user", "true"], ["mount", "-o", "remount,rw", "/"]):
        tried = subprocess.run(cage.command(data, *gain), capture_output=True, check=False, timeout=LONGEST_S)
        assert tried.returncode != 0, gain


def check_rights(pid: int) -> None:
    """Of a process that serves, while it does."""
    found = rights(pid)
    assert {found[name] for name in ("Uid", "Gid")} == {" ".join([str(cage.USER)] * 4)}
    assert found["Groups"] == ""
    assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == ("2" if cage.filtered() else "0")
    assert {place for place in writable_mounts(pid) if not place.startswith(("/proc", "/dev/"))} == WRITABLE
    assert re.findall(r"(?m)^\s*(\w+):", Path(f"/proc/{pid}/net/dev").read_text()) == ["lo"]


@contextmanager
def served(caged: Hanaper) -> Iterator[int]:
    """The server in its cage, and its process as it is called outside; it is stopped as engines stop it."""
    with caged.serving("--port", PORT) as server:
        server.wait_for("serving")
        pid = the_only_child(server.process.pid)
        yield pid
        os.kill(pid, signal.SIGTERM)
        assert server.process.wait(LONGEST_S) == 0
        server.read_to_the_end()
        assert "Traceback" not in server.log
        assert server.events("stopped")


def order(pid: int, api_key: str) -> bytes:
    form = f"api_key={api_key}&generator_id=1&quantity=10"
    return inside(pid, "curl", "--silent", "--show-error", "--fail", f"{URL}/api/v1/generate", "--data", form)


def test_it_serves_without_rights_and_speaks_to_nobody(caged: Hanaper, data: Path, tmp_path: Path) -> None:
    caged.anew("init", "--demo")
    with served(caged) as pid:
        check_rights(pid)
        assert inside(pid, "curl", "--silent", f"{URL}/readyz") == b"ready\n"
        body = order(pid, SAMPLE_KEY)
        check_rights(pid)
        assert tried_to_leave(pid) == 0
        inside(pid, sys.executable, "-c", ELSEWHERE, status=1)
        assert tried_to_leave(pid) == 1
    check_answer(body, tmp_path, data / "public-keys/product-1.pem")


@pytest.mark.slow
def test_all_that_is_documented_for_one_container_works(caged: Hanaper, data: Path, tmp_path: Path) -> None:
    """docs/docker.md, step by step; then a restoration."""
    caged.anew("init")
    with served(caged) as pid:
        caged.anew("product", "add", "Acme Editor", "--slug", "acme-editor")
        caged.anew("generator", "add", "--product", "acme-editor", "--method", "uuid")
        made = caged.anew("api-key", "add", "Shop", "--product", "acme-editor", "--ability", "generate", "--json").json
        (tmp_path / "product.pem").write_text(caged.anew("public-key", "--product", "acme-editor").stdout)
        given = check_answer(order(pid, made["api_key"]), tmp_path, tmp_path / "product.pem")
        caged.anew("check-store")
        caged.anew("audit", "verify")
        caged.anew("backup", f"{cage.DATA}/a.backup")
        assert caged.anew("doctor", "--strict", "--json").json["verdict"] == "ok"
        assert tried_to_leave(pid) == 0
    assert [row["license_key"] for row in caged.anew("key", "list", "--json").json] == given
    assert (data / "a.backup").stat().st_uid == cage.USER
    for database in data.glob("hanaper.db*"):
        database.unlink()
    caged.anew("restore", f"{cage.DATA}/a.backup")
    caged.anew("quarantine", "off", "--yes")
    caged.anew("check-store")
    assert [row["license_key"] for row in caged.anew("key", "list", "--json").json] == given
