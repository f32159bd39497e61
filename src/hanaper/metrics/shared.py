"""The figures of several serving processes: files in a private folder, a set for each place (decision 0015).

A process takes a place and keeps it by a lock that the kernel frees when it dies, however it dies. Whoever takes the
place next goes on counting where the dead one stopped. So nothing that was counted is lost, and there are never more
files than processes at the same time.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Lock

from prometheus_client import CollectorRegistry, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from hanaper.metrics.prometheus import PrometheusMeter

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Tells the library, and with it the serving processes, where the folder is."""

_PREFIX = "hanaper-metrics-"
_YOUNG_S = 60.0
"""A folder that was made a moment ago may not be locked yet."""

_one_looks = Lock()
# Made at their full size. The library maps a file into memory and would let it grow with a hole in it; on a full disk
# the first touch of a hole kills the process. A test holds that all there can be fits in.
SIZES = {
    "counter": 2**20,
    "histogram": 2**18,
    "gauge_livesum": 2**14,
    "gauge_livemostrecent": 2**14,
}


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder for the serving processes that are started meanwhile; it is gone afterwards.

    Those that killed servers have left behind are cleared away.

    Raises:
        OSError: it cannot be made.
    """
    _clear_away_abandoned()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        # The folder itself is locked. It is then left alone by other servers, and by systemd-tmpfiles, which would take
        # files away that nobody has written to for days.
        lock = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.environ[VARIABLE] = name
            yield Path(name)
        finally:
            os.environ.pop(VARIABLE, None)
            os.close(lock)


def join(folder: Path) -> PrometheusMeter:
    """Take a place, until this process ends.

    Raises:
        OSError: the files cannot be made.
    """
    place = _take_place(folder)
    # What a dead process last said of itself is no longer so.
    mark_process_dead(place, str(folder))  # type: ignore[no-untyped-call]  # the library leaves it unannotated
    for kind, size in SIZES.items():
        file = folder / f"{kind}_{place}.db"
        if not file.exists():
            unfinished = file.with_suffix(".new")
            unfinished.write_bytes(bytes(size))
            unfinished.rename(file)
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]  # as above
    # It is only written to; what is read are the files.
    return PrometheusMeter(CollectorRegistry())


class SharedFigures(MultiProcessCollector):
    """Adds the files of all places up."""

    def __init__(self, registry: CollectorRegistry, folder: Path) -> None:
        super().__init__(registry, str(folder))  # type: ignore[no-untyped-call]  # as above
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """All metrics, without what dead processes last said of themselves."""
        serving_processes(self._folder)
        found: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]  # as above
        return found


def serving_processes(folder: Path) -> int:
    """How many processes have a place. Gauges of places that nobody has are removed."""
    taken = 0
    # Two threads that look at the same time would take each other for serving processes.
    with _one_looks:
        for file in folder.glob("place-*.lock"):
            lock = _locked(file)
            if lock is None:
                taken += 1
            else:
                mark_process_dead(_number(file), str(folder))  # type: ignore[no-untyped-call]  # as above
                os.close(lock)
    return taken


def _take_place(folder: Path) -> int:
    """The number of a place that nobody has. Its lock stays open for as long as this process lives."""
    for number in count():
        if _locked(folder / f"place-{number}.lock") is not None:
            return number
    raise AssertionError("numbers never end")


def _number(file: Path) -> int:
    return int(file.stem.removeprefix("place-"))


def _locked(file: Path) -> int | None:
    """A descriptor of a file by which it is locked; None where somebody else has locked it."""
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    return descriptor if _lock(descriptor) else None


def _lock(descriptor: int) -> bool:
    """Lock what is open, unless somebody else has; then it is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


def _clear_away_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Anybody may put something into that folder: only what is our own is touched, and no link is followed.
        with suppress(OSError):
            found = folder.lstat()
            old = time.time() - found.st_mtime > _YOUNG_S
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or not old:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if _lock(lock):
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
