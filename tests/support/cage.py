"""Runs a program as a container engine runs the image, on a machine without one (reliability.md T43).

User 10001, no capabilities, none to be had, the system calls refused that engines refuse, a root that is read-only but
for the data folder and /tmp, a network of its own with nothing in it but loopback. Needs Linux, root, and util-linux.
As a program, what `command` starts in namespaces of their own.
"""

import argparse
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

USER = 10001
DATA = "/data"
TMP = "size=16m,mode=1777,noexec,nosuid,nodev"
"""As compose.yaml mounts it."""

_ROOT = Path(__file__).parents[2]
_UNSHARE = ("unshare", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child")
_TOOLS = ("unshare", "nsenter", "setpriv", "mount", "umount", "pivot_root")
_DEVICES = ("null", "zero", "full", "random", "urandom")
# What the default filter of container engines refuses, beyond what needs capabilities anyway.
_REFUSED = (
    *("add_key", "keyctl", "request_key"),
    *("bpf", "perf_event_open", "userfaultfd", "syslog", "kcmp", "pidfd_getfd"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("mount", "umount2", "pivot_root", "fsopen", "fsmount", "move_mount", "open_tree", "mount_setattr"),
    *("unshare", "setns", "open_by_handle_at", "name_to_handle_at"),
    *("process_vm_readv", "process_vm_writev", "move_pages", "mbind", "set_mempolicy", "get_mempolicy"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot"),
    *("clock_settime", "clock_adjtime", "settimeofday", "swapon", "swapoff", "acct", "quotactl", "iopl", "ioperm"),
)


def command(data: Path, *program: str, tmp: str = TMP, visible: Sequence[Path] = ()) -> list[str]:
    """The command that runs a program in a cage, which it cannot leave; it ends with its first process.

    Args:
        data: the folder that is `/data` in it; its owner is set by nobody here.
        program: with its arguments.
        tmp: options of the file system in memory that is `/tmp`.
        visible: folders besides, by their own names, read-only; sockets in them can be used.
    """
    more = [option for folder in visible for option in ("--visible", str(folder))]
    return [*_UNSHARE, sys.executable, __file__, "--tmp", tmp, *more, str(data), "--", *program]


def entered(pid: int, *program: str) -> list[str]:
    """The command that runs a program in the network of a process, and otherwise as it would here."""
    return ["nsenter", "--target", str(pid), "--net", "--", *program]


@cache
def why_not() -> str:
    """Why no cage can be made on this machine; empty where that is possible."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root can make a cage"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"there is no {missing[0]}"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"no namespaces are to be had: {tried.stderr.strip()}" if tried.returncode else ""


def filtered() -> bool:
    """Whether there is the library that makes a filter of system calls."""
    return _seccomp() is not None


def _seccomp() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def _show(root: Path, path: Path) -> None:
    """Make a folder, a file or a link of the machine appear in the new root, read-only."""
    place = root / path.relative_to("/")
    if path.is_symlink():
        place.symlink_to(path.readlink())
        return
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.touch()
    _bind(path, place)


def _bind(path: Path, place: Path) -> None:
    _mount("--bind", path, place)
    _mount("-o", "remount,bind,ro,nosuid", place)


def _build(root: Path, data: Path, tmp: str, visible: Sequence[Path]) -> None:
    _mount("-t", "tmpfs", "-o", "mode=0755,nosuid", "cage", root)
    (root / "tmp").mkdir()
    _mount("-t", "tmpfs", "-o", tmp, "tmp", root / "tmp")
    system = [Path(name) for name in ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")]
    program = [Path(sys.base_prefix), _ROOT, Path(sys.prefix)]
    shown: list[Path] = []
    for path in [*system, *program, *visible]:
        if path.exists() and not any(path.is_relative_to(other) for other in shown):
            shown.append(path)
            _show(root, path)
    names = {"passwd": f"hanaper:x:{USER}:{USER}::/nonexistent:/usr/sbin/nologin", "group": f"hanaper:x:{USER}:"}
    for name, line in names.items():
        (root / name).write_text(f"{Path('/etc', name).read_text().rstrip()}\n{line}\n")
        _bind(root / name, root / "etc" / name)
    (root / "dev").mkdir()
    for name in _DEVICES:
        (root / "dev" / name).touch()
        _mount("--bind", Path("/dev", name), root / "dev" / name)
    (root / "dev/fd").symlink_to("/proc/self/fd")
    (root / "proc").mkdir()
    _mount("-t", "proc", "-o", "nosuid,nodev,noexec", "proc", root / "proc")
    (root / "data").mkdir()
    _mount("--bind", data, root / "data")
    _mount("-o", "remount,bind,nosuid,nodev", root / "data")


def _enter(root: Path) -> None:
    """Leave the root of the machine behind, and let nobody write to the new one."""
    before = root / "before"
    before.mkdir()
    subprocess.run(["pivot_root", str(root), str(before)], check=True)
    os.chdir("/")
    subprocess.run(["umount", "--lazy", "/before"], check=True)
    Path("/before").rmdir()
    _mount("-o", "remount,ro", "/")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up_and_running = 0x1 | 0x40
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", up_and_running))  # SIOCSIFFLAGS


def _refuse_system_calls() -> None:
    library = _seccomp()
    if library is None:
        return
    allow, refuse = 0x7FFF0000, 0x00050000
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(allow)))
    numbers = {name: library.seccomp_syscall_resolve_name(name.encode()) for name in [*_REFUSED, "clone3"]}
    for name, number in numbers.items():
        # Who hears that there is no clone3 takes clone.
        error = 38 if name == "clone3" else 1
        if number >= 0 and library.seccomp_rule_add_array(context, ctypes.c_uint32(refuse | error), number, 0, None):
            sys.exit(f"{name} cannot be refused")
    if library.seccomp_load(context):
        sys.exit("the filter of system calls cannot be set")


def main() -> None:
    """Build the cage around this process, then become the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tmp", required=True)
    parser.add_argument("--visible", action="append", default=[], type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("program", nargs="+")
    asked = parser.parse_args()
    root = Path("/mnt")
    _build(root, asked.data, asked.tmp, asked.visible)
    _enter(root)
    _raise_loopback()
    os.chdir(DATA)
    os.umask(0o022)
    _refuse_system_calls()
    dropped = ["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    user = [f"--reuid={USER}", f"--regid={USER}"]
    os.execvp("setpriv", ["setpriv", *user, *dropped, "--", *asked.program])  # noqa: S606 -- as it should be


if __name__ == "__main__":
    main()
