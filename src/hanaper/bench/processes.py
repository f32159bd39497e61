"""Memory and processor time of processes, from /proc. Where there is none, nothing is known."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
# Places behind the name in /proc/PID/stat (proc_pid_stat(5) counts two more).
_PARENT, _FIRST_TIME, _LAST_TIME = 1, 11, 14


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it stands.

    Attributes:
        cpu_s: processor time so far, and that of its children that have ended.
    """

    pid: int
    parent: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process in megabytes (10^6 bytes).

    Attributes:
        role: "worker", "supervisor" or "helper".
        rss_mb: resident.
        pss_mb: the same with shared pages counted in parts; None where the kernel does not tell.
    """

    role: str
    rss_mb: float
    pss_mb: float | None


def family(pid: int) -> list[Process]:
    """A process and all below it."""
    everyone = list(_everyone())
    members = [process for process in everyone if process.pid == pid]
    for member in members:
        members.extend(process for process in everyone if process.parent == member.pid)
    return members


def cpu_s(pid: int | None) -> float:
    """Processor time so far of a process and all below it, in seconds."""
    return 0.0 if pid is None else sum(process.cpu_s for process in family(pid))


def memory(pid: int) -> list[Memory]:
    """Memory of a server's processes, those that serve first."""
    members = family(pid)
    commands = {member.pid: _read(member.pid, "cmdline") for member in members}
    helpers = {member.pid for member in members if "resource_tracker" in commands[member.pid]}
    alone = len(members) - len(helpers) == 1
    found = []
    for member in members:
        role = "helper" if member.pid in helpers else "worker" if alone or member.pid != pid else "supervisor"
        resident = _kilobytes("VmRSS", _read(member.pid, "status"))
        if resident is not None:
            shared = _kilobytes("Pss", _read(member.pid, "smaps_rollup"))
            found.append(Memory(role, resident * 1.024e-3, None if shared is None else shared * 1.024e-3))
    return sorted(found, key=lambda process: process.role != "worker")


def machine_s() -> tuple[float, float]:
    """Processor time of the whole machine so far, in seconds: busy, and idle. Both zero where nothing is known."""
    # user, nice, system, idle, iowait, irq, softirq, steal; what guests got is in the first two already.
    fields = _text(_PROC / "stat").partition("\n")[0].split()[1:9]
    seconds = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
    idle = sum(seconds[3:5])
    return sum(seconds) - idle, idle


def parent_of(pid: int) -> int | None:
    """The parent of a process on this machine; None where there is no such process."""
    return next((process.parent for process in _everyone() if process.pid == pid), None)


def name_of(pid: int) -> str:
    """The name of a process's program."""
    return _read(pid, "comm").strip()


def _everyone() -> Iterator[Process]:
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    for entry in _PROC.glob("[0-9]*"):
        # A program's name may hold blanks and brackets.
        fields = _read(int(entry.name), "stat").rpartition(")")[2].split()
        if fields:
            ticks = sum(int(field) for field in fields[_FIRST_TIME : _LAST_TIME + 1])
            yield Process(int(entry.name), int(fields[_PARENT]), ticks / ticks_per_s)


def _read(pid: int, file: str) -> str:
    return _text(_PROC / str(pid) / file)


def _text(file: Path) -> str:
    # Processes end while they are looked at, and not every system has these files.
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace")
    return ""


def _kilobytes(name: str, text: str) -> int | None:
    found = re.search(rf"(?m)^{name}:\s+(\d+) kB$", text)
    return None if found is None else int(found.group(1))
