"""Migrations, on real databases of both kinds."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hanaper.keystore.models import SigningKey
from hanaper.refusal import Misconfigured
from hanaper.settings import Settings
from hanaper.storage import migrate, schema
from hanaper.storage.transactions import Storage, lock_file
from hanaper.tables import metadata

# SQLAlchemy cannot read this index back from SQLite, and Alembic cannot compare it. What it does is tested below.
EXPRESSION_INDEX = "uq_signing_keys_active"
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:Skipped unsupported reflection of expression-based index {EXPRESSION_INDEX}"),
    pytest.mark.filterwarnings(
        f"ignore:autogenerate skipping metadata-specified expression-based index '{EXPRESSION_INDEX}'"
    ),
]


@pytest.fixture
def storage(empty_database_url: str) -> Iterator[Storage]:
    with Storage.open(Settings(database_url=empty_database_url)) as opened:
        yield opened


def tables(storage: Storage) -> set[str]:
    with storage.engine.connect() as connection:
        return set(inspect(connection).get_table_names())


def everything_in(connection: Connection) -> set[str]:
    """Names of all tables, indexes, sequences and views, save those that the database keeps for itself."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    else:
        query = "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE n.nspname = 'public'"
    return set(connection.scalars(text(query)))


def options_of(index: Any) -> list[tuple[str, str]]:
    """As text: SQLite's condition of a partial index is read back as an object that equals itself only."""
    return sorted((name, str(value)) for name, value in index.get("dialect_options", {}).items())


def described(connection: Connection) -> dict[str, Any]:
    """All tables with everything that can be read back of them."""
    look = inspect(connection)

    def rows(of: Any) -> list[str]:
        return sorted(str(sorted(row.items(), key=lambda item: item[0])) for row in of)

    return {
        table: {
            "columns": rows({**column, "type": str(column["type"])} for column in look.get_columns(table)),
            "primary key": look.get_pk_constraint(table),
            "foreign keys": rows(look.get_foreign_keys(table)),
            "uniques": rows(look.get_unique_constraints(table)),
            "checks": rows(look.get_check_constraints(table)),
            "indexes": rows({**index, "dialect_options": options_of(index)} for index in look.get_indexes(table)),
        }
        for table in look.get_table_names()
        if table != "alembic_version"
    }


def test_a_database_goes_up_down_to_nothing_and_up_again(storage: Storage) -> None:
    assert schema.current(storage) is None
    migrate.upgrade(storage)
    assert schema.current(storage) == schema.head()
    assert tables(storage) == {"alembic_version", *metadata.tables}
    migrate.downgrade(storage, "base")
    assert schema.current(storage) is None
    with storage.engine.connect() as connection:
        assert everything_in(connection) <= {"alembic_version", "alembic_version_pkc"}
    migrate.upgrade(storage)
    assert schema.current(storage) == schema.head()
    assert tables(storage) == {"alembic_version", *metadata.tables}


def test_upgrading_what_is_up_to_date_changes_nothing(storage: Storage) -> None:
    migrate.upgrade(storage)
    with storage.engine.connect() as connection:
        before = described(connection)
    migrate.upgrade(storage)
    with storage.engine.connect() as connection:
        assert described(connection) == before


def test_alembic_finds_no_difference_between_migrations_and_models(storage: Storage) -> None:
    migrate.upgrade(storage)
    with storage.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_migrations_and_models_agree_on_everything_that_can_be_read_back(storage: Storage) -> None:
    # Alembic's comparison leaves checks and the names of constraints out.
    migrate.upgrade(storage)
    with storage.engine.connect() as connection:
        migrated = described(connection)
    migrate.downgrade(storage, "base")
    with storage.engine.begin() as connection:
        metadata.create_all(connection)
        modelled = described(connection)
    assert migrated == modelled
    assert sum(len(table["checks"]) for table in migrated.values()) > 20


def test_exactly_one_active_key_signs_for_a_product(storage: Storage) -> None:
    migrate.upgrade(storage)
    kids = iter(f"{number:016x}" for number in range(100))

    def add(product_id: int | None, state: str = "active") -> None:
        row = SigningKey(
            product_id=product_id,
            version=1,
            kid=next(kids),
            algorithm="RSA-SHA256",
            bits=2048,
            public_pem="",
            private_ciphertext=b"",
            kek_id="",
            state=state,
            created_at=datetime.now(UTC),
        )

        def work(session: Session) -> None:
            session.add(row)

        storage.write(work)

    add(None)
    add(1)
    add(2)
    for product_id in (None, 1, 2):
        add(product_id, "verify_only")
        add(product_id, "verify_only")
        with pytest.raises(IntegrityError):
            add(product_id)


def test_processes_that_upgrade_at_the_same_time_do_not_disturb_each_other(
    empty_database_url: str, storage: Storage
) -> None:
    arguments = [sys.executable, "-m", "hanaper", "db", "upgrade"]
    environment = {**os.environ, "HANAPER_DATABASE_URL": empty_database_url}
    processes = [
        subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    ends = [(process.communicate(timeout=60), process.returncode) for process in processes]
    assert [(errors, status) for (_, errors), status in ends] == [("", 0)] * 3
    assert schema.current(storage) == schema.head()
    assert tables(storage) == {"alembic_version", *metadata.tables}


def test_an_upgrade_keeps_other_processes_out_while_it_runs(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = command.upgrade
    kept_out = []

    def watched(config: Config, revision: str) -> None:
        if storage.database.file is not None:
            with lock_file(storage.database.file).open("rb") as stream, pytest.raises(BlockingIOError):
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            with storage.engine.connect() as other:
                held = text(
                    "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database "
                    "WHERE locktype = 'advisory' AND granted AND d.datname = current_database()"
                )
                assert other.scalar(held) == 1
        kept_out.append(revision)
        upgrade(config, revision)

    monkeypatch.setattr(command, "upgrade", watched)
    migrate.upgrade(storage)
    assert kept_out == ["head"]
    assert schema.current(storage) == schema.head()


def test_an_upgrade_that_fails_leaves_nothing_behind(storage: Storage) -> None:
    with storage.engine.begin() as connection:
        connection.execute(text("CREATE TABLE product_meta (somebody_elses INTEGER)"))
    with pytest.raises(Misconfigured, match=r"product_meta.* already exists.*nothing has been changed"):
        migrate.upgrade(storage)
    assert schema.current(storage) is None
    assert tables(storage) <= {"product_meta", "alembic_version"}


def test_a_current_schema_is_accepted(storage: Storage) -> None:
    migrate.upgrade(storage)
    schema.require_current(storage)


def test_an_empty_database_is_refused_with_the_command_that_helps(storage: Storage) -> None:
    with pytest.raises(Misconfigured, match="has no hanaper schema yet: run `hanaper init` first"):
        schema.require_current(storage)


def test_an_older_schema_is_refused_with_the_command_that_helps(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.upgrade(storage)
    found = schema.current(storage)
    monkeypatch.setattr(schema, "head", lambda: "the next one")
    with pytest.raises(
        Misconfigured, match=f"has schema {found}, but the next one is needed: make a backup, then run `hanaper db up"
    ):
        schema.require_current(storage)


def test_a_newer_schema_is_refused_with_the_advice_that_helps(storage: Storage) -> None:
    migrate.upgrade(storage)
    with storage.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Misconfigured, match="has schema 9999, which is newer than this hanaper: install the newer"):
        schema.require_current(storage)
