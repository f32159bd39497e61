"""Queries about idempotency records.

The record is the first row of the transaction that carries a request out: of twins that arrive together one writes it,
the others wait for that transaction and then find it. Its bytes are what is sent, so a repeated request is answered
byte for byte alike, by whichever process it reaches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from hanaper.idempotency.models import IdempotencyRecord
from hanaper.signing.answer import SignedAnswer

KEPT_DAYS = 7
PURGED_AT_ONCE = 500
_LOCK_NOT_AVAILABLE = "55P03"
_SQLITE_TIME = "strftime('%Y-%m-%d %H:%M:%f000', 'now'{})"


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request under an idempotency key: see `rules` for `scope` and `fingerprint`, 32 bytes each."""

    scope: bytes
    api_key_id: int
    endpoint: str
    fingerprint: bytes
    request_id: str


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer of a request that has been carried out before.

    Attributes:
        fingerprint: of that request.
        body: the HTTP body, byte for byte.
        code: its number.
        kid: of the key that signed it.
    """

    fingerprint: bytes
    body: bytes
    code: int
    kid: str
    http_status: int = 200


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a scope at a moment.

    Attributes:
        version: of the configuration at that moment.
        replay: None where no request was carried out in this scope.
    """

    version: int
    replay: Replay | None


class Repeated(Exception):
    """A twin of this request was carried out meanwhile. Nothing is stored; its record is there to be replayed."""


class InFlight(Exception):
    """A twin of this request is being carried out, and has not ended in the time a request waits for a lock."""


_SQLITE_LOOK_UP = """
    SELECT fingerprint, body, code, kid, configuration_version.version FROM configuration_version
    LEFT JOIN idempotency_records ON scope = ?
    LEFT JOIN signing_keys ON signing_keys.id = signing_key_id
"""
_POSTGRESQL_LOOK_UP = """
    SELECT fingerprint, body, code, kid, (SELECT version FROM configuration_version)
    FROM unnest(%b::bytea[]) WITH ORDINALITY AS asked (scope, place)
    LEFT JOIN idempotency_records USING (scope)
    LEFT JOIN signing_keys ON signing_keys.id = signing_key_id
    ORDER BY place
"""


def look_up(cursor: DBAPICursor, dialect: str, scopes: Sequence[bytes]) -> Sequence[Found]:
    """What is known of scopes: a bulk read, see `storage.bulk`."""
    # Each once: twins share their answer, and that to a large order is large.
    different = list(dict.fromkeys(scopes))
    rows: list[Any] = []
    if dialect == "sqlite":
        for scope in different:
            cursor.execute(_SQLITE_LOOK_UP, (scope,))
            rows += cursor.fetchall()
    else:
        cursor.execute(_POSTGRESQL_LOOK_UP, (different,))
        rows += cursor.fetchall()
    found = {
        scope: Found(version, None if fingerprint is None else Replay(bytes(fingerprint), bytes(body), code, kid))
        for scope, (fingerprint, body, code, kid, version) in zip(different, rows, strict=True)
    }
    return [found[scope] for scope in scopes]


def claim(session: Session, keyed: Keyed) -> None:
    """Begin a record; `complete` puts the answer in, in the same transaction.

    A twin that is being carried out is waited for.

    Raises:
        Repeated: the request has been carried out. The transaction has to be rolled back.
        InFlight: it is being carried out for too long.
    """
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    record = insert(IdempotencyRecord).values(
        scope=keyed.scope,
        api_key_id=keyed.api_key_id,
        endpoint=keyed.endpoint,
        fingerprint=keyed.fingerprint,
        request_id=keyed.request_id,
        code=0,
        signing_key_id=0,
        body=b"",
        created_at=_database_time(session),
    )
    try:
        claimed = session.scalars(record.on_conflict_do_nothing().returning(IdempotencyRecord.scope)).first()
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise InFlight from error
        raise
    if claimed is None:
        raise Repeated


def complete(session: Session, keyed: Keyed, answer: SignedAnswer) -> None:
    """Put the answer into the record this transaction has begun."""
    mine = update(IdempotencyRecord).where(IdempotencyRecord.scope == keyed.scope)
    session.execute(mine.values(code=answer.code, signing_key_id=answer.key_id, body=answer.body))


_SQLITE_RECORD = """
    INSERT INTO idempotency_records (scope, api_key_id, endpoint, fingerprint, request_id, code, signing_key_id, body,
        created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, strftime('%Y-%m-%d %H:%M:%f000', 'now')) ON CONFLICT DO NOTHING RETURNING 1
"""


def record_on_sqlite(cursor: DBAPICursor, keyed: Keyed, code: int, signing_key_id: int, body: bytes) -> bool:
    """Write a whole record; False where there is one already."""
    who = (keyed.scope, keyed.api_key_id, keyed.endpoint, keyed.fingerprint, keyed.request_id)
    cursor.execute(_SQLITE_RECORD, (*who, code, signing_key_id, body))
    return bool(cursor.fetchall())


def is_needed(session: Session, signing_key_id: int) -> bool:
    """Whether an answer that a signing key has signed is kept."""
    mine = select(IdempotencyRecord.scope).where(IdempotencyRecord.signing_key_id == signing_key_id)
    return session.scalars(mine.limit(1)).first() is not None


def has_expired(session: Session) -> bool:
    """Whether there is a record that has been kept long enough, by the database's clock."""
    return session.scalars(select(IdempotencyRecord.scope).where(_expired(session)).limit(1)).first() is not None


def purge(session: Session) -> int:
    """Delete some records that have been kept long enough; how many."""
    some = select(IdempotencyRecord.scope).where(_expired(session)).limit(PURGED_AT_ONCE)
    scopes = session.scalars(some.with_for_update(skip_locked=True)).all()
    gone = delete(IdempotencyRecord).where(IdempotencyRecord.scope.in_(scopes))
    return len(session.scalars(gone.returning(IdempotencyRecord.scope)).all())


def _expired(session: Session) -> ColumnElement[bool]:
    if session.get_bind().dialect.name == "sqlite":
        return IdempotencyRecord.created_at < literal_column(_SQLITE_TIME.format(f", '-{KEPT_DAYS} days'"))
    return IdempotencyRecord.created_at < literal_column(f"now() - interval '{KEPT_DAYS} days'")


def _database_time(session: Session) -> ColumnElement[Any]:
    """Not this process's: replicas have to agree on when a record is old enough (reliability.md T22)."""
    return literal_column(_SQLITE_TIME.format("") if session.get_bind().dialect.name == "sqlite" else "now()")
