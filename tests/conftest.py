"""Fixtures: real databases, both kinds, and a real server in front of them.

An installation with demo data is made once per kind of database; each test gets a copy of its own.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.api import Api, serving
from tests.support.postgresql import PostgresqlServer, running_server
from tests.support.processes import ForkServer, fork_server
from tests.support.tokens import SoftToken, make_token

from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.install import Installed, install
from hanaper.settings import Settings
from hanaper.web.services import Services

KEYS_IN = os.environ.get("HANAPER_TEST_KEYS_IN", "database")
"""Where all tests have their signing keys; those that are marked `also_in_token` run for both places anyway."""
IN_THIS_PROCESS = pytest.mark.skipif(KEYS_IN == "token", reason="of keys that are in this process")
SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests noted of what they measured, whichever process they ran in; with `--log-level=INFO`."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        noted = re.findall(r"^INFO +tests\.\S+ +(.*)$", report.caplog, re.MULTILINE)
        for line in noted:
            terminalreporter.write_line(f"{report.nodeid}: {line}")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests stay out of them."""
    for name in os.environ:
        if name.startswith("HANAPER_") and not name.startswith("HANAPER_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """What commands are run by: see `fork_server`."""
    with fork_server(tmp_path_factory.mktemp("forks")) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    # Not below pytest's own folder: each session of pytest that starts closes it to other users, and PostgreSQL runs as
    # another user when root runs the tests.
    folder = tempfile.TemporaryDirectory(prefix="hanaper-postgresql-", ignore_cleanup_errors=True)
    with folder as name, running_server(Path(name)) as server:
        yield server


@dataclass(frozen=True)
class Installation:
    """An installation with demo data. Any number of wrong API keys may come from one address, as they do in tests."""

    settings: Settings
    installed: Installed


@pytest.fixture(scope="session")
def soft_token(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    """The one token of this process: its library reads its settings once."""
    token = make_token(tmp_path_factory.mktemp("token"))
    os.environ["SOFTHSM2_CONF"] = str(token.configuration)
    return token


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that is marked so runs a second time with the signing keys in a token."""
    if metafunc.definition.get_closest_marker("also_in_token"):
        metafunc.parametrize("keys_in", sorted({KEYS_IN, "token"}), indirect=True)


@pytest.fixture
def keys_in(request: pytest.FixtureRequest) -> str:
    """Where the signing keys are: "database" or "token"."""
    place: str = getattr(request, "param", KEYS_IN)
    return place


def token_settings(place: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of the token, where the signing keys are in it."""
    if place != "token":
        return {}
    token: SoftToken = request.getfixturevalue("soft_token")
    return token.settings


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    return _sqlite_template(KEYS_IN, tmp_path_factory, request)


@pytest.fixture(scope="session")
def sqlite_template_in_token(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    return _sqlite_template("token", tmp_path_factory, request)


def _sqlite_template(place: str, folders: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = folders.mktemp("template") / "data"
    install(Settings(data_dir=folder, **token_settings(place, request)), demo=True, now=utc_now())
    return folder


@pytest.fixture(scope="session")
def postgresql_template(
    postgresql_server: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[str, Path]:
    return _postgresql_template(KEYS_IN, postgresql_server, tmp_path_factory, request)


@pytest.fixture(scope="session")
def postgresql_template_in_token(
    postgresql_server: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[str, Path]:
    return _postgresql_template("token", postgresql_server, tmp_path_factory, request)


def _postgresql_template(
    place: str, server: PostgresqlServer, folders: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[str, Path]:
    folder = folders.mktemp("template") / "data"
    name = server.create_database()
    settings = Settings(data_dir=folder, database_url=server.url(name), **token_settings(place, request))
    install(settings, demo=True, now=utc_now())
    return name, folder


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def empty_database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a schema."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def installation(
    database_kind: str, keys_in: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Installation]:
    """A copy of the installation with demo data, on the database the test runs for."""
    folder = tmp_path / "data"
    of_token = token_settings(keys_in, request)
    suffix = "_in_token" if of_token and keys_in != KEYS_IN else ""
    if database_kind == "sqlite":
        shutil.copytree(request.getfixturevalue(f"sqlite_template{suffix}"), folder)
        settings = Settings(data_dir=folder, failures_per_minute=0, **of_token)
        yield Installation(settings, install(settings, demo=True, now=utc_now()))
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    template, template_folder = request.getfixturevalue(f"postgresql_template{suffix}")
    shutil.copytree(template_folder, folder)
    name = server.create_database(template)
    settings = Settings(data_dir=folder, database_url=server.url(name), failures_per_minute=0, **of_token)
    yield Installation(settings, install(settings, demo=True, now=utc_now()))
    server.drop_database(name)


@pytest.fixture
def services(installation: Installation) -> Iterator[Services]:
    opened = open_services(installation.settings)
    yield opened
    opened.storage.close()


@pytest.fixture
def api(installation: Installation, services: Services) -> Iterator[Api]:
    """A running server with demo data, and a client that checks every answer."""
    with serving(create_app(services)) as base_url:
        client = client_of(base_url, installation.installed)
        yield client
        client.http.close()


def lasting(request: pytest.FixtureRequest, folder: Path) -> Settings:
    """A copy of the installation with demo data, for a fixture that many tests share; its parameter is the database."""
    if request.param == "sqlite":
        shutil.copytree(request.getfixturevalue("sqlite_template"), folder)
        return Settings(data_dir=folder, failures_per_minute=0, **token_settings(KEYS_IN, request))
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    template, template_folder = request.getfixturevalue("postgresql_template")
    shutil.copytree(template_folder, folder)
    url = server.url(server.create_database(template))
    return Settings(data_dir=folder, database_url=url, failures_per_minute=0, **token_settings(KEYS_IN, request))


def client_of(base_url: str, installed: Installed) -> Api:
    assert installed.product_public_key is not None
    return Api(
        base_url,
        global_pem=installed.global_public_key.read_text(),
        product_pem=installed.product_public_key.read_text(),
    )
