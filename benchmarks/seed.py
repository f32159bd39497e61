"""Fills an installation with millions of license keys, as fast as the database allows.

What comes out is what years of selling leave behind: random keys in batches of a thousand, and indexes that are as
full as random insertions make them. It is not durable until it is done.
"""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg import sql

from hanaper.storage import sqlite
from hanaper.storage.transactions import Storage

KEYS_PER_BATCH = 1000
_CHUNK = 100_000
_LARGEST_CACHE = 3_000_000_000
# Random insertions leave the pages of a B-tree about 70 % full.
_FILL_PERCENT = 70

_BATCH_COLUMNS = (
    "id, request_id, api_key_id, product_id, generator_id, quantity, signing_key_id, signed_at, signature, created_at"
)
_COLUMNS = (
    "license_key, product_id, generator_id, batch_id, source, activation_limit, validity, status, "
    "created_at, updated_at"
)
_SQLITE_BATCHES = f"""
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :batches)
    INSERT INTO batches ({_BATCH_COLUMNS})
    SELECT :first_batch + i - 1, lower(hex(randomblob(16))), 1, 1, 1, 1000, 1, unixepoch(), randomblob(256),
        strftime('%Y-%m-%d %H:%M:%f000') FROM n
"""
_SQLITE_KEYS = f"""
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :keys - 1),
    drawn (i, h) AS MATERIALIZED (SELECT i, lower(hex(randomblob(16))) FROM n)
    INSERT INTO license_keys ({_COLUMNS})
    SELECT substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-4' || substr(h, 14, 3) || '-' ||
        substr('89ab', 1 + (i & 3), 1) || substr(h, 18, 3) || '-' || substr(h, 21, 12),
        1, 1, :first_batch + i / 1000, 'generator', 0, 0, 'available',
        strftime('%Y-%m-%d %H:%M:%f000'), strftime('%Y-%m-%d %H:%M:%f000') FROM drawn
"""
_POSTGRESQL_BATCHES = f"""
    INSERT INTO batches ({_BATCH_COLUMNS})
    SELECT %(first_batch)s + i, translate(gen_random_uuid()::text, '-', ''), 1, 1, 1, 1000, 1,
        extract(epoch FROM now())::bigint, decode(repeat(md5(random()::text), 16), 'hex'), now()
    FROM generate_series(0, %(batches)s - 1) AS i
"""
_POSTGRESQL_KEYS = f"""
    INSERT INTO license_keys ({_COLUMNS})
    SELECT gen_random_uuid()::text, 1, 1, %(first_batch)s + i / 1000, 'generator', 0, 0, 'available', now(), now()
    FROM generate_series(0, %(keys)s - 1) AS i
"""
_UNIQUE = """
    SELECT conname, pg_get_indexdef(conindid) FROM pg_constraint
    WHERE conrelid = 'license_keys'::regclass AND contype = 'u'
"""
_OTHERS = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid = 'license_keys'::regclass AND NOT indisunique
"""


def seed(storage: Storage, keys: int, advance: Callable[[int], None]) -> None:
    """Add license keys to a fresh installation with demo data.

    Args:
        storage: of the installation; nothing may be connected to it.
        keys: how many, a multiple of 100,000.
        advance: told how many more are there.
    """
    if keys % _CHUNK:
        raise ValueError(f"license keys are added {_CHUNK:,} at a time")
    storage.engine.dispose()
    if storage.database.file is not None:
        _seed_sqlite(storage.database.file, keys, advance)
        # The first connection of hanaper's own brings the journal back.
        storage.ping()
    else:
        url = storage.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        _seed_postgresql(url, keys, advance)
    storage.engine.dispose()


def _seed_sqlite(file: Path, keys: int, advance: Callable[[int], None]) -> None:
    """The indexes stay: with the whole of them in memory, random insertions are fast enough."""
    cache = min(_LARGEST_CACHE, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    with closing(sqlite.library().connect(str(file), isolation_level=None)) as connection:
        for pragma in ("journal_mode=off", "synchronous=off", f"cache_size=-{cache // 1024}", "temp_store=memory"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN IMMEDIATE")
        for first in range(0, keys, _CHUNK):
            values = _chunk(first)
            connection.execute(_SQLITE_BATCHES, values)
            connection.execute(_SQLITE_KEYS, values)
            advance(_CHUNK)
        connection.execute("ANALYZE")
        connection.execute("COMMIT")
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _seed_postgresql(url: str, keys: int, advance: Callable[[int], None]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '1GB'")
        unique = connection.execute(_UNIQUE).fetchall()
        others = connection.execute(_OTHERS).fetchall()
        for name, _ in unique:
            connection.execute(_format("ALTER TABLE license_keys DROP CONSTRAINT {}", name))
        for name, _ in others:
            connection.execute(_format("DROP INDEX {}", name))
        for first in range(0, keys, _CHUNK):
            values = _chunk(first)
            connection.execute(_POSTGRESQL_BATCHES, values)
            connection.execute(_POSTGRESQL_KEYS, values)
            advance(_CHUNK)
        for name, definition in unique:
            connection.execute(f"{definition} WITH (fillfactor = {_FILL_PERCENT})".encode())
            connection.execute(_format("ALTER TABLE license_keys ADD CONSTRAINT {0} UNIQUE USING INDEX {0}", name))
            connection.execute(_format("ALTER INDEX {} RESET (fillfactor)", name))
        for _, definition in others:
            connection.execute(definition.encode())
        connection.execute("SELECT setval(pg_get_serial_sequence('batches', 'id'), (SELECT max(id) FROM batches))")
        connection.execute("VACUUM (FREEZE, ANALYZE)")
        connection.execute("CHECKPOINT")


def _chunk(first: int) -> dict[str, int]:
    return {"first_batch": first // KEYS_PER_BATCH + 1, "batches": _CHUNK // KEYS_PER_BATCH, "keys": _CHUNK}


def _format(statement: str, name: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(name))
