"""What a server uses over a long time: memory, descriptors, threads, disk."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, linear_regression

from sqlalchemy import text
from tests.support.processes import Hanaper

from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

KEPT_S = 45
"""How old an idempotency record gets in the test; then it is made older than hanaper keeps them."""
_KIB_A_MIB = 1024


@dataclass(frozen=True)
class Process:
    """What one process used at a moment: its own memory in MiB (resident, not shared files), descriptors, threads."""

    memory: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Process":
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return cls(
            memory=int(status["RssAnon"].split()[0]) / _KIB_A_MIB,
            descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
            threads=int(status["Threads"]),
        )


@dataclass(frozen=True)
class Sample:
    """All of it at a moment, in seconds since the beginning. The sizes are in bytes; those of files only on SQLite."""

    moment: float
    processes: dict[int, Process]
    database: int
    log: int
    license_keys: int
    records: int


class Watch:
    """Samples of a server, taken until it is told to end; old idempotency records grow older meanwhile."""

    def __init__(self, hanaper: Hanaper, pids: list[int], every_s: float) -> None:
        self.samples: list[Sample] = []
        self.over = threading.Event()
        self._hanaper = hanaper
        self._pids = pids
        self._every_s = every_s

    def run(self) -> None:
        began = time.monotonic()
        with Storage.open(self._hanaper.settings) as storage:
            while not self.over.wait(self._every_s):
                self.samples.append(self._sample(storage, time.monotonic() - began))
                storage.write(_grow_older)

    def _sample(self, storage: Storage, moment: float) -> Sample:
        file = storage.database.file

        def counted(session: Session) -> tuple[int, ...]:
            if file is None:
                size = session.scalars(text("SELECT pg_database_size(current_database())")).one()
            else:
                size = file.stat().st_size
            keys = session.scalars(text("SELECT coalesce(max(id), 0) FROM license_keys")).one()
            return size, keys, session.scalars(text("SELECT count(*) FROM idempotency_records")).one()

        size, keys, records = storage.read(counted)
        log = 0 if file is None else file.with_name(file.name + "-wal").stat().st_size
        return Sample(moment, {pid: Process.of(pid) for pid in self._pids}, size, log, keys, records)

    def write(self, file: Path) -> None:
        """Put the samples into a file, a line of JSON for each."""
        file.write_text("".join(json.dumps(asdict(sample)) + "\n" for sample in self.samples))


def _grow_older(session: Session) -> None:
    """Make records that are old by the test's measure old by hanaper's."""
    if session.get_bind().dialect.name == "sqlite":
        older, age = "datetime(created_at, '-8 days')", f"datetime('now', '-{KEPT_S} seconds')"
    else:
        older, age = "created_at - interval '8 days'", f"now() - interval '{KEPT_S} seconds'"
    session.execute(text(f"UPDATE idempotency_records SET created_at = {older} WHERE created_at < {age}"))  # noqa: S608


@contextmanager
def watching(hanaper: Hanaper, pids: list[int], every_s: float) -> Iterator[Watch]:
    """Watch processes for the length of a `with` block."""
    watch = Watch(hanaper, pids, every_s)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.over.set()
        thread.join(60)


@dataclass(frozen=True)
class Trend:
    """How the use of one process went, after the first third, in which everything warms up.

    Attributes:
        memory: MiB more in the last third than in the second, on average.
        slope: MiB in an hour, by a linear fit.
        descriptors: how many more there were at most in the last third than in the second.
        threads: the same of threads.
    """

    memory: float
    slope: float
    descriptors: int
    threads: int


def trends(samples: list[Sample]) -> list[Trend]:
    """The trend of each process."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]

    def trend(pid: int) -> Trend:
        uses = [(sample.moment, sample.processes[pid]) for sample in [*middle, *last]]
        then, now = ([sample.processes[pid] for sample in part] for part in (middle, last))
        fit = linear_regression([moment for moment, _ in uses], [use.memory for _, use in uses])
        return Trend(
            memory=fmean(use.memory for use in now) - fmean(use.memory for use in then),
            slope=fit.slope * 3600,
            descriptors=max(use.descriptors for use in now) - max(use.descriptors for use in then),
            threads=max(use.threads for use in now) - max(use.threads for use in then),
        )

    return [trend(pid) for pid in samples[0].processes]
