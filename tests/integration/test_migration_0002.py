"""The migration that takes the foreign keys of license keys and batches away: on SQLite it makes both tables anew."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from hanaper.settings import Settings
from hanaper.storage import migrate
from hanaper.storage.transactions import Storage

TABLES = ("license_keys", "batches")
MOMENT = "'2026-01-02 03:04:05.678901'"  # what stands for the word MOMENT in the statements below

OWNERS = [
    """INSERT INTO products (uuid, slug, external_reference, source, name, post_url, description, status,
            require_non_expired, created_at, updated_at)
        VALUES ('u1', 'one', '', 'internal', 'One', '', '', 'active', 0, MOMENT, MOMENT),
               ('u2', 'two', '', 'internal', 'Two', '', '', 'inactive', 1, MOMENT, MOMENT)""",
    """INSERT INTO api_keys (name, kind, digest, hint, status, abilities, allowed_networks, created_at, updated_at)
        VALUES ('Key', 'live', 'digest', '', 'active', '["*"]', '[]', MOMENT, MOMENT)""",
    """INSERT INTO generators (uuid, product_id, name, method, prefix, suffix, function_name, number_of_chunks,
            chunk_length, charset, activation_limit, validity, status, created_at, updated_at)
        VALUES ('g1', 1, 'G', 'uuid', '', '', '', 0, 0, '', 0, 0, 1, MOMENT, MOMENT)""",
    """INSERT INTO signing_keys (product_id, version, kid, algorithm, bits, public_pem, private_ciphertext, kek_id,
            state, created_at) VALUES (1, 1, 'kid', 'RSA-SHA256', 2048, '', '', '', 'active', MOMENT)""",
]
COLUMNS = {
    "license_keys": """product_id, generator_id, batch_id, contract_id, source, license_key, owner_name, owner_email,
        activation_limit, validity, assigned_at, status, created_at, updated_at, deleted_at""",
    "batches": """request_id, api_key_id, product_id, generator_id, quantity, signing_key_id, signed_at, signature,
        created_at""",
}
ROWS = {
    "license_keys": [
        "1, 1, 1, NULL, 'generator', 'a', NULL, NULL, 3, 365, NULL, 'available', MOMENT, MOMENT, NULL",
        "2, NULL, NULL, 7, 'contract', 'é/日本\\''<&😀', 'Ω', 'a@b', 0, 0, MOMENT, 'assigned', MOMENT, MOMENT, NULL",
        "1, 1, 1, NULL, 'import', 'c', '', '', 2147483647, 0, NULL, 'blocked', MOMENT, MOMENT, MOMENT",
        "1, 1, 2, NULL, 'manual', '007', NULL, NULL, 0, 1, NULL, 'reserved', MOMENT, MOMENT, NULL",
    ],
    "batches": [
        "'request 1', 1, 1, 1, 2, 1, 1795612455, 'signature', MOMENT",
        "'request 2', NULL, 1, 1, 1, 1, 0, '', MOMENT",
        "'request 3', 1, 2, 1, 1000, 1, 9007199254740993, 'x', MOMENT",
    ],
}
# One for each rule of the schema.
FORBIDDEN = {
    "license_keys": [
        "source = 'other'",
        "status = 'other'",
        "activation_limit = -1",
        "validity = -1",
        "license_key = ''",
        "license_key = 'taken'",
        "license_key = NULL",
        "product_id = NULL",
        f"license_key = '{'x' * 256}'",
        f"owner_name = '{'x' * 256}'",
        f"owner_email = '{'x' * 256}'",
        "created_at = NULL",
    ],
    "batches": [
        "quantity = 0",
        "request_id = ''",
        f"request_id = '{'x' * 33}'",
        "signature = NULL",
        "signing_key_id = NULL",
    ],
}


@pytest.fixture
def storage(empty_database_url: str) -> Iterator[Storage]:
    """A database of the first release, with two products and what belongs to them."""
    with Storage.open(Settings(database_url=empty_database_url)) as opened:
        migrate.upgrade(opened, "0001")
        run(opened, *OWNERS)
        yield opened


def run(storage: Storage, *statements: str) -> None:
    def work(session: Session) -> None:
        for statement in statements:
            session.connection().exec_driver_sql(statement.replace("MOMENT", MOMENT))

    storage.write(work)


def insert(table: str, row: str) -> str:
    return f"INSERT INTO {table} ({COLUMNS[table]}) VALUES ({row})"  # noqa: S608 -- out of the tables above


def fill(storage: Storage) -> None:
    run(storage, *(insert(table, row) for table in TABLES for row in ROWS[table]))


def ask(storage: Storage, query: str) -> list[Any]:
    return storage.read(lambda session: [tuple(row) for row in session.execute(text(query))])


def contents(storage: Storage) -> dict[str, list[Any]]:
    return {
        table: ask(storage, f"SELECT id, {COLUMNS[table]} FROM {table} ORDER BY id")  # noqa: S608 -- as above
        for table in TABLES
    }


def indexes(storage: Storage) -> Sequence[Any]:
    if storage.database.file is None:
        query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"
    else:
        query = "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index' ORDER BY tbl_name, name"
    return [row for row in ask(storage, query) if "configuration_version" not in str(row) and "staged" not in str(row)]


def next_id(storage: Storage, table: str) -> int:
    """The id that a new row gets."""
    row = ROWS[table][0].replace("'a'", f"'{len(contents(storage)[table])} more'")
    run(storage, insert(table, row))
    (found,) = ask(storage, f"SELECT max(id) FROM {table}")  # noqa: S608 -- as above
    return int(found[0])


def up(storage: Storage) -> None:
    migrate.upgrade(storage, "0002")


def down(storage: Storage) -> None:
    migrate.downgrade(storage, "0001")


def test_rows_and_their_ids_stay_as_they_are(storage: Storage) -> None:
    fill(storage)
    before = contents(storage)
    assert [len(before[table]) for table in TABLES] == [4, 3]
    for step in (up, down, up, up):
        step(storage)
        assert contents(storage) == before


def test_indexes_stay_as_they_are(storage: Storage) -> None:
    before = indexes(storage)
    assert {"ix_license_keys_batch_id", "ix_license_keys_product_id_status", "ix_batches_generator_id"} <= {
        name for row in before for name in row
    }
    for step in (up, down, up):
        step(storage)
        assert indexes(storage) == before


@pytest.mark.parametrize("table", TABLES)
def test_every_rule_stays_in_force(storage: Storage, table: str) -> None:
    fill(storage)
    run(storage, insert("license_keys", ROWS["license_keys"][0].replace("'a'", "'taken'")))
    for step in (up, down, up):
        step(storage)
        before = contents(storage)
        for change in FORBIDDEN[table]:
            with pytest.raises((IntegrityError, DataError)):
                run(storage, f"UPDATE {table} SET {change} WHERE id = 1")  # noqa: S608 -- as above
        assert contents(storage) == before


@pytest.mark.parametrize("table", TABLES)
def test_no_id_is_given_out_twice_also_where_the_newest_rows_are_gone(storage: Storage, table: str) -> None:
    fill(storage)
    highest = len(ROWS[table])
    run(storage, f"DELETE FROM {table} WHERE id = {highest}")  # noqa: S608 -- as above
    for step in (up, down, up):
        step(storage)
        found = next_id(storage, table)
        assert found > highest
        if storage.database.file is not None:
            assert found == highest + 1
        highest = found
        run(storage, f"DELETE FROM {table} WHERE id = {highest}")  # noqa: S608 -- as above


@pytest.mark.parametrize("table", TABLES)
def test_no_id_is_given_out_twice_also_where_all_rows_are_gone(storage: Storage, table: str) -> None:
    fill(storage)
    run(storage, f"DELETE FROM {table}")  # noqa: S608 -- as above
    for step in (up, down, up):
        step(storage)
    assert next_id(storage, table) > len(ROWS[table])


@pytest.mark.parametrize("table", TABLES)
def test_where_there_never_was_a_row_ids_begin_at_one(storage: Storage, table: str) -> None:
    for step in (up, down, up):
        step(storage)
    assert next_id(storage, table) == 1


def test_license_keys_and_batches_depend_on_no_other_row_and_did_before(storage: Storage) -> None:
    orphans = [
        insert("license_keys", ROWS["license_keys"][1].replace("2, NULL", "99, NULL", 1)),
        *(
            insert("batches", row)
            for row in (
                "'r', 99, 1, 1, 1, 1, 0, '', MOMENT",
                "'r', 1, 99, 1, 1, 1, 0, '', MOMENT",
                "'r', 1, 1, 99, 1, 1, 0, '', MOMENT",
                "'r', 1, 1, 1, 1, 99, 0, '', MOMENT",
            )
        ),
    ]
    for orphan in orphans:
        with pytest.raises(IntegrityError):
            run(storage, orphan)
    up(storage)
    run(storage, *orphans)
    run(storage, "DELETE FROM license_keys", "DELETE FROM batches")
    down(storage)
    for orphan in orphans:
        with pytest.raises(IntegrityError):
            run(storage, orphan)


def test_what_is_attached_to_a_license_key_stays_attached(storage: Storage) -> None:
    fill(storage)
    run(
        storage,
        """INSERT INTO license_key_meta (license_key_id, key, value, created_at, updated_at)
           VALUES (1, 'color', 'red', MOMENT, MOMENT), (3, 'color', 'blue', MOMENT, MOMENT)""",
    )
    query = "SELECT license_key, key, value FROM license_key_meta m JOIN license_keys k ON k.id = license_key_id"
    before = ask(storage, query)
    assert len(before) == 2
    for step in (up, down, up):
        step(storage)
        assert ask(storage, query) == before
        # And to a row of the new table, not of one that is gone.
        with pytest.raises(IntegrityError):
            run(storage, "DELETE FROM license_keys WHERE id = 1")
        with pytest.raises(IntegrityError):
            run(storage, "UPDATE license_key_meta SET license_key_id = 99")


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_file_is_sound_and_nothing_else_in_it_has_changed(storage: Storage) -> None:
    def others() -> list[Any]:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name"
        new = {*TABLES, "configuration_version", "staged_batches"}
        return [row for row in ask(storage, query) if row[0] not in new]

    fill(storage)
    before = others()
    assert len(before) > 8
    for step in (up, down, up):
        step(storage)
        assert others() == before
        assert ask(storage, "PRAGMA integrity_check") == [("ok",)]
        assert ask(storage, "PRAGMA foreign_key_check") == []
    assert ask(storage, "PRAGMA foreign_keys") == [(1,)]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_ids_are_still_numbered_by_sqlite_and_never_reused(storage: Storage) -> None:
    for step in (up, down, up):
        step(storage)
        for table in TABLES:
            ((statement,),) = ask(storage, f"SELECT sql FROM sqlite_master WHERE name = '{table}'")  # noqa: S608 -- as above
            assert re.search(r"\bid INTEGER NOT NULL (CONSTRAINT \S+ )?PRIMARY KEY AUTOINCREMENT", statement)


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_connections_take_ids_in_blocks_and_did_not_before(storage: Storage) -> None:
    def sizes() -> list[int]:
        query = "SELECT cache_size FROM pg_sequences WHERE sequencename IN ('license_keys_id_seq', 'batches_id_seq')"
        return sorted(row[0] for row in ask(storage, query))

    assert sizes() == [1, 1]
    up(storage)
    assert sizes() == [100, 1000]
    with storage.engine.connect() as one, storage.engine.connect() as other:

        def taken(connection: Connection) -> int:
            return int(connection.scalar(text("SELECT nextval('batches_id_seq')")) or 0)

        first = [taken(one) for _ in range(3)]
        second = [taken(other) for _ in range(3)]
    assert first == list(range(first[0], first[0] + 3))
    assert second == list(range(second[0], second[0] + 3))
    assert abs(second[0] - first[0]) >= 100
    down(storage)
    assert sizes() == [1, 1]


def test_an_upgrade_that_fails_in_the_middle_leaves_the_old_schema_and_all_rows(storage: Storage) -> None:
    fill(storage)
    before = contents(storage)
    # A thing that the last steps are going to make is there already.
    planted = {
        True: "CREATE TRIGGER signing_keys_delete_configures AFTER DELETE ON signing_keys BEGIN SELECT 1; END",
        False: "CREATE FUNCTION draw_configuration_version() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
    }[storage.database.file is not None]
    run(storage, planted)
    with pytest.raises(Exception, match="already exists"):
        up(storage)
    assert ask(storage, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert contents(storage) == before
    with pytest.raises(IntegrityError):
        run(storage, insert("batches", "'r', 99, 1, 1, 1, 1, 0, '', MOMENT"))
    run(
        storage,
        "DROP TRIGGER signing_keys_delete_configures"
        if storage.database.file is not None
        else "DROP FUNCTION draw_configuration_version",
    )
    up(storage)
    assert contents(storage) == before


def test_there_is_a_version_from_the_upgrade_on_and_none_after_the_downgrade(storage: Storage) -> None:
    for _ in range(2):
        up(storage)
        assert len(ask(storage, "SELECT version FROM configuration_version")) == 1
        before = ask(storage, "SELECT version FROM configuration_version")
        run(storage, "UPDATE products SET name = 'Changed' WHERE id = 1")
        assert ask(storage, "SELECT version FROM configuration_version") != before
        down(storage)
        # No trigger is left that would look for it.
        run(storage, "UPDATE products SET name = 'One' WHERE id = 1", "DELETE FROM block_list")
        with pytest.raises(Exception, match="configuration_version"):
            ask(storage, "SELECT version FROM configuration_version")
