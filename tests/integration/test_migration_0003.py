"""The migration that brings activations, the reasons of a block and outgoing calls, on tables that have rows."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from hanaper.licenses import rules
from hanaper.licenses.rules import State
from hanaper.settings import Settings
from hanaper.storage import migrate
from hanaper.storage.transactions import Storage

# SQLAlchemy cannot read the index `uq_signing_keys_active` back from SQLite.
pytestmark = pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")

MOMENT = "'2026-01-02 03:04:05.678901'"  # what stands for the word MOMENT in the statements below

COLUMNS = """product_id, generator_id, batch_id, contract_id, source, license_key, owner_name, owner_email,
    activation_limit, validity, assigned_at, status, created_at, updated_at, deleted_at"""
ROWS = [
    "1, 1, 1, NULL, 'generator', 'a', NULL, NULL, 3, 365, NULL, 'available', MOMENT, MOMENT, NULL",
    "1, NULL, NULL, 7, 'contract', 'é/日本\\''<&😀', 'Ω', 'a@b', 0, 0, MOMENT, 'assigned', MOMENT, MOMENT, NULL",
    "1, 1, 1, NULL, 'import', 'c', '', '', 2147483647, 0, NULL, 'blocked', MOMENT, MOMENT, MOMENT",
    "1, 1, 2, NULL, 'manual', '007', NULL, 'a@b', 5, 1000000, MOMENT, 'blocked', MOMENT, MOMENT, NULL",
    "1, 1, 2, NULL, 'manual', 'd', NULL, NULL, 0, 1, NULL, 'reserved', MOMENT, MOMENT, NULL",
]
BATCH = """INSERT INTO batches (request_id, api_key_id, product_id, generator_id, quantity, signing_key_id, signed_at,
    signature, created_at) VALUES ('request 1', 1, 1, 1, 2, 1, 1795612455, 'signature', MOMENT)"""
ATTACHED = """INSERT INTO license_key_meta (license_key_id, key, value, created_at, updated_at)
    VALUES (1, 'color', 'red', MOMENT, MOMENT), (4, 'color', 'blue', MOMENT, MOMENT)"""
PRODUCT = """INSERT INTO products (uuid, slug, external_reference, source, name, post_url, description, status,
    require_non_expired, created_at, updated_at)
    VALUES ('u1', 'one', '', 'internal', 'One', '', '', 'active', 0, MOMENT, MOMENT)"""
TABLES = {
    "license_keys": COLUMNS,
    "batches": "request_id, api_key_id, product_id, generator_id, quantity, signing_key_id, signed_at, signature",
    "license_key_meta": "license_key_id, key, value, created_at, updated_at",
    "products": "uuid, slug, name, status, created_at",
}
ACTIVATION_COLUMNS = """license_key_id, identifier, status, post_url, ip, user_agent, activated_at, created_at,
    updated_at"""
CALL_COLUMNS = "url, body, state, attempts, outcome, due_at, created_at, updated_at"
# One for each rule of the new tables and of the new column.
FORBIDDEN = [
    "UPDATE license_keys SET block_reason = 'other' WHERE id = 4",
    *(
        f"INSERT INTO activations ({ACTIVATION_COLUMNS}) VALUES ({row}, MOMENT, MOMENT, MOMENT)"  # noqa: S608 -- as above
        for row in (
            "2, 'other.example', 'other', '', '', ''",
            "2, '', 'active', '', '', ''",
            f"2, '{'x' * 256}', 'active', '', '', ''",
            f"2, 'other.example', 'active', '{'x' * 2049}', '', ''",
            f"2, 'other.example', 'active', '', '', '{'x' * 256}'",
            "2, NULL, 'active', '', '', ''",
            "2, 'shop.example', 'inactive', '', '', ''",
            "99, 'other.example', 'active', '', '', ''",
        )
    ),
    *(
        f"INSERT INTO outgoing_calls ({CALL_COLUMNS}) VALUES ({row}, MOMENT, MOMENT, MOMENT)"  # noqa: S608 -- as above
        for row in (
            "'https://a.example', '', 'other', 0, ''",
            "'https://a.example', '', 'waiting', -1, ''",
            "'', '', 'waiting', 0, ''",
            f"'{'x' * 2049}', '', 'waiting', 0, ''",
            f"'https://a.example', '', 'failed', 0, '{'x' * 256}'",
        )
    ),
]
ACTIVATION = "2, 'shop.example', 'active', '', '', '', MOMENT, MOMENT, MOMENT"
CALL = "'https://a.example', '', 'waiting', 0, '', MOMENT, MOMENT, MOMENT"
USED = [
    f"INSERT INTO activations ({ACTIVATION_COLUMNS}) VALUES ({ACTIVATION})",  # noqa: S608 -- as above
    f"INSERT INTO outgoing_calls ({CALL_COLUMNS}) VALUES ({CALL})",  # noqa: S608 -- as above
]


@pytest.fixture
def storage(empty_database_url: str) -> Iterator[Storage]:
    """A database of the release before, with rows of every kind that the migration meets."""
    with Storage.open(Settings(database_url=empty_database_url)) as opened:
        migrate.upgrade(opened, "0002")
        run(opened, PRODUCT, BATCH)
        run(opened, *(f"INSERT INTO license_keys ({COLUMNS}) VALUES ({row})" for row in ROWS))  # noqa: S608 -- as above
        run(opened, ATTACHED)
        yield opened


def run(storage: Storage, *statements: str) -> None:
    def work(session: Session) -> None:
        for statement in statements:
            session.connection().exec_driver_sql(statement.replace("MOMENT", MOMENT))

    storage.write(work)


def ask(storage: Storage, query: str) -> list[Any]:
    return storage.read(lambda session: [tuple(row) for row in session.execute(text(query))])


def contents(storage: Storage) -> dict[str, list[Any]]:
    return {
        table: ask(storage, f"SELECT id, {columns} FROM {table} ORDER BY id")  # noqa: S608 -- as above
        for table, columns in TABLES.items()
    }


def reasons(storage: Storage) -> list[Any]:
    return ask(storage, "SELECT id, status, block_reason FROM license_keys ORDER BY id")


def structure(storage: Storage) -> dict[str, Any]:
    """Columns, checks, indexes and foreign keys of all tables."""
    with storage.engine.connect() as connection:
        look = inspect(connection)
        return {
            table: (
                [str(column) for column in look.get_columns(table)],
                sorted(str(check) for check in look.get_check_constraints(table)),
                sorted(str((index["name"], index["column_names"])) for index in look.get_indexes(table)),
                sorted(str(key) for key in look.get_foreign_keys(table)),
            )
            for table in look.get_table_names()
        }


def up(storage: Storage) -> None:
    migrate.upgrade(storage, "0003")


def down(storage: Storage) -> None:
    migrate.downgrade(storage, "0002")


def test_rows_and_their_ids_stay_as_they_are(storage: Storage) -> None:
    before = contents(storage)
    assert [len(rows) for rows in before.values()] == [5, 1, 2, 1]
    for step in (up, down, up, up):
        step(storage)
        assert contents(storage) == before


def test_what_was_blocked_is_suspended_which_may_be_lifted(storage: Storage) -> None:
    for step in (up, down, up):
        step(storage)
        if step is up:
            assert reasons(storage) == [
                (1, "available", None),
                (2, "assigned", None),
                (3, "blocked", "suspended"),
                (4, "blocked", "suspended"),
                (5, "reserved", None),
            ]
    assert [rules.stored_state(status, reason) for _, status, reason in reasons(storage)] == [
        State.AVAILABLE,
        State.ASSIGNED,
        State.SUSPENDED,
        State.SUSPENDED,
        State.RESERVED,
    ]
    assert rules.may_move(State.SUSPENDED, State.ASSIGNED)


def test_down_and_up_again_makes_the_same_tables(storage: Storage) -> None:
    old = structure(storage)
    up(storage)
    new = structure(storage)
    assert new.keys() - old.keys() == {"activations", "outgoing_calls"}
    assert {table for table in old if old[table] != new[table]} == {"license_keys"}
    down(storage)
    assert structure(storage) == old
    up(storage)
    assert structure(storage) == new


def test_the_new_rules_are_in_force(storage: Storage) -> None:
    for step in (up, down, up):
        step(storage)
        if step is down:
            continue
        run(storage, *USED)
        before = contents(storage)
        for statement in FORBIDDEN:
            with pytest.raises((IntegrityError, DataError)):
                run(storage, statement)
        assert contents(storage) == before
        assert ask(storage, "SELECT count(*) FROM activations") == [(1,)]
        assert ask(storage, "SELECT count(*) FROM outgoing_calls") == [(1,)]


def test_the_old_rules_stay_in_force(storage: Storage) -> None:
    changes = ("status = 'other'", "license_key = 'c'", "validity = -1", "activation_limit = -1", "license_key = ''")
    for step in (up, down, up):
        step(storage)
        for change in changes:
            with pytest.raises((IntegrityError, DataError)):
                run(storage, f"UPDATE license_keys SET {change} WHERE id = 1")  # noqa: S608 -- as above


def test_no_id_is_given_out_twice_also_where_the_newest_row_is_gone(storage: Storage) -> None:
    run(storage, "DELETE FROM license_keys WHERE id = 5")
    highest = 5
    for number, step in enumerate((up, down, up)):
        step(storage)
        row = ROWS[0].replace("'a'", f"'more {number}'")
        run(storage, f"INSERT INTO license_keys ({COLUMNS}) VALUES ({row})")  # noqa: S608 -- as above
        ((found,),) = ask(storage, "SELECT max(id) FROM license_keys")
        assert found > highest
        highest = found
        run(storage, f"DELETE FROM license_keys WHERE id = {highest}")  # noqa: S608 -- as above


def test_a_revocation_comes_back_from_a_downgrade_as_a_suspension(storage: Storage) -> None:
    """The release before knows no reasons: what goes down with one comes up with the milder one."""
    up(storage)
    run(storage, "UPDATE license_keys SET block_reason = 'revoked' WHERE id = 4")
    down(storage)
    assert ask(storage, "SELECT status FROM license_keys WHERE id = 4") == [("blocked",)]
    up(storage)
    assert reasons(storage)[3] == (4, "blocked", "suspended")


def test_an_activation_belongs_to_a_license_key_of_the_release_before(storage: Storage) -> None:
    up(storage)
    run(storage, *USED)
    with pytest.raises(IntegrityError):
        run(storage, "DELETE FROM license_keys WHERE id = 2")


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_file_is_sound(storage: Storage) -> None:
    for step in (up, down, up):
        step(storage)
        assert ask(storage, "PRAGMA integrity_check") == [("ok",)]
        assert ask(storage, "PRAGMA foreign_key_check") == []
    assert ask(storage, "PRAGMA foreign_keys") == [(1,)]


def test_an_upgrade_that_fails_in_the_middle_leaves_the_old_schema_and_all_rows(storage: Storage) -> None:
    before, old = contents(storage), structure(storage)
    # A thing that the last steps are going to make is there already.
    run(storage, "CREATE TABLE outgoing_calls (id INTEGER)")
    with pytest.raises(Exception, match="already exists"):
        up(storage)
    run(storage, "DROP TABLE outgoing_calls")
    assert ask(storage, "SELECT version_num FROM alembic_version") == [("0002",)]
    assert contents(storage) == before
    assert structure(storage) == old
    up(storage)
    assert contents(storage) == before
