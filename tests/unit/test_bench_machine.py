"""What is said of the machine, and what its processes cost."""

import os
from pathlib import Path

import pytest

from hanaper.bench import machine, processes, tools
from hanaper.refusal import Unavailable
from hanaper.storage.filesystem import filesystem

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
23 22 0:21 / /dev/shm rw,nosuid - tmpfs tmpfs rw
24 22 254:16 /part /data rw,relatime shared:2 master:1 - xfs /dev/disk rw
25 24 0:44 / /data/a\\040folder rw - btrfs /dev/disk rw
26 22 0:45 / /twice rw - ext4 /dev/disk rw
27 22 0:46 / /twice rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/nowhere/special", "ext4"),
        ("/dev/shm", "tmpfs"),  # noqa: S108 -- a name
        ("/dev/shmem", "ext4"),  # noqa: S108 -- a name
        ("/data/x", "xfs"),
        ("/data/a folder/x", "btrfs"),
        ("/twice", "tmpfs"),
    ],
)
def test_the_file_system_is_that_of_the_innermost_mount(folder: str, kind: str) -> None:
    assert filesystem(Path(folder), MOUNTS) == kind


def test_without_a_table_of_mounts_the_file_system_is_unknown() -> None:
    assert filesystem(Path("/"), "") == "unknown"


def test_the_description_of_the_machine_names_no_path(tmp_path: Path) -> None:
    described = machine.hardware(tmp_path)
    assert set(described) == {"processor", "cores", "memory_gb", "filesystem"}
    assert not any("/" in str(value) for name, value in described.items() if name != "processor")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_a_process_is_found_with_its_time_and_its_memory() -> None:
    [own, *_] = processes.family(os.getpid())
    assert own.parent == os.getppid()
    assert processes.cpu_s(os.getpid()) > 0
    found = processes.memory(os.getpid())
    assert "worker" in {process.role for process in found}
    assert all(process.rss_mb > 0 for process in found)
    busy, idle = processes.machine_s()
    assert busy > 0
    assert idle >= 0


def test_of_a_process_that_is_not_there_nothing_is_known() -> None:
    nobody = 2**22 + 1
    assert processes.family(nobody) == []
    assert processes.memory(nobody) == []
    assert processes.parent_of(nobody) is None
    assert processes.name_of(nobody) == ""
    assert processes.cpu_s(None) == 0


def test_a_program_that_is_missing_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match=r"wrk is not installed: apt install wrk"):
        tools.require_all()
