"""The image at work, as docs/docker.md has it run: the commands there, for a container that is nobody's."""

import json
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support import cage
from tests.support.by_openssl import check_answer
from tests.support.engine import LONGEST_S, Engine
from tests.support.image_sources import documented

pytestmark = pytest.mark.slow

MAKE_IT, USE_IT = documented("One container")
BACK_UP = documented("Backup")[1]
WRITABLE = {"/data", "/tmp"}  # noqa: S108 -- in a container
LOOK = ("sh", "-c", "find / '(' -path /proc -o -path /dev ')' -prune -o -type d -writable -print")


def renamed(block: str, engine: Engine, image: str, name: str) -> list[str]:
    """Documented commands for another container, volume, image and port."""
    block = block.replace("docker ", f"{engine.program} ").replace("hanaper-data:", f"{name}-data:")
    block = block.replace("--name hanaper ", f"--name {name} ").replace(" exec hanaper ", f" exec {name} ")
    block = re.sub(r"(:/data (?:--publish \S+ )?)hanaper\b", rf"\1{image}", block.replace(":8000:8000", "::8000"))
    if engine.program == "podman":
        block = block.replace(" --read-only ", " --read-only --read-only-tmpfs=false ")
    return [line for line in block.splitlines() if " build " not in line]


def run(command: str, folder: Path) -> str:
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@contextmanager
def started(engine: Engine, image: str, folder: Path) -> Iterator[str]:
    """The name of a container that was made and started by the documented commands."""
    if not engine.runs_containers:
        pytest.skip(f"{engine.program} lets nothing run; docker and podman do")
    name = f"hanaper-test-{uuid.uuid4().hex[:8]}"
    try:
        for command in renamed(MAKE_IT, engine, image, name):
            run(command, folder)
        yield name
    finally:
        engine("rm", "--force", name)
        engine("volume", "rm", "--force", f"{name}-data")


@pytest.fixture(scope="module")
def container(an_engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started(an_engine, image, tmp_path_factory.mktemp("container")) as name:
        wait_until_serving(an_engine, name)
        yield name


def wait_until_serving(engine: Engine, name: str) -> None:
    deadline = time.monotonic() + LONGEST_S
    while '"serving"' not in (log := log_of(engine, name)):
        assert time.monotonic() < deadline, log
        time.sleep(0.2)


def log_of(engine: Engine, name: str) -> str:
    logs = subprocess.run([engine.program, "logs", name], capture_output=True, text=True, check=True, timeout=LONGEST_S)
    return logs.stdout + logs.stderr


def state(engine: Engine, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(engine("inspect", "--format", "{{json .State}}", name))
    return found


def test_the_first_process_has_no_rights(an_engine: Engine, container: str) -> None:
    lines = an_engine("exec", container, "cat", "/proc/1/status").splitlines()
    found = {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines)}
    assert {found[name] for name in ("Uid", "Gid")} == {" ".join([str(cage.USER)] * 4)}
    assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert found["NoNewPrivs"] == "1"
    assert an_engine("exec", container, "cat", "/proc/1/comm").strip() == "hanaper"


def test_nothing_can_be_written_to_but_data_and_tmp(an_engine: Engine, container: str) -> None:
    folders = subprocess.run(
        [an_engine.program, "exec", container, *LOOK], capture_output=True, text=True, check=False, timeout=LONGEST_S
    ).stdout.splitlines()
    assert set(folders) >= WRITABLE
    assert [folder for folder in folders if not folder.startswith(tuple(WRITABLE))] == []
    an_engine("exec", container, "rm", "/opt/hanaper/bin/hanaper", status=1)


def test_the_health_check_tells_a_server_from_none(an_engine: Engine, container: str, image: str) -> None:
    _, *check = an_engine.configuration(image)["Healthcheck"]["Test"]
    an_engine("exec", container, *check)
    # Of a container with nothing in it but the check.
    python, *arguments = check
    an_engine("run", "--rm", "--entrypoint", python, image, *arguments, status=1)


def test_what_is_documented_works_and_openssl_verifies_it(
    an_engine: Engine, container: str, image: str, tmp_path: Path
) -> None:
    address = an_engine("port", container, "8000").split()[0]
    api_key = "none yet"
    for command in renamed(USE_IT, an_engine, image, container):
        asked = command.replace("127.0.0.1:8000", address).replace("api_key=...", f"api_key={api_key}")
        said = run(asked, tmp_path)
        if " api-key add " in command:
            api_key = said.split()[-1]
        if command.startswith("curl"):
            (tmp_path / "answer").write_text(said)
    given = check_answer((tmp_path / "answer").read_bytes(), tmp_path, tmp_path / "acme-editor.pem")
    listed = json.loads(an_engine("exec", container, "hanaper", "key", "list", "--json"))
    assert {row["license_key"] for row in listed} >= set(given)
    an_engine("exec", container, "hanaper", "doctor")
    an_engine("exec", container, "hanaper", "check-store")


def test_it_is_stopped_in_time_and_ends_well(an_engine: Engine, image: str, tmp_path: Path) -> None:
    """With what `docker stop` says of it: 137 is what was killed."""
    with started(an_engine, image, tmp_path) as name:
        wait_until_serving(an_engine, name)
        an_engine("stop", name)
        log = log_of(an_engine, name)
        assert state(an_engine, name)["ExitCode"] == 0, log
        assert '"stopped"' in log
        assert "Traceback" not in log
        an_engine("start", name)
        wait_until_serving(an_engine, name)


def test_a_documented_backup_can_be_restored(an_engine: Engine, container: str, image: str, tmp_path: Path) -> None:
    """On a new volume that has the key encryption key, by one who has both files."""
    for command in renamed(BACK_UP, an_engine, image, container):
        run(f"umask 077; {command}", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"hanaper.backup", "key-encryption-key"}
    volume = f"{container}-restored"
    put = 'umask 077; cat > "$1"'
    try:
        for path in tmp_path.iterdir():
            shell = ["run", "--rm", "--interactive", "--volume", f"{volume}:/data", "--entrypoint", "sh", image]
            copy = [an_engine.program, *shell, "-c", put, "sh", f"/data/{path.name}"]
            subprocess.run(copy, input=path.read_bytes(), check=True, timeout=LONGEST_S)
        here = ["run", "--rm", "--volume", f"{volume}:/data", image]
        an_engine(*here, "restore", "/data/hanaper.backup")
        an_engine(*here, "check-store")
        listed = [an_engine("exec", container, "hanaper", "key", "list"), an_engine(*here, "key", "list")]
        assert listed[0] == listed[1]
    finally:
        an_engine("volume", "rm", "--force", volume)


def test_what_is_not_installed_does_not_serve(an_engine: Engine, image: str) -> None:
    """The image has no keys, and makes none by itself."""
    if not an_engine.runs_containers:
        pytest.skip(f"{an_engine.program} lets nothing run; docker and podman do")
    refused = subprocess.run(
        [an_engine.program, "run", "--rm", image], capture_output=True, check=False, timeout=LONGEST_S
    )
    assert refused.returncode not in {0, 125, 126, 127}, refused.stderr
    assert b"hanaper init" in refused.stderr
