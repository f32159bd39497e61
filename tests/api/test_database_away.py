"""1705 while the database is away, and no restart when it is back."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.conftest import SAMPLE_KEY, Installation
from tests.support.api import Answer, Api
from tests.support.postgresql import PostgresqlServer
from tests.support.world import counts

from hanaper.licenses import store
from hanaper.web.services import Services

GENERATE = "/api/v1/generate"
FIELDS = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 2}


def unavailable(answer: Answer) -> None:
    assert (answer.code, answer.status, answer.signed_by) == (1705, 503, "global")
    assert answer.payload["message"] == "Service temporarily unavailable"
    assert list(answer.payload) == ["code", "message", "timestamp"]
    assert int(answer.http.headers["retry-after"]) > 0


def readiness(api: Api, status: int) -> str:
    """What /readyz says when it has this status; what it has seen it says for a second."""
    deadline = time.monotonic() + 30
    while (answer := api.http.get("/readyz")).status_code != status and time.monotonic() < deadline:
        time.sleep(0.1)
    assert answer.status_code == status
    return answer.text


@contextmanager
def away(services: Services, installation: Installation, request: pytest.FixtureRequest) -> Iterator[None]:
    """Takes the database away and brings it back."""
    file = services.storage.database.file
    if file is not None:
        with _folder_in_its_place(file):
            yield
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    name = installation.settings.database_url.partition("?")[0].rpartition("/")[2]
    _rename(server, name, f"{name}_away")
    yield
    _rename(server, f"{name}_away", name)


@contextmanager
def _folder_in_its_place(file: Path) -> Iterator[None]:
    # The connections that are open would go on with the file under its new name; new ones find a folder.
    kept = file.with_name("kept.db")
    file.rename(kept)
    file.mkdir()
    yield
    file.rmdir()
    kept.rename(file)


def _rename(server: PostgresqlServer, old: str, new: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        # Nobody may come back in between.
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(old)))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [old])
        connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(new)))


def test_while_the_database_is_away_every_request_is_told_so(
    api: Api, services: Services, installation: Installation, request: pytest.FixtureRequest
) -> None:
    assert api.post(GENERATE, FIELDS).code == 815
    with away(services, installation, request):
        for _ in range(3):
            unavailable(api.post(GENERATE, FIELDS))
            unavailable(api.get("/v1/get-all-generators", {"api_key": SAMPLE_KEY}))
            unavailable(api.get("/v1/get-product-public-key", {"api_key": SAMPLE_KEY, "product_id": 1}))
        assert api.get("/unknown").code == 1700
        assert api.http.get("/healthz").status_code == 200
        assert readiness(api, 503) == "the database does not answer\n"
    assert readiness(api, 200) == "ready\n"
    assert api.post(GENERATE, FIELDS).code == 815
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (4, 2)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_connections_that_are_cut_under_load_cost_no_acknowledged_key(
    api: Api, services: Services, postgresql_server: PostgresqlServer, installation: Installation
) -> None:
    name = installation.settings.database_url.partition("?")[0].rpartition("/")[2]

    def call(_: int) -> list[str]:
        answer = api.post(GENERATE, FIELDS)
        if answer.code != 815:
            unavailable(answer)
            return []
        keys: list[str] = answer.payload["licenseKeys"]
        return keys

    with ThreadPoolExecutor(4) as threads, psycopg.connect(postgresql_server.url("postgres"), autocommit=True) as other:
        calls = [threads.submit(call, number) for number in range(80)]
        while not all(each.done() for each in calls):
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            wait(calls, timeout=0.05, return_when=FIRST_EXCEPTION)
        acknowledged = [key for each in calls for key in each.result()]
    assert len(acknowledged) == len(set(acknowledged))
    stored = services.storage.read(lambda session: store.already_stored(session, acknowledged))
    assert stored == set(acknowledged)
    found = counts(services.storage)
    assert found.license_keys == 2 * found.batches


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_no_key_is_acknowledged_into_a_file_that_is_gone(api: Api, services: Services) -> None:
    """An open connection would take it, and nobody would ever see it again."""
    file = services.storage.database.file
    assert file is not None
    assert api.post(GENERATE, FIELDS).code == 815
    kept = file.rename(file.with_name("kept.db"))
    for _ in range(3):
        unavailable(api.post(GENERATE, FIELDS))
        unavailable(api.get("/v1/get-all-generators", {"api_key": SAMPLE_KEY}))
    assert not file.exists(), "an empty database in its place would hide the loss"
    kept.rename(file)
    assert api.post(GENERATE, FIELDS).code == 815
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (4, 2)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_file_that_was_put_back_from_a_backup_is_the_one_that_is_written_to(
    api: Api, services: Services, tmp_path: Path
) -> None:
    file = services.storage.database.file
    assert file is not None
    services.storage.engine.dispose()
    backup = Path(shutil.copy(file, tmp_path / "backup.db"))
    assert api.post(GENERATE, FIELDS).code == 815
    for rest in ("-wal", "-shm"):
        file.with_name(file.name + rest).unlink(missing_ok=True)
    backup.replace(file)
    answer = api.post(GENERATE, FIELDS)
    assert answer.code == 815
    services.storage.engine.dispose()
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (2, 1)
    stored = services.storage.read(lambda session: store.already_stored(session, answer.payload["licenseKeys"]))
    assert stored == set(answer.payload["licenseKeys"])


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_file_that_is_no_database_is_a_database_that_is_away(api: Api, services: Services) -> None:
    file = services.storage.database.file
    assert file is not None
    kept = file.rename(file.with_name("kept.db"))
    file.write_bytes(b"this is no database, and longer than the header of one is" * 100)
    unavailable(api.post(GENERATE, FIELDS))
    assert readiness(api, 503) == "the database does not answer\n"
    kept.replace(file)
    assert api.post(GENERATE, FIELDS).code == 815


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_lock_file_that_cannot_be_opened_makes_writers_wait_for_another_day(api: Api, services: Services) -> None:
    file = services.storage.database.file
    assert file is not None
    lock = file.with_name(file.name + ".lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    unavailable(api.post(GENERATE, FIELDS))
    assert api.get("/v1/get-all-generators", {"api_key": SAMPLE_KEY}).code == 820
    lock.rmdir()
    assert api.post(GENERATE, FIELDS).code == 815
