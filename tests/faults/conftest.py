"""Fixtures: a PostgreSQL server for each test, to be treated as badly as it likes, and hanaper in front of it."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.conftest import client
from tests.support.api import serving as served
from tests.support.clients import Caller
from tests.support.clusters import ROLE, Cluster, give, running
from tests.support.processes import PROGRAM, ForkServer, Hanaper, clean_environment

from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.install import install
from hanaper.settings import Settings

DATABASE = "hanaper"


@pytest.fixture(scope="session")
def made_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    """A server with demo data, stopped, to be copied; and the data folder that goes with it."""
    data = tmp_path_factory.mktemp("cluster") / "data"
    with _place() as folder, running(Cluster(folder / "template").make()) as cluster:
        cluster.execute(f"CREATE ROLE {ROLE} LOGIN")
        cluster.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        install(Settings(data_dir=data, database_url=cluster.url(DATABASE)), demo=True, now=utc_now())
        cluster.stop("fast")
        yield cluster, data


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for the data of servers."""
    with _place() as folder:
        yield folder


@contextmanager
def _place() -> Iterator[Path]:
    # Not below pytest's own folder, which is closed to the user that servers run as when root runs the tests.
    with tempfile.TemporaryDirectory(prefix="hanaper-cluster-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        give(folder)
        yield folder


@pytest.fixture
def cluster(made_cluster: tuple[Cluster, Path], place: Path) -> Iterator[Cluster]:
    """A running server with demo data."""
    with running(made_cluster[0].copied(place / "primary")) as cluster:
        yield cluster


@pytest.fixture
def hanaper(cluster: Cluster, made_cluster: tuple[Cluster, Path], forks: ForkServer, tmp_path: Path) -> Hanaper:
    """The command on that server."""
    folder = tmp_path / "data"
    shutil.copytree(made_cluster[1], folder)
    environment = clean_environment(HANAPER_DATA_DIR=str(folder), HANAPER_DATABASE_URL=cluster.url(DATABASE))
    return Hanaper(forks, tmp_path, environment)


@pytest.fixture
def on_sqlite(sqlite_template: Path, forks: ForkServer, tmp_path: Path) -> Hanaper:
    """The command on SQLite."""
    folder = tmp_path / "data"
    shutil.copytree(sqlite_template, folder)
    return Hanaper(forks, tmp_path, clean_environment(HANAPER_DATA_DIR=str(folder)))


@contextmanager
def inside(hanaper: Hanaper, known: str = "") -> Iterator[Caller]:
    """A server in this process, and who calls it."""
    with served(create_app(open_services(hanaper.settings))) as url, client(url, hanaper) as api:
        caller = Caller(api, known=known)
        caller.prepare()
        yield caller


@contextmanager
def serving(
    hanaper: Hanaper,
    workers: int = 2,
    environment: Mapping[str, str] | None = None,
    *,
    known: str = "",
    program: Sequence[str] = PROGRAM,
) -> Iterator[Caller]:
    """A server, and who calls it. It has to be the same processes at the end, without a word of a bug."""
    arguments = ("--workers", str(workers))
    with (
        hanaper.serving(*arguments, program=program, **(environment or {})) as server,
        client(server.url, hanaper) as api,
    ):
        caller = Caller(api, server, known=known)
        caller.prepare()
        server.wait_for_workers(workers)
        before = server.workers
        yield caller
        assert server.process.poll() is None
        assert server.workers == before, "a worker was restarted"
        assert server.stop() == 0
        assert server.events("internal error") == []
        assert server.events("fault") == []
