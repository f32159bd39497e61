"""Queries about large batches: stored piece by piece, there for everybody at one stroke (decision 0009)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, text, update
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hanaper.issuing.models import Batch
from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.licenses.store import KeysCollide
from hanaper.storage.configuration import current_version
from hanaper.storage.scope import Scope
from hanaper.storage.transactions import Storage

ABANDONED_AFTER = timedelta(minutes=5)
_DELETED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Piece:
    """Some license keys of a large batch.

    Attributes:
        scope: of who asked.
        array: the license keys as a JSON array, encoded as they are in the payload.
        ids: of the rows, see `Reserved`; empty on SQLite.
        now: in UTC.
    """

    batch_id: int
    scope: Scope
    product_id: int
    generator_id: int
    activation_limit: int
    validity: int
    array: bytes
    ids: Sequence[int]
    now: datetime


@dataclass(frozen=True, slots=True)
class Reserved:
    """What a large batch has been given beforehand.

    Attributes:
        batch_id: its id.
        ids: ids of its license keys, ascending: their order is that of the answer. Pieces are stored by whatever
            connection is free, and on PostgreSQL each of these counts in a block of its own. Empty on SQLite, which
            counts for all connections alike.
    """

    batch_id: int
    ids: Sequence[int]


class Abandoned(Exception):
    """The batch was taken for dead and cleared away: too long had passed since its last piece."""


def reserve(session: Session, quantity: int, now: datetime) -> Reserved:
    """Reserve what a batch needs, and announce that license keys are going to be stored for it."""
    ids: Sequence[int] = ()
    if session.get_bind().dialect.name == "sqlite":
        found = session.execute(text("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'batches' RETURNING seq"))
        batch_id = found.scalar()
        if batch_id is None:
            session.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES ('batches', 1)"))
            batch_id = 1
    else:
        batch_id = session.scalar(text("SELECT nextval('batches_id_seq')"))
        many = text("SELECT nextval('license_keys_id_seq') FROM generate_series(1, :quantity)")
        ids = sorted(session.scalars(many, {"quantity": quantity}))
    assert isinstance(batch_id, int)  # noqa: S101 -- narrows the type
    session.add(StagedBatch(batch_id=batch_id, abandoned=0, touched_at=now))
    session.flush()
    return Reserved(batch_id, ids)


async def stage(storage: Storage, piece: Piece) -> None:
    """Store a piece, in a transaction of its own, so that the writes of others go in between.

    Raises:
        KeysCollide: a license key is stored already. Nothing of the piece is stored.
        Abandoned: the batch is no longer there.
        Unavailable: the database does not answer.
    """
    try:
        alive = await storage.submit(_store, piece, size=None)
    except IntegrityError as error:
        raise KeysCollide from error
    if not alive:
        raise Abandoned


def finish(session: Session, batch: Batch, version: int, *, scope: Scope) -> bool:
    """Make a staged batch a batch, with all its license keys.

    Args:
        session: of the transaction that will be committed.
        batch: with the id that `reserve` gave.
        version: of the configuration the batch was made by.
        scope: of who asked.

    Returns:
        False where the configuration has changed since; nothing is stored.

    Raises:
        Abandoned: the batch is no longer there.
    """
    scope.require(batch.product_id)
    if current_version(session) != version:
        return False
    mine = delete(StagedBatch).where(StagedBatch.batch_id == batch.id, StagedBatch.abandoned == 0)
    if session.execute(mine.returning(StagedBatch.batch_id)).first() is None:
        raise Abandoned
    session.add(batch)
    session.flush()
    return True


def discard(storage: Storage, batch_id: int) -> None:
    """Clear a staged batch away, a few license keys a transaction. It may be begun again where it was interrupted."""

    def claim(session: Session) -> None:
        # From here on nobody can finish it.
        session.execute(update(StagedBatch).where(StagedBatch.batch_id == batch_id).values(abandoned=1))

    def delete_some(session: Session) -> bool:
        some = select(LicenseKey.id).where(LicenseKey.batch_id == batch_id).limit(_DELETED_AT_ONCE)
        dead = session.scalar(
            select(StagedBatch.batch_id).where(StagedBatch.batch_id == batch_id, StagedBatch.abandoned == 1)
        )
        ids = [] if dead is None else session.scalars(some).all()
        if ids:
            session.execute(delete(LicenseKey).where(LicenseKey.id.in_(ids)))
            return True
        session.execute(delete(StagedBatch).where(StagedBatch.batch_id == batch_id, StagedBatch.abandoned == 1))
        return False

    storage.write(claim)
    while storage.write(delete_some):
        pass


def abandoned(session: Session, now: datetime) -> Sequence[int]:
    """Staged batches nobody works at any more: those of processes that died."""
    dead = (StagedBatch.touched_at < now - ABANDONED_AFTER) | (StagedBatch.abandoned == 1)
    return session.scalars(select(StagedBatch.batch_id).where(dead)).all()


_SQLITE_TOUCH = "UPDATE staged_batches SET touched_at = ?2 WHERE batch_id = ?1 AND abandoned = 0 RETURNING batch_id"
_SQLITE_LICENSE_KEYS = """
    INSERT INTO license_keys (license_key, product_id, generator_id, batch_id, source, activation_limit, validity,
        status, created_at, updated_at)
    SELECT value, ?2, ?3, ?4, 'generator', ?5, ?6, 'available', ?7, ?7 FROM json_each(?1)
"""
_POSTGRESQL = """
    WITH alive AS (
        UPDATE staged_batches SET touched_at = %(now)s WHERE batch_id = %(batch_id)s AND abandoned = 0
        RETURNING batch_id
    ), stored AS (
        INSERT INTO license_keys (id, license_key, product_id, generator_id, batch_id, source, activation_limit,
            validity, status, created_at, updated_at)
        SELECT (%(ids)s::bigint[])[number], license_key, %(product_id)s, %(generator_id)s, batch_id, 'generator',
            %(activation_limit)s, %(validity)s, 'available', %(now)s, %(now)s
        FROM alive, json_array_elements_text(%(array)s::json) WITH ORDINALITY AS drawn (license_key, number)
        ORDER BY number
    )
    SELECT batch_id FROM alive
"""


def _store(cursor: DBAPICursor, dialect: str, pieces: Sequence[Piece]) -> Sequence[bool]:
    """A bulk write of one, see `storage.bulk`."""
    (piece,) = pieces
    piece.scope.require(piece.product_id)
    if dialect == "postgresql":
        names = ("batch_id", "product_id", "generator_id", "activation_limit", "validity", "now")
        values = {name: getattr(piece, name) for name in names} | {"ids": list(piece.ids)}
        cursor.execute(_POSTGRESQL, {**values, "array": piece.array.decode("ascii")})
        return [bool(cursor.fetchall())]
    now = f"{piece.now:%Y-%m-%d %H:%M:%S.%f}"
    cursor.execute(_SQLITE_TOUCH, (piece.batch_id, now))
    if not cursor.fetchall():
        return [False]
    terms = (piece.product_id, piece.generator_id, piece.batch_id, piece.activation_limit, piece.validity, now)
    cursor.execute(_SQLITE_LICENSE_KEYS, (piece.array.decode("ascii"), *terms))
    return [True]
