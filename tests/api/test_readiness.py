"""/readyz says whether requests are to be sent here, and why not; /healthz only that the process lives."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
import structlog
from psycopg import sql
from sqlalchemy import event
from tests.conftest import KEYS_IN, SAMPLE_KEY, Installation, client_of, token_settings
from tests.support.api import Api, serving
from tests.support.postgresql import PostgresqlServer

from hanaper.app import create_app, open_services
from hanaper.clock import ClockWrong, utc_now
from hanaper.install import install
from hanaper.settings import Settings
from hanaper.web import readiness
from hanaper.web.services import Services

GENERATE = "/api/v1/generate"
FIELDS = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}
LONGEST_S = 30


def becomes(api: Api, status: int, text: str) -> None:
    """Wait until /readyz says this; what it has seen it says for a second."""
    deadline = time.monotonic() + LONGEST_S
    while (answer := api.http.get("/readyz")).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
    assert answer.text == f"{text}\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert api.http.head("/readyz").status_code == status
    # A restart would cure nothing of all this.
    assert api.http.get("/healthz").text == "ok\n"


def test_who_is_about_to_stop_says_so_at_once(api: Api, services: Services) -> None:
    becomes(api, 200, "ready")
    assert "connection" not in api.post(GENERATE, FIELDS).http.headers
    services.drain.begun = True
    answer = api.http.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "stopping\n")
    for each in (api.post(GENERATE, FIELDS), api.get("/unknown")):
        assert each.http.headers["connection"] == "close"


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_database_that_only_reads(api: Api, services: Services, postgresql_server: PostgresqlServer) -> None:
    """As a standby does."""
    becomes(api, 200, "ready")
    name = services.storage.database.url.database
    assert name is not None
    with psycopg.connect(postgresql_server.url("postgres"), autocommit=True) as other:
        for value, status, text in (("on", 503, "the database cannot be written to"), ("off", 200, "ready")):
            setting = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}")
            other.execute(setting.format(sql.Identifier(name), sql.SQL(value)))
            services.storage.engine.dispose()
            becomes(api, status, text)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_database_that_cannot_be_written_to(api: Api, services: Services) -> None:
    file = services.storage.database.file
    assert file is not None
    lock = file.with_name(file.name + ".lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    becomes(api, 503, "the database cannot be written to")
    lock.rmdir()
    becomes(api, 200, "ready")


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_database_that_is_silent(api: Api, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "LONGEST_LOOK_S", 0.3)
    becomes(api, 200, "ready")
    url = services.storage.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE configuration_version IN ACCESS EXCLUSIVE MODE")
        becomes(api, 503, "the database has not answered within 0.3 s")
    becomes(api, 200, "ready")


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_wrong_clock(installation: Installation) -> None:
    wrong = True

    def clock() -> datetime:
        if wrong:
            raise ClockWrong("it is early")
        return utc_now()

    services = open_services(installation.settings, clock)
    with serving(create_app(services)) as base_url:
        api = client_of(base_url, installation.installed)
        with api.http:
            becomes(api, 503, "the clock is wrong: it is early")
            for path in (GENERATE, "/unknown"):
                answer = api.http.post(path, data=FIELDS)
                assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (503, b"", "5")
            wrong = False
            becomes(api, 200, "ready")
            assert api.post(GENERATE, FIELDS).code == 815


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Put a file system of 16 MB in a folder."""
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can make a small disk")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=False, capture_output=True)
    if made.returncode:
        pytest.skip(f"a small disk cannot be made: {made.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_nearly_full(sqlite_template: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk):
        data = disk / "data"
        shutil.copytree(sqlite_template, data)
        settings = Settings(data_dir=data, **token_settings(KEYS_IN, request))
        installed = install(settings, demo=True, now=utc_now())
        with serving(create_app(open_services(settings))) as base_url:
            api = client_of(base_url, installed)
            with api.http:
                becomes(api, 200, "ready")
                ballast = disk / "ballast"
                ballast.write_bytes(bytes(shutil.disk_usage(disk).free - 700_000))
                becomes(api, 503, "the disk is nearly full")
                # It is not full yet.
                assert api.post(GENERATE, FIELDS).code == 815
                ballast.unlink()
                becomes(api, 200, "ready")


def test_who_asks_often_costs_little(api: Api, services: Services) -> None:
    becomes(api, 200, "ready")
    statements: list[str] = []
    listener = (services.storage.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    event.listen(*listener)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        statuses = set(threads.map(lambda _: api.http.get("/readyz").status_code, range(200)))
    seconds = time.monotonic() - began
    event.remove(*listener)
    assert statuses == {200}
    # Some for each look, and one look a second.
    assert len(statements) <= 5 * (seconds / readiness.KEPT_S + 2)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_cannot_be_looked_at_is_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def bug(_: Services) -> str | None:
        raise ZeroDivisionError("secret details")

    with monkeypatch.context() as planted:
        planted.setattr(readiness, "CHECKS", (*readiness.CHECKS, bug))
        becomes(api, 503, "it could not be looked at")
    becomes(api, 200, "ready")


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_is_in_the_way_is_logged_when_it_begins_and_when_it_ends(
    api: Api, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "KEPT_S", 0.0)
    file = services.storage.database.file
    assert file is not None
    lock = file.with_name(file.name + ".lock")
    lock.unlink(missing_ok=True)
    with structlog.testing.capture_logs() as logs:
        lock.mkdir()
        for _ in range(3):
            becomes(api, 503, "the database cannot be written to")
        lock.rmdir()
        for _ in range(3):
            becomes(api, 200, "ready")
    told = [(line["event"], line.get("reason")) for line in logs if line["event"] in ("not ready", "ready again")]
    assert told == [("not ready", "the database cannot be written to"), ("ready again", None)]
