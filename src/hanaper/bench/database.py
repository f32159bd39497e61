"""What the database says for itself: how it is set up, and how much of what was answered it has."""

import time
from dataclasses import dataclass

from hanaper.bench import processes
from hanaper.issuing.models import Batch
from hanaper.licenses import store as licenses
from hanaper.refusal import Fault
from hanaper.storage.failures import translated
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.transactions import Storage

PRAGMAS = (
    *("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "mmap_size", "page_size", "cache_size"),
    *("wal_autocheckpoint", "journal_size_limit", "temp_store"),
)
"""Those that cost or save time; `synchronous` is 2 for FULL."""

_POSTGRESQL_SETTINGS = """
    SELECT name, current_setting(name) FROM pg_settings WHERE name IN (
        'server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'wal_compression',
        'max_wal_size', 'checkpoint_timeout', 'wal_sync_method', 'commit_delay', 'effective_io_concurrency',
        'autovacuum', 'jit'
    ) ORDER BY name
"""
_POSTGRESQL_TABLES = """
    SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname NOT IN ('pg_catalog', 'information_schema')
        AND nspname NOT LIKE 'pg\\_%'
"""
_LONGEST_S = 60.0
_PAUSE_S = 0.1
_PEACEFUL_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """How much is stored, or has been stored since."""

    license_keys: int
    batches: int


def stored(storage: Storage) -> Stored:
    """What is stored as it stands.

    Everything is counted: on PostgreSQL the ids of what is newest need not be the highest.
    """
    return storage.read(lambda session: Stored(licenses.count(session, scope=EVERYTHING), session.query(Batch).count()))


def stored_since(storage: Storage, before: Stored) -> Stored:
    """What has been stored since, once nothing more is added: requests that were under way come to their end.

    Raises:
        Fault: there is no end to it.
    """
    seen: list[Stored] = []
    deadline = time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline:
        seen.append(stored(storage))
        if len(seen) >= _PEACEFUL_LOOKS and len(set(seen[-_PEACEFUL_LOOKS:])) == 1:
            return Stored(seen[-1].license_keys - before.license_keys, seen[-1].batches - before.batches)
        time.sleep(_PAUSE_S)
    raise Fault(f"somebody still stores license keys {_LONGEST_S:g} s after the load has ended")


def settings(storage: Storage) -> dict[str, str]:
    """The settings that decide about durability and speed, as one of hanaper's own connections has them."""
    if storage.database.file is None:
        return {str(name): str(value) for name, value in _rows(storage, _POSTGRESQL_SETTINGS)}
    return {name: str(_rows(storage, f"PRAGMA {name}")[0][0]) for name in PRAGMAS}


def wal_bytes(storage: Storage) -> int | None:
    """How much PostgreSQL has written to its write-ahead log so far; None on SQLite."""
    if storage.database.file is not None:
        return None
    return int(str(_rows(storage, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")[0][0]))


def is_empty(storage: Storage) -> bool:
    """Whether a PostgreSQL database has no table of anybody's."""
    return _rows(storage, _POSTGRESQL_TABLES)[0][0] == 0


def process(storage: Storage) -> int | None:
    """The first process of the database server, where it runs on this machine; SQLite has none."""
    if storage.database.file is not None:
        return None
    backend = int(str(_rows(storage, "SELECT pg_backend_pid()")[0][0]))
    return processes.parent_of(backend) if processes.name_of(backend).startswith("postgres") else None


def _rows(storage: Storage, statement: str) -> list[tuple[object, ...]]:
    # Settings of a connection are asked of the connection, which no model stands for.
    with translated(storage.database.file):
        connection = storage.engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()]
    finally:
        connection.close()
