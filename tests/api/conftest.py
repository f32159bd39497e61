"""One server for each kind of database, for the tests that leave nothing behind that others would trip over."""

from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from tests.conftest import Installation, client_of, lasting
from tests.support.api import serving
from tests.support.world import World, populate

from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.install import install
from hanaper.storage import configuration
from hanaper.storage.transactions import Storage


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server in a world, shared by all tests: what they count, they count before and after."""
    folder = tmp_path_factory.mktemp("world") / "data"
    proxies = (ip_network("127.0.0.1/32"),)
    settings = lasting(request, folder).model_copy(update={"trusted_proxies": proxies})
    installed = install(settings, demo=True, now=utc_now())
    services = open_services(settings)
    with serving(create_app(services)) as base_url:
        world = populate(services, client_of(base_url, installed))
        yield world
        world.close()


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each request came less than a second after the one before, however slow this machine is."""
    monkeypatch.setattr(configuration, "LONGEST_TRUST_S", 1e9)


@pytest.fixture
def elsewhere(installation: Installation) -> Iterator[Storage]:
    """Another process, as far as the database and this one can tell."""
    with Storage.open(installation.settings) as storage:
        yield storage
