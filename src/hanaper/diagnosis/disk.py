"""The disk that SQLite writes to."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hanaper.diagnosis.finding import Finding
from hanaper.storage.filesystem import IN_MEMORY, OVER_THE_NETWORK, filesystem
from hanaper.web.readiness import LEAST_FREE

SYNC_S = 0.25
"""How long syncs are counted."""

MOST_SYNCS_PER_S = 20_000
"""A sync goes to the medium and back: the fastest drives need some 50 microseconds."""

LITTLE_FREE = 0.1
_PAGE = 4096
# The length of the file does not change, so its data are enough; not every platform can leave the rest out.
_sync = getattr(os, "fdatasync", os.fsync)
_LOCAL_DISK = "put the database on a local disk by HANAPER_DATA_DIR, or use PostgreSQL (HANAPER_DATABASE_URL)"


def file_system(folder: Path) -> Iterator[Finding]:
    """Whether the file system can carry a database."""
    check, kind = "file-system", filesystem(folder)
    if kind in OVER_THE_NETWORK:
        yield Finding.problem(
            check, f"{folder} lies on a network file system ({kind}), which breaks SQLite", _LOCAL_DISK
        )
    elif kind in IN_MEMORY:
        yield Finding.problem(check, f"{folder} lies in memory ({kind}): a restart of the machine ends it", _LOCAL_DISK)
    elif kind == "overlay":
        text = f"{folder} lies in the container itself ({kind}): it is gone when the container is"
        yield Finding.problem(check, text, "mount a volume there")
    else:
        yield Finding.ok(check, f"{folder} lies on {kind}")


def free_space(folder: Path) -> Iterator[Finding]:
    """How much space there is left."""
    check, disk = "free-space", shutil.disk_usage(folder)
    share = disk.free / max(disk.total, 1)
    text = f"{disk.free / 1e9:.1f} GB free, {share:.0%} of the disk of {folder}"
    cure = "make space, or move the data folder to a larger disk"
    if share < LEAST_FREE:
        yield Finding.problem(check, f"{text}: the server calls itself not ready", cure)
    elif share < LITTLE_FREE:
        yield Finding.warning(check, text, cure)
    else:
        yield Finding.ok(check, text)


def sync_speed(folder: Path) -> Iterator[Finding]:
    """How many times a second the disk says that something is safe, and whether that can be true."""
    check = "sync-speed"
    try:
        rate = _syncs_per_s(folder)
    except OSError as error:
        yield Finding.problem(
            check, f"nothing can be written to {folder} ({error.strerror})", "let the user hanaper runs as write there"
        )
        return
    text = f"{rate:,.0f} syncs/s in {folder}"
    if rate > MOST_SYNCS_PER_S:
        yield Finding.warning(
            check,
            f"{text}: this disk may lie about syncing, and a loss of power may lose license keys that were handed out",
            "switch write caching without a battery off (on a virtual machine: the host's caching of this disk)",
        )
    else:
        yield Finding.ok(check, text)


def _syncs_per_s(folder: Path) -> float:
    with tempfile.TemporaryFile(dir=folder, prefix="hanaper-doctor-") as file:
        descriptor, page, syncs = file.fileno(), os.urandom(_PAGE), 0
        os.pwrite(descriptor, page, 0)
        os.fsync(descriptor)
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < SYNC_S:
            # Over and over the same place, as a database does with its log: no space has to be found.
            os.pwrite(descriptor, page, 0)
            _sync(descriptor)
            syncs += 1
        return syncs / passed
