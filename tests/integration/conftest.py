"""One installation for each kind of database, for the tests that leave nothing behind."""

import shutil
from collections.abc import Iterator

import pytest
from tests.support.postgresql import PostgresqlServer

from hanaper.app import open_services
from hanaper.settings import Settings
from hanaper.storage.session import Session
from hanaper.web.services import Services


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("shared") / "data"
    if request.param == "sqlite":
        shutil.copytree(request.getfixturevalue("sqlite_template"), folder)
        settings = Settings(data_dir=folder)
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql_server")
        template, template_folder = request.getfixturevalue("postgresql_template")
        shutil.copytree(template_folder, folder)
        settings = Settings(data_dir=folder, database_url=server.url(server.create_database(template)))
    services = open_services(settings)
    with services.storage:
        yield services


@pytest.fixture
def session(shared: Services) -> Iterator[Session]:
    """A session whose transaction is rolled back at the end of the test."""
    with shared.storage.engine.connect() as connection, Session(connection) as session:
        yield session
