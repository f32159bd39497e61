"""The short form: one load, a few rounds, the ceiling measured in between."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from hanaper.bench import database, machine
from hanaper.bench.ceiling import openssl_ceiling
from hanaper.bench.installation import Installation, install
from hanaper.bench.load import Load
from hanaper.bench.measure import Bench, Run
from hanaper.bench.server import Server, serving
from hanaper.bench.spread import Spread, neighbours, shares
from hanaper.refusal import Invalid, Misconfigured
from hanaper.settings import Settings
from hanaper.storage import migrate
from hanaper.storage.base import Base
from hanaper.storage.engine import locate
from hanaper.storage.transactions import Storage

CEILING_S = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured.

    Attributes:
        bits: of the RSA keys.
        folder: where scratch files go; None: the current directory.
        database_url: of an empty PostgreSQL database; empty: SQLite in the folder.
        password_file: where the URL holds no password.
    """

    load: Load
    rounds: int
    workers: int
    bits: int
    folder: Path | None
    database_url: str
    password_file: Path | None

    @property
    def steps(self) -> int:
        """How often `measure` reports that something is done."""
        return 3 + 2 * self.rounds


def measure(wanted: Wanted, advance: Callable[[int], None]) -> dict[str, object]:
    """Build up a throw-away installation, measure it, and take it away again.

    Raises:
        Invalid: the database is not empty.
        Unavailable: a program is missing, or the server or its database does not start.
        Fault: a run has failed.
    """
    with _installed(wanted) as (installation, storage, folder):
        advance(1)
        with serving(installation, workers=wanted.workers, folder=folder) as server:
            bench = Bench(server, installation, storage, folder, machine.usable_cores())
            bench.warm_up(wanted.load)
            advance(1)
            ceilings, runs = _rounds(bench, wanted, advance)
            return {
                "hardware": machine.hardware(folder),
                "versions": machine.versions(),
                "settings": {
                    "database": "sqlite" if storage.database.file else "postgresql",
                    **database.settings(storage),
                    "workers": wanted.workers,
                    "rsa_bits": wanted.bits,
                },
                "load": asdict(wanted.load),
                "runs": [asdict(run) for run in runs],
                "ceilings_per_s": ceilings,
                "result": _result(server, ceilings, runs),
            }


def _rounds(bench: Bench, wanted: Wanted, advance: Callable[[int], None]) -> tuple[list[float], list[Run]]:
    ceilings, runs = [], []

    def ceiling() -> None:
        ceilings.append(openssl_ceiling(wanted.bits, processes=bench.cores, seconds=CEILING_S))
        advance(1)

    ceiling()
    for _ in range(wanted.rounds):
        runs.append(bench.run(wanted.load))
        advance(1)
        ceiling()
    return ceilings, runs


def _result(server: Server, ceilings: list[float], runs: list[Run]) -> dict[str, object]:
    around = [neighbours(before, after) for before, after in pairwise(ceilings)]
    requests = [run.requests_per_s for run in runs]
    workers = [process.rss_mb for run in runs for process in run.memory if process.role == "worker"]
    return {
        "share_of_ceiling": asdict(shares(requests, around)),
        "requests_per_s": asdict(Spread.of(requests)),
        "keys_per_s": asdict(Spread.of(run.keys_per_s for run in runs)),
        "ceiling_per_s": asdict(Spread.of(ceilings)),
        **{f"p{part}_ms": asdict(Spread.of(_milliseconds(runs, part))) for part in (50, 95, 99)},
        "worker_rss_mb": max(workers) if workers else None,
        "startup_s": server.startup_s,
    }


def _milliseconds(runs: list[Run], percentile: int) -> list[float]:
    return [getattr(run.seen, f"p{percentile}_us") / 1000 for run in runs]


@contextmanager
def _installed(wanted: Wanted) -> Iterator[tuple[Installation, Storage, Path]]:
    place = wanted.folder or Path.cwd()
    try:
        scratch = tempfile.TemporaryDirectory(prefix="hanaper-bench-", dir=place.expanduser().absolute())
    except OSError as error:
        raise Misconfigured(f"no folder for scratch files can be made in {place}: {error.strerror}") from error
    with scratch as name:
        folder = Path(name)
        if wanted.database_url:
            _require_empty(wanted, folder)
        installation = install(
            folder / "data",
            database_url=wanted.database_url,
            password_file=wanted.password_file,
            bits=wanted.bits,
        )
        with Storage.open(installation.settings) as storage:
            try:
                yield installation, storage, folder
            finally:
                if wanted.database_url:
                    _leave_empty(storage)


def _require_empty(wanted: Wanted, folder: Path) -> None:
    settings = Settings(data_dir=folder, database_url=wanted.database_url, database_password_file=wanted.password_file)
    # Looked at before it is opened, which would make the file.
    if locate(wanted.database_url).file is not None:
        raise Invalid("--database-url is for PostgreSQL: leave it out to measure SQLite")
    with Storage.open(settings) as storage:
        if not database.is_empty(storage):
            raise Invalid(f"{storage.database.shown} has tables: name an empty database, it is filled with test data")


def _leave_empty(storage: Storage) -> None:
    migrate.downgrade(storage, "base")
    # Alembic's own table stays behind. The database was empty, so whatever is in it now came from here.
    left = type(Base.metadata)()
    left.reflect(storage.engine)
    left.drop_all(storage.engine)
