"""One server for each kind of database, for the tests that leave nothing behind that others would trip over."""

import shutil
from collections.abc import Iterator

import pytest
from tests.conftest import client_of
from tests.support.api import serving
from tests.support.postgresql import PostgresqlServer
from tests.support.world import World, populate

from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.install import install
from hanaper.settings import Settings


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server in a world, shared by all tests: what they count, they count before and after."""
    folder = tmp_path_factory.mktemp("world") / "data"
    proxies = "127.0.0.1/32"
    if request.param == "sqlite":
        shutil.copytree(request.getfixturevalue("sqlite_template"), folder)
        settings = Settings(data_dir=folder, trusted_proxies=proxies)  # type: ignore[arg-type]  # as a variable has it
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql_server")
        template, template_folder = request.getfixturevalue("postgresql_template")
        shutil.copytree(template_folder, folder)
        url = server.url(server.create_database(template))
        settings = Settings(data_dir=folder, database_url=url, trusted_proxies=proxies)  # type: ignore[arg-type]
    installed = install(settings, demo=True, now=utc_now())
    services = open_services(settings)
    with serving(create_app(services)) as base_url:
        world = populate(services, client_of(base_url, installed))
        yield world
        world.close()
