"""What is measured on: hardware and versions. Nothing in it names the machine, its paths or its addresses."""

import os
import platform
import re
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from hanaper.bench import tools
from hanaper.storage import sqlite
from hanaper.storage.filesystem import filesystem

_PACKAGES = ("hanaper", "fastapi", "uvicorn", "uvloop", "httptools", "sqlalchemy", "psycopg", "cryptography")


def usable_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hardware(folder: Path) -> dict[str, object]:
    """Processor, cores, memory, and the file system of a folder."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_gb": round(memory / 1e9, 1),
        "filesystem": filesystem(folder),
    }


def versions() -> dict[str, str]:
    """Versions of everything that has a part in the figures."""
    found = {
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite.library().sqlite_version,
        "openssl": tools.version("openssl"),
        "wrk": tools.version("wrk"),
    }
    return found | {name: version(name) for name in _PACKAGES if _is_installed(name)}


def _processor() -> str:
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        named = re.search(r"(?m)^(?:model name|Model)\s*:\s*(.+)$", text)
        if named is not None:
            return named.group(1).strip()
    return platform.processor() or platform.machine()


def _is_installed(name: str) -> bool:
    # Some have no wheel for every platform.
    try:
        version(name)
    except ImportError:
        return False
    return True
