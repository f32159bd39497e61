"""Transactions on real databases: what is kept, what is not, and what a failure is called."""

from threading import Event, Thread

import pytest
from sqlalchemy import delete, text
from sqlalchemy.exc import IntegrityError
from tests.conftest import Installation
from tests.support.api import Api
from tests.support.world import counts

from hanaper.access import store
from hanaper.access.models import BlockedEntry
from hanaper.clock import utc_now
from hanaper.refusal import Unavailable
from hanaper.storage import engine, sqlite
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services


def add(session: Session, value: str) -> int:
    row = BlockedEntry(kind="identifier", value=value, reason="", expires_at=None, created_at=utc_now())
    session.add(row)
    session.flush()
    return row.id


def values(storage: Storage) -> list[str]:
    return storage.read(lambda session: [row.value for row in store.block_list(session)])


@pytest.fixture(autouse=True)
def _nothing_blocked(request: pytest.FixtureRequest) -> None:
    if "shared" in request.fixturenames:
        services: Services = request.getfixturevalue("shared")
        services.storage.write(lambda session: session.execute(delete(BlockedEntry)))


def test_what_is_written_is_there_for_everybody(shared: Services) -> None:
    row_id = shared.storage.write(lambda session: add(session, "a"))
    assert row_id > 0
    assert values(shared.storage) == ["a"]
    with Storage.open(shared.settings) as other:
        assert values(other) == ["a"]


def test_what_a_write_leaves_in_the_session_is_flushed_and_committed(shared: Services) -> None:
    def work(session: Session) -> None:
        session.add(BlockedEntry(kind="identifier", value="a", reason="", expires_at=None, created_at=utc_now()))

    shared.storage.write(work)
    assert values(shared.storage) == ["a"]


def test_a_read_keeps_nothing(shared: Services) -> None:
    shared.storage.write(lambda session: add(session, "a"))

    def work(session: Session) -> list[str]:
        add(session, "b")
        session.execute(text("UPDATE block_list SET reason = 'changed'"))
        return [row.value for row in store.block_list(session)]

    assert shared.storage.read(work) == ["a", "b"]
    assert values(shared.storage) == ["a"]
    shared.storage.write(lambda session: add(session, "c"))
    assert values(shared.storage) == ["a", "c"]
    reasons = shared.storage.read(lambda session: {row.reason for row in store.block_list(session)})
    assert reasons == {""}


@pytest.mark.parametrize("error", [ZeroDivisionError("planted"), Unavailable("planted"), KeyboardInterrupt()])
def test_an_exception_in_the_middle_takes_everything_back(shared: Services, error: BaseException) -> None:
    def work(session: Session) -> None:
        add(session, "a")
        add(session, "b")
        raise error

    with pytest.raises(type(error)) as caught:
        shared.storage.write(work)
    assert caught.value is error
    assert values(shared.storage) == []
    shared.storage.write(lambda session: add(session, "c"))
    assert values(shared.storage) == ["c"]


def test_a_constraint_takes_everything_back_and_is_not_called_an_outage(shared: Services) -> None:
    def work(session: Session) -> None:
        add(session, "a")
        add(session, "a")

    with pytest.raises(IntegrityError):
        shared.storage.write(work)
    assert values(shared.storage) == []


def test_what_fails_only_at_the_last_moment_is_taken_back_too(shared: Services) -> None:
    def work(session: Session) -> None:
        add(session, "a")
        session.add(BlockedEntry(kind="nonsense", value="b", reason="", expires_at=None, created_at=utc_now()))

    with pytest.raises(IntegrityError):
        shared.storage.write(work)
    assert values(shared.storage) == []


def test_rows_can_be_used_after_the_write_that_made_them(shared: Services) -> None:
    def work(session: Session) -> BlockedEntry:
        add(session, "a")
        return store.block_list(session)[0]

    assert shared.storage.write(work).value == "a"


def test_readers_go_on_while_somebody_writes_and_see_only_what_is_committed(shared: Services) -> None:
    written, finish = Event(), Event()

    def work(session: Session) -> None:
        add(session, "a")
        written.set()
        assert finish.wait(60)

    writer = Thread(target=shared.storage.write, args=(work,))
    writer.start()
    assert written.wait(60)
    seen = values(shared.storage)
    finish.set()
    writer.join()
    assert seen == []
    assert values(shared.storage) == ["a"]


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_connection_that_is_cut_is_called_unavailable_and_replaced(services: Services) -> None:
    for work in (services.storage.read, services.storage.write):
        with pytest.raises(Unavailable, match="the database does not answer"):
            work(lambda session: session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")))
        services.storage.ping()


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_foreign_program_that_writes_for_too_long_is_called_unavailable(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not take its turn by the lock file, a database browser say."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 10)
    with Storage.open(installation.settings) as storage, Storage.open(installation.settings) as foreign:
        with foreign.engine.connect().execution_options(hanaper_writes=True) as connection:
            connection.execute(text("SELECT 1"))
            with pytest.raises(Unavailable, match="locked"):
                storage.write(lambda session: add(session, "a"))
        storage.write(lambda session: add(session, "b"))
        assert values(storage) == ["b"]


def test_no_free_connection_is_called_unavailable(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "POOL_TIMEOUT_S", 0.05)
    with Storage.open(installation.settings.model_copy(update={"database_pool_size": 1})) as storage:
        with storage.engine.connect(), pytest.raises(Unavailable, match="no database connection became free in time"):
            storage.ping()
        storage.ping()


SQLITE_PLANT = """
    CREATE TRIGGER planted BEFORE INSERT ON {table} WHEN (SELECT count(*) FROM {table}) = {before}
    BEGIN SELECT RAISE(FAIL, 'planted'); END
"""
POSTGRESQL_PLANT = """
    CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF (SELECT count(*) FROM {table}) = {before} THEN RAISE EXCEPTION 'planted'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER planted BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION planted()
"""
PLANTS = {"sqlite": SQLITE_PLANT, "postgresql": POSTGRESQL_PLANT}
UPROOTS = {"sqlite": "DROP TRIGGER planted", "postgresql": "DROP TRIGGER planted ON {table}"}


@pytest.mark.parametrize(
    ("table", "before"), [("license_keys", 0), ("license_keys", 4), ("license_keys", 9), ("batches", 0)]
)
def test_one_row_that_fails_takes_its_whole_batch_along(
    api: Api, services: Services, database_kind: str, table: str, before: int
) -> None:
    """The first, a middle and the last key of ten; and the record of the batch."""
    fields = {"api_key": "2964c3c9-0b5d-4d89-b3ac-4668f30bc492", "generator_id": 1, "quantity": 10}

    statement = PLANTS[database_kind].format(table=table, before=before)
    services.storage.write(lambda session: session.connection().exec_driver_sql(statement))
    answer = api.post("/api/v1/generate", fields)
    assert (answer.code, answer.status) in {(1705, 503), (1706, 500)}
    assert answer.signed_by == "global"
    assert "licenseKeys" not in answer.payload
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (0, 0)
    uproot = UPROOTS[database_kind].format(table=table)
    services.storage.write(lambda session: session.connection().exec_driver_sql(uproot))
    assert api.post("/api/v1/generate", fields).code == 815
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (10, 1)
