"""The figures of several processes: whoever dies, nothing that was counted is lost, and nothing dead is shown."""

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry
from tests.support.metrics import Figures, figures_of

from hanaper import api
from hanaper.metrics import expose, shared
from hanaper.metrics.meter import OFF
from hanaper.protocol import codes

# Counts what it is told on standard input, and lives until it is killed.
PROCESS = """
import json, sys
from hanaper.metrics import expose
meter = expose.joined()
for line in sys.stdin:
    for name, *values in json.loads(line):
        getattr(meter, name)(*values)
    print("done", flush=True)
"""


class Process:
    """A process that has taken a place."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.tell()

    def tell(self, *told: tuple[object, ...]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with shared.shared_folder() as made:
        yield made


@pytest.fixture
def figures(folder: Path) -> Callable[[], Figures]:
    registry = CollectorRegistry()
    shared.SharedFigures(registry, folder)
    return lambda: figures_of(registry)


@contextmanager
def started(number: int) -> Iterator[list[Process]]:
    processes = [Process() for _ in range(number)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


LIFE = (
    ("answered", "generate", 815, 200, 0.01),
    ("batch", 10),
    ("pool", 16),
    ("queue", 3),
    ("connection_taken",),
    ("calls_waiting", 7),
)


def test_processes_are_added_up_and_the_dead_are_remembered_by_what_they_did(
    folder: Path, figures: Callable[[], Figures]
) -> None:
    with started(2) as (first, second):
        for process in (first, second):
            process.tell(*LIFE)
        found = figures()
        assert found.of("hanaper_answers_total", endpoint="generate", code="815", status="200") == 2
        assert found["hanaper_batch_license_keys_sum"] == 20
        assert found["hanaper_database_pool_connections"] == 32
        assert found["hanaper_writer_queue_jobs"] == 6
        assert found["hanaper_database_connections_in_use"] == 2
        assert found["hanaper_outgoing_calls_waiting"] == 7
        assert shared.serving_processes(folder) == 2

        second.kill()
        found = figures()
        assert found.of("hanaper_answers_total", endpoint="generate", code="815", status="200") == 2
        assert found["hanaper_batch_license_keys_sum"] == 20
        assert found["hanaper_database_pool_connections"] == 16
        assert found["hanaper_writer_queue_jobs"] == 3
        assert found["hanaper_database_connections_in_use"] == 1
        assert shared.serving_processes(folder) == 1

        with started(1) as (third,):
            # It goes on where the dead one stopped, but says of itself only what is so.
            third.tell(("batch", 1), ("connection_taken",), ("connection_given_back",))
            found = figures()
            assert found["hanaper_batch_license_keys_sum"] == 21
            assert found["hanaper_database_connections_in_use"] == 1
            assert sorted(file.name for file in folder.glob("counter_*")) == ["counter_0.db", "counter_1.db"]


def test_who_takes_the_place_of_a_dead_process_that_nobody_has_looked_at_since(
    figures: Callable[[], Figures],
) -> None:
    with started(1) as (first,):
        first.tell(*LIFE)
        first.kill()
        with started(1) as (second,):
            second.tell(("batch", 1))
            found = figures()
    assert found["hanaper_batch_license_keys_sum"] == 11
    assert found["hanaper_database_connections_in_use"] == 0
    assert found["hanaper_writer_queue_jobs"] == 0


@pytest.mark.parametrize("blind", ["the reader", "the successor"])
def test_the_tests_above_would_notice_if_the_dead_were_not_told_from_the_living(
    folder: Path, figures: Callable[[], Figures], blind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: nobody takes back what a dead process last said of itself."""
    if blind == "the reader":
        monkeypatch.setattr(shared, "mark_process_dead", lambda *_: None)
        with started(1) as (first,):
            first.tell(*LIFE)
            first.kill()
            assert figures()["hanaper_database_pool_connections"] == 16
        return
    monkeypatch.setitem(globals(), "PROCESS", f"from hanaper.metrics import shared\n{BLIND}\n{PROCESS}")
    with started(1) as (first,):
        first.tell(*LIFE)
        first.kill()
        with started(1):
            assert figures()["hanaper_database_connections_in_use"] == 1
    assert folder.exists()


BLIND = "shared.mark_process_dead = lambda *_: None"


def test_the_folder_is_private_and_gone_afterwards(scratch: Path) -> None:
    with shared.shared_folder() as folder:
        assert os.environ[shared.VARIABLE] == str(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with started(1) as (process,):
            process.tell(*LIFE)
        assert list(folder.glob("*.db"))
    assert list(scratch.iterdir()) == []
    assert shared.VARIABLE not in os.environ


def test_what_killed_servers_left_is_cleared_away_and_nothing_else(scratch: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (scratch / "hanaper-metrics-link").symlink_to(elsewhere)
    (scratch / "hanaper-metrics-file").touch()
    (scratch / "other").mkdir()
    for name in ("abandoned", "alive", "young"):
        (scratch / f"hanaper-metrics-{name}").mkdir()
        (scratch / f"hanaper-metrics-{name}" / "counter_0.db").touch()
    for path in [elsewhere, *scratch.iterdir()]:
        if not path.name.endswith("young"):
            os.utime(path, (0, 0), follow_symlinks=False)
    alive = os.open(scratch / "hanaper-metrics-alive", os.O_RDONLY)
    fcntl.flock(alive, fcntl.LOCK_EX)
    with shared.shared_folder() as folder:
        left = {path.name.removeprefix("hanaper-metrics-") for path in scratch.iterdir() if path != folder}
        # One that starts meanwhile takes it for what it is: in use.
        os.utime(folder, (0, 0))
        with shared.shared_folder():
            assert folder.exists()
    os.close(alive)
    assert left == {"alive", "young", "link", "file", "other"}
    assert (elsewhere / "file").exists()


def test_everything_there_can_be_to_count_fits_into_the_files(folder: Path) -> None:
    """A file that grew would have a hole, and touching it on a full disk would end the process."""
    with started(1) as (process,):
        for endpoint in {*api.endpoint_names().values(), "other"}:
            told = [("answered", endpoint, code.number, code.http_status, 0.01) for code in codes.BY_NUMBER.values()]
            process.tell(*told, ("answered", endpoint, None, 200, 0.01), ("answered", endpoint, None, 500, 0.01))
        process.tell(*LIFE, ("call", "done"), ("unavailable", "queue"), ("signed", 0.1), ("group", "read", 1, 0.1))
    for kind, size in shared.SIZES.items():
        file = folder / f"{kind}_0.db"
        assert file.stat().st_size == size, kind
        # No hole: all of it lies on the disk.
        assert file.stat().st_blocks * 512 >= size, kind


def test_that_nothing_can_be_measured_is_no_reason_not_to_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    with structlog.testing.capture_logs() as logs:
        assert expose.joined() is OFF
        monkeypatch.setenv(shared.VARIABLE, "/no/such/folder")
        assert expose.joined() is OFF
    assert [line["log_level"] for line in logs] == ["warning", "error"]
    assert "No such file or directory" in logs[1]["reason"]
