"""How connections are really set up."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection, text
from tests.conftest import Installation
from tests.support.postgresql import PostgresqlServer

from hanaper.app import open_services
from hanaper.refusal import Misconfigured
from hanaper.settings import Settings
from hanaper.storage import sqlite, transactions
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services


@contextmanager
def several(services: Services) -> Iterator[list[Connection]]:
    """Connections at the same time, so that not one is looked at three times."""
    with ExitStack() as stack:
        yield [stack.enter_context(services.storage.engine.connect()) for _ in range(3)]


@pytest.mark.parametrize("shared", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("mmap_size", 0),
        ("busy_timeout", sqlite.BUSY_TIMEOUT_MS),
    ],
)
def test_every_sqlite_connection_is_set_to_be_safe(shared: Services, pragma: str, value: str | int) -> None:
    if pragma == "journal_mode":
        value = sqlite.journal_mode(sqlite.library().sqlite_version_info)
    with several(shared) as connections:
        for connection in connections:
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == value


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_foreign_keys_are_enforced(services: Services) -> None:
    statement = text(
        "INSERT INTO product_meta (product_id, key, value, created_at, updated_at) VALUES (99, 'a', '', 0, 0)"
    )
    with pytest.raises(Exception, match="FOREIGN KEY"):
        services.storage.write(lambda session: session.execute(statement))


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 34, 1), "truncate"),
        ((3, 46, 0), "truncate"),
        ((3, 51, 2), "truncate"),
        ((3, 51, 3), "wal"),
        ((3, 52, 0), "wal"),
        ((4, 0, 0), "wal"),
    ],
)
def test_only_a_library_without_the_fault_writes_ahead(version: tuple[int, ...], mode: str) -> None:
    assert sqlite.journal_mode(version) == mode


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_an_old_library_works_too_and_takes_the_database_over(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "FIRST_SAFE_FOR_WAL", (99,))
    services = open_services(installation.settings)
    with services.storage as storage:
        storage.write(lambda session: session.execute(text("UPDATE products SET name = 'Old'")))
        with several(services) as connections:
            for connection in connections:
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "truncate"
                assert connection.exec_driver_sql("SELECT name FROM products").scalar_one() == "Old"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_journal_that_cannot_be_had_stops_the_start(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "journal_mode", lambda _: "nonsense")
    with pytest.raises(Misconfigured, match=r"journal mode .* where nonsense is needed"):
        open_services(installation.settings)


def test_a_new_sqlite_file_is_for_its_owner_only(tmp_path: Path) -> None:
    with Storage.open(Settings(data_dir=tmp_path)) as storage:
        storage.write(lambda session: session.execute(text("CREATE TABLE a (b)")))
        for file in tmp_path.iterdir():
            assert file.stat().st_mode & 0o077 == 0, file.name
        assert {file.name for file in tmp_path.iterdir()} >= {"hanaper.db", "hanaper.db.lock"}


@pytest.mark.parametrize("shared", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("synchronous_commit", "on"),
        ("lock_timeout", "5s"),
        ("statement_timeout", "15s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("TimeZone", "UTC"),
        ("application_name", "hanaper"),
    ],
)
def test_every_postgresql_session_is_set_to_be_safe(shared: Services, setting: str, value: str) -> None:
    with several(shared) as connections:
        for connection in connections:
            assert connection.exec_driver_sql(f"SHOW {setting}").scalar_one() == value


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("of", ["database", "role"])
def test_a_weaker_default_does_not_weaken_a_commit(
    installation: Installation, postgresql_server: PostgresqlServer, of: str
) -> None:
    name = sql.Identifier(installation.settings.database_url.partition("?")[0].rpartition("/")[2])
    owner = sql.SQL("DATABASE {}").format(name)
    if of == "role":
        owner = sql.SQL("ROLE CURRENT_USER IN DATABASE {}").format(name)
    wanted = {"off": "on", "local": "on", "remote_write": "on", "on": "on", "remote_apply": "remote_apply"}
    for default, expected in wanted.items():
        with psycopg.connect(postgresql_server.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER {} SET synchronous_commit = {}").format(owner, sql.Literal(default)))
        with psycopg.connect(installation.settings.database_url) as connection:
            assert connection.execute("SHOW synchronous_commit").fetchone() == (default,)
        with Storage.open(installation.settings) as storage:
            # Also inside the transactions that commit, and after one that was rolled back.
            for work in (storage.write, storage.read, storage.write):
                shown = work(lambda session: session.execute(text("SHOW synchronous_commit")).scalar_one())
                assert shown == expected


def closed(services: Services, driver: Any) -> bool:
    if services.storage.database.file is None:
        return bool(driver.closed)
    try:
        driver.execute("SELECT 1")
    except sqlite.library().ProgrammingError as error:
        return "closed" in str(error)
    return False


@pytest.mark.parametrize("farewell_s", [transactions.LONGEST_FAREWELL_S, 0])
def test_a_connection_that_is_at_work_when_the_storage_is_closed_is_closed_as_well(
    services: Services, farewell_s: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who asked may be gone: the thread cannot be stopped, and comes back with its connection a little later."""
    monkeypatch.setattr(transactions, "LONGEST_FAREWELL_S", farewell_s)
    begun, closing = Event(), Event()
    drivers: list[Any] = []

    def slow(session: Session) -> None:
        drivers.append(session.connection().connection.driver_connection)
        begun.set()
        assert closing.wait(60)
        sleep(0.2)

    with ThreadPoolExecutor(1) as thread:
        at_work = thread.submit(services.storage.read, slow)
        assert begun.wait(60)
        closing.set()
        services.storage.close()
        at_work.result()
    (driver,) = drivers
    assert closed(services, driver)
    assert caplog.records == []


def test_a_connection_that_is_opened_after_the_storage_is_closed_is_closed_as_well(services: Services) -> None:
    """By a thread that had not come to it yet."""
    services.storage.close()
    driver = services.storage.read(lambda session: session.connection().connection.driver_connection)
    assert closed(services, driver)
