"""The migration that lets signing keys lie in a token, on a table that has rows; and a backup from before it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from tests.conftest import Installation

from hanaper.backup.back_up import back_up
from hanaper.backup.restore import restore
from hanaper.clock import utc_now
from hanaper.keystore import store
from hanaper.refusal import Misconfigured
from hanaper.settings import Settings
from hanaper.storage import migrate, schema
from hanaper.storage.configuration import current_version
from hanaper.storage.transactions import Storage

# SQLAlchemy cannot read the index `uq_signing_keys_active` back from SQLite.
pytestmark = pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")

COLUMNS = "product_id, version, kid, algorithm, bits, public_pem, private_ciphertext, kek_id, state, created_at"
INSERT = f"INSERT INTO signing_keys ({COLUMNS}) VALUES (%s, '2026-01-02 03:04:05.678901')"  # noqa: S608 -- made of names that stand here
ROWS = [
    "NULL, 1, 'a', 'RSA-SHA256', 2048, 'pem', 'x', 'kek', 'active'",
    "1, 1, 'b', 'RSA-SHA256', 3072, 'pem', 'y', 'kek', 'active'",
    "1, 2, 'c', 'RSA-SHA256', 3072, 'pem', '', 'kek', 'destroyed'",
]
LEFT = f"SELECT id, {COLUMNS}, retired_at FROM signing_keys ORDER BY id"  # noqa: S608 -- as above
NEW = "SELECT id FROM signing_keys WHERE kid = 'new'"


@pytest.fixture
def before(empty_database_url: str) -> Iterator[Storage]:
    """The schema from before, with keys; the newest of them is gone."""
    with Storage.open(Settings(database_url=empty_database_url)) as storage:
        migrate.upgrade(storage, "0006")
        for row in [*ROWS, ROWS[0].replace("'a'", "'gone'").replace("active", "pending")]:
            run(storage, INSERT % row)
        run(storage, "DELETE FROM signing_keys WHERE kid = 'gone'")
        yield storage


def run(storage: Storage, statement: str) -> None:
    def work(session: Session) -> None:
        session.execute(text(statement))

    storage.write(work)


def rows(storage: Storage, query: str = LEFT) -> list[tuple[Any, ...]]:
    return storage.read(lambda session: [tuple(row) for row in session.execute(text(query))])


def in_token(change: str = "") -> str:
    """A key that is in a token; the change spoils it."""
    row = {"private_ciphertext": "NULL", "kek_id": "NULL", "token": "'one'"} | dict(
        [change.split("=")] if change else []
    )
    return (
        "INSERT INTO signing_keys (product_id, version, kid, algorithm, bits, public_pem, state, "  # noqa: S608 -- as above
        "created_at, "
        f"private_ciphertext, kek_id, token) VALUES (1, 3, 'new', 'RSA-SHA256', 2048, 'pem', 'pending', "
        f"'2026-01-02 03:04:05.678901', {row['private_ciphertext']}, {row['kek_id']}, {row['token']})"
    )


def test_keys_stay_and_those_in_a_token_have_a_place(before: Storage) -> None:
    had = rows(before)
    for _ in range(2):
        migrate.upgrade(before)
        assert rows(before) == had
        assert rows(before, "SELECT DISTINCT token FROM signing_keys") == [(None,)]
        seen = before.read(current_version)
        run(before, in_token())
        # Who is at work has to begin again, and no id is given out twice.
        assert before.read(current_version) != seen
        ((new,),) = rows(before, NEW)
        assert new > 4
        with pytest.raises((IntegrityError, Misconfigured)):
            migrate.downgrade(before, "0006")
        assert schema.current(before) == schema.head()
        run(before, "DELETE FROM signing_keys WHERE kid = 'new'")
        migrate.downgrade(before, "0006")
        assert rows(before) == had
        seen = before.read(current_version)
        run(before, "UPDATE signing_keys SET bits = 4096 WHERE id = 3")
        assert before.read(current_version) != seen
        run(before, "UPDATE signing_keys SET bits = 3072 WHERE id = 3")


@pytest.mark.parametrize(
    "change", ["private_ciphertext='x'", "kek_id='kek'", "token=NULL", "token=''", f"token='{'x' * 33}'"]
)
def test_a_key_is_in_one_place(before: Storage, change: str) -> None:
    migrate.upgrade(before)
    run(before, in_token())
    run(before, "DELETE FROM signing_keys WHERE kid = 'new'")
    with pytest.raises(Exception, match=r"(?i)check constraint|value too long"):
        run(before, in_token(change))
    with pytest.raises(IntegrityError):
        run(before, "UPDATE signing_keys SET token = 'one' WHERE id = 1")


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_backup_from_before_there_were_tokens_is_restored(installation: Installation, tmp_path: Path) -> None:
    with Storage.open(installation.settings) as storage:
        migrate.downgrade(storage, "0006")
        back_up(storage, tmp_path / "backup", clock=utc_now)
    folder = tmp_path / "restored"
    folder.mkdir(0o700)
    shutil.copy2(installation.settings.key_encryption_key, folder)
    restored = restore(Settings(data_dir=folder), tmp_path / "backup", now=utc_now())
    assert (restored.schema, restored.is_current) == ("0006", False)
    with Storage.open(Settings(data_dir=folder)) as storage:
        migrate.upgrade(storage)
        assert len(storage.read(store.usable)) == 2
