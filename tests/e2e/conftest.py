"""Fixtures: installations that the command itself made, and the command in front of them.

Each kind of installation is made once; each test gets a copy of its own.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.api import Api
from tests.support.backups import Elsewhere, path_with_programs, places
from tests.support.postgresql import PostgresqlServer
from tests.support.processes import ForkServer, Hanaper, clean_environment


@pytest.fixture
def bare(forks: ForkServer, tmp_path: Path) -> Hanaper:
    """The command, in an empty folder and without any setting."""
    return Hanaper(forks, tmp_path, clean_environment())


@dataclass(frozen=True)
class Made:
    """What `hanaper init` made, and what it said."""

    folder: Path
    said: dict[str, Any]


@pytest.fixture(scope="session")
def made_with_demo(forks: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("demo")
    return Made(folder / "data", Hanaper(forks, folder, clean_environment()).anew("init", "--demo", "--json").json)


@pytest.fixture(scope="session")
def made_without_demo(forks: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("plain")
    return Made(folder / "data", Hanaper(forks, folder, clean_environment())("init", "--json").json)


@pytest.fixture
def demo(made_with_demo: Made, forks: ForkServer, tmp_path: Path) -> Hanaper:
    """The command on an installation with demo data, on SQLite."""
    return _copied(made_with_demo.folder, forks, tmp_path, "data")


@pytest.fixture
def plain(made_without_demo: Made, forks: ForkServer, tmp_path: Path) -> Hanaper:
    """The command on an installation without demo data, on SQLite."""
    return _copied(made_without_demo.folder, forks, tmp_path, "plain")


@pytest.fixture
def demo_on_either(
    database_kind: str, request: pytest.FixtureRequest, forks: ForkServer, tmp_path: Path
) -> Iterator[Hanaper]:
    """The command on an installation with demo data, on SQLite and on PostgreSQL."""
    if database_kind == "sqlite":
        yield _copied(request.getfixturevalue("made_with_demo").folder, forks, tmp_path, "data")
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    template, template_folder = request.getfixturevalue("postgresql_template")
    name = server.create_database(template)
    yield _copied(template_folder, forks, tmp_path, "data", HANAPER_DATABASE_URL=server.url(name))
    server.drop_database(name)


def _copied(template: Path, forks: ForkServer, tmp_path: Path, name: str, **environment: str) -> Hanaper:
    folder = tmp_path / name
    shutil.copytree(template, folder)
    return Hanaper(forks, tmp_path, clean_environment(HANAPER_DATA_DIR=str(folder), **environment))


@pytest.fixture
def installed(database_kind: str, demo_on_either: Hanaper) -> Hanaper:
    """An installation with demo data, and the programs that its backups take."""
    if database_kind == "sqlite":
        return demo_on_either
    return replace(demo_on_either, environment={**demo_on_either.environment, "PATH": path_with_programs()})


@pytest.fixture
def elsewhere(
    database_kind: str, installed: Hanaper, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Elsewhere]:
    server: PostgresqlServer | None = None
    if database_kind == "postgresql":
        server = request.getfixturevalue("postgresql_server")
    with places(installed, tmp_path, server) as make:
        yield make


@pytest.fixture
def backup_file(tmp_path: Path) -> Path:
    """Where a backup goes."""
    return tmp_path / "a.backup"


@pytest.fixture
def backup(installed: Hanaper, backup_file: Path) -> Path:
    """A backup of the installation, with five license keys in it."""
    installed("generate", "--generator", "1", "--quantity", "5")
    installed("backup", str(backup_file))
    return backup_file


@contextmanager
def client(url: str, hanaper: Hanaper, product_pem: Path | None = None) -> Iterator[Api]:
    """A client that checks every answer with the public keys that `init` wrote."""
    keys = hanaper.data_dir / "public-keys"
    api = Api(
        url,
        global_pem=(keys / "global.pem").read_text(),
        product_pem=(product_pem or keys / "product-1.pem").read_text(),
    )
    with api.http:
        yield api
