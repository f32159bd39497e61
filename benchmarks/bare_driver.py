"""What the database takes when nothing stands before it: bulk inserts by the bare driver, and no hanaper in the loop.

The tables are an installation's own, with all their indexes and constraints; a thousand license keys and the row of
their batch are one durable transaction, as for a request of a thousand keys.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any
from uuid import uuid4

import psycopg

from hanaper.bench import database
from hanaper.storage import sqlite
from hanaper.storage.transactions import Storage

KEYS_PER_TRANSACTION = 1000
_MOST_TRANSACTIONS_PER_S = 250
_BUSY_TIMEOUT_MS = 60_000

_BATCH_COLUMNS = (
    "request_id, api_key_id, product_id, generator_id, quantity, signing_key_id, signed_at, signature, created_at"
)
_COLUMNS = (
    "license_key, product_id, generator_id, batch_id, source, activation_limit, validity, status, "
    "created_at, updated_at"
)
_SQLITE_BATCH = f"INSERT INTO batches ({_BATCH_COLUMNS}) VALUES (?, 1, 1, 1, ?, 1, ?, ?, ?)"
_SQLITE_KEYS = f"INSERT INTO license_keys ({_COLUMNS}) VALUES (?, 1, 1, ?, 'generator', 0, 0, 'available', ?, ?)"
_POSTGRESQL_BATCH = (
    f"INSERT INTO batches ({_BATCH_COLUMNS}) VALUES (%s, 1, 1, 1, %s, 1, %s, %s, %s::timestamptz) RETURNING id"
)
_COPY = f"COPY license_keys ({_COLUMNS}) FROM STDIN"
_UNNEST = f"""
    INSERT INTO license_keys ({_COLUMNS})
    SELECT license_key, 1, 1, %s, 'generator', 0, 0, 'available', %s::timestamptz, %s::timestamptz
    FROM unnest(%s::text[]) AS license_key
"""

Transaction = Callable[[list[str]], None]


@dataclass(frozen=True, slots=True)
class Target:
    """A database for one of the processes that write.

    Attributes:
        way: "executemany" (SQLite), "copy" or "unnest" (PostgreSQL).
        place: a file, or a connection string.
        pragmas: of SQLite, as hanaper's own connections have them.
    """

    way: str
    place: str
    pragmas: dict[str, str]


def ways(storage: Storage) -> tuple[str, ...]:
    """The ways a bulk insert can go on a database."""
    return ("executemany",) if storage.database.file is not None else ("copy", "unnest")


def bulk_insert(storage: Storage, way: str, *, connections: int, seconds: float) -> float:
    """License keys a second that the bare driver stores.

    Args:
        storage: of an installation; only asked where it is and how it is set up.
        way: see `ways`.
        connections: how many write at the same time, each from a process of its own.
    """
    if storage.database.file is not None:
        target = Target(way, str(storage.database.file), database.settings(storage))
    else:
        url = storage.database.url.set(drivername="postgresql")
        target = Target(way, url.render_as_string(hide_password=False), {})
    context = get_context("spawn")
    barrier, queue = context.Barrier(connections), context.SimpleQueue()
    writers = [
        context.Process(target=_write, args=(target, seconds, barrier, queue), daemon=True) for _ in range(connections)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    if any(writer.exitcode for writer in writers):
        raise RuntimeError(f"the bare driver failed: {way}")
    results: list[tuple[int, float, float]] = [queue.get() for _ in writers]
    lasted = max(end for _, _, end in results) - min(begin for _, begin, _ in results)
    return sum(stored for stored, _, _ in results) / lasted


def _write(target: Target, seconds: float, barrier: Barrier, queue: Any) -> None:
    # Drawn beforehand: only the database is on the clock, which is the same for all processes.
    most = int(seconds * _MOST_TRANSACTIONS_PER_S)
    drawn = [[str(uuid4()) for _ in range(KEYS_PER_TRANSACTION)] for _ in range(most)]
    opened = _sqlite(target) if target.way == "executemany" else _postgresql(target)
    for transaction in opened:
        barrier.wait()
        begin = time.monotonic()
        stored = 0
        for license_keys in drawn:
            if time.monotonic() >= begin + seconds:
                break
            transaction(license_keys)
            stored += len(license_keys)
        queue.put((stored, begin, time.monotonic()))


def _sqlite(target: Target) -> Iterator[Transaction]:
    with closing(sqlite.library().connect(target.place, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        for name, value in target.pragmas.items():
            connection.execute(f"PRAGMA {name}={value}")

        def transaction(license_keys: list[str]) -> None:
            now = time.strftime("%Y-%m-%d %H:%M:%S.000000", time.gmtime())
            batch = (uuid4().hex, len(license_keys), int(time.time()), os.urandom(256), now)
            connection.execute("BEGIN IMMEDIATE")
            batch_id = connection.execute(_SQLITE_BATCH, batch).lastrowid
            connection.executemany(_SQLITE_KEYS, [(license_key, batch_id, now, now) for license_key in license_keys])
            connection.execute("COMMIT")

        yield transaction


def _postgresql(target: Target) -> Iterator[Transaction]:
    with psycopg.connect(target.place, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = 'on'")

        def transaction(license_keys: list[str]) -> None:
            now = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime())
            batch = (uuid4().hex, len(license_keys), int(time.time()), os.urandom(256), now)
            with connection.transaction():
                [(batch_id,)] = cursor.execute(_POSTGRESQL_BATCH, batch).fetchall()
                if target.way == "unnest":
                    cursor.execute(_UNNEST, (batch_id, now, now, license_keys))
                    return
                rest = f"\t1\t1\t{batch_id}\tgenerator\t0\t0\tavailable\t{now}\t{now}\n"
                with cursor.copy(_COPY) as copy:
                    copy.write("".join([license_key + rest for license_key in license_keys]))

        yield transaction
