"""One installation for each kind of database, for the tests that leave nothing behind."""

from collections.abc import Iterator

import pytest
from tests.conftest import lasting

from hanaper.app import open_services
from hanaper.storage.session import Session
from hanaper.web.services import Services


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("shared") / "data"
    settings = lasting(request, folder)
    services = open_services(settings)
    with services.storage:
        yield services


@pytest.fixture
def session(shared: Services) -> Iterator[Session]:
    """A session whose transaction is rolled back at the end of the test."""
    with shared.storage.engine.connect() as connection, Session(connection) as session:
        yield session
