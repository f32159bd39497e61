"""Queries of the audit log."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, cast, func, insert, select, text
from sqlalchemy.orm import Session

from hanaper.audit.models import AuditCheckpoint, AuditEvent, AuditLink
from hanaper.audit.rules import BEGINNING, Checkpoint, Link, Row

BEGINS = "audit begins"
"""The action of the first row, which the migration writes."""

PAGE = 1000
_TURN = 0x68616E61706572  # "hanaper"
# Whoever inserts rows holds one of these on the table from before an id is drawn until after the commit is seen.
_WRITERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'audit_events'::regclass AND granted AND pid IS DISTINCT FROM pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
_BYTES = (bytes, memoryview)
_TEXTS = ("address", "action", "objects", "license_digest", "request_id")


def add(session: Session, event: AuditEvent) -> None:
    """Store a row. The id is drawn as late as that."""
    session.add(event)
    session.flush()


def newest(session: Session) -> int:
    """The largest id that can be seen; 0 where there is no row."""
    return session.scalars(select(func.max(AuditEvent.id))).one() or 0


def writers(session: Session) -> frozenset[str]:
    """Transactions that may have drawn an id and not committed it yet. On SQLite there are none.

    An id that is larger may have been committed first: PostgreSQL's transactions end in any order. Once all of these
    have ended, each row up to the largest id that was seen before they were asked for can be seen, or never will be.
    """
    if _is_sqlite(session):
        return frozenset()
    return frozenset(session.scalars(text(_WRITERS)))


def take_turn(session: Session) -> bool:
    """Be the only one who seals until the transaction ends; False where another is. SQLite has one writer anyway."""
    if _is_sqlite(session):
        return True
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(:turn)"), {"turn": _TURN}))


def last_link(session: Session) -> Link:
    """The end of the chain."""
    row = session.execute(select(*_LINK).order_by(AuditLink.event_id.desc()).limit(1)).first()
    return Link(0, BEGINNING) if row is None else Link(row[0], _bytes(row[1]))


def last_checkpoint(session: Session) -> Checkpoint | None:
    """The newest checkpoint; None where nothing has been sealed yet."""
    row = session.execute(_CHECKPOINTS.order_by(AuditCheckpoint.number.desc()).limit(1)).first()
    return None if row is None else _checkpoint(row)


def seal(session: Session, links: Sequence[Link], checkpoint: Checkpoint) -> None:
    """Lengthen the chain, and end it with a checkpoint."""
    session.execute(insert(AuditLink), [{"event_id": link.event_id, "hash": link.hash} for link in links])
    session.add(
        AuditCheckpoint(
            number=checkpoint.number,
            rows=checkpoint.rows,
            event_id=checkpoint.event_id,
            hash=checkpoint.hash,
            signed_at=checkpoint.signed_at,
            kid=checkpoint.kid,
            signature=checkpoint.signature,
        )
    )
    session.flush()


def rows(session: Session, *, after: int, up_to: int | None = None, limit: int = PAGE) -> Sequence[Row]:
    """Rows as they are hashed, in order of id."""
    query = (
        select(*_hashed(is_sqlite=_is_sqlite(session)))
        .where(AuditEvent.id > after)
        .order_by(AuditEvent.id)
        .limit(limit)
    )
    if up_to is not None:
        query = query.where(AuditEvent.id <= up_to)
    found: Sequence[Any] = session.execute(query).all()
    return [Row._make([_readable(value) if type(value) in _BYTES else value for value in row]) for row in found]


def all_rows(session: Session) -> Iterator[Row]:
    """All rows, in order of id, read a page at a time."""
    after = -(2**63)
    while page := rows(session, after=after):
        yield from page
        after = page[-1].id


def all_links(session: Session) -> Iterator[Link]:
    """All links, in order."""
    after = -(2**63)
    while page := session.execute(
        select(*_LINK).where(AuditLink.event_id > after).order_by(AuditLink.event_id).limit(PAGE)
    ).all():
        for row in page:
            yield Link(row[0], _bytes(row[1]))
        after = page[-1][0]


def all_checkpoints(session: Session) -> Iterator[Checkpoint]:
    """All checkpoints, in order of the row they are about."""
    place = (AuditCheckpoint.event_id, AuditCheckpoint.number)
    # Read as a whole: one of them stands for a thousand rows, or for half a minute.
    for row in session.execute(_CHECKPOINTS.order_by(*place)).all():
        yield _checkpoint(row)


def count(session: Session) -> int:
    """How many rows there are."""
    return session.scalars(select(func.count()).select_from(AuditEvent)).one()


def listed(session: Session, *, since: datetime | None, action: str | None, limit: int) -> Sequence[AuditEvent]:
    """The newest rows, newest first.

    Args:
        since: not those before it.
        action: only those of an endpoint or a command, or of all commands of a group.
    """
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if since is not None:
        query = query.where(AuditEvent.at >= since)
    if action is not None:
        query = query.where((AuditEvent.action == action) | AuditEvent.action.startswith(f"{action} ", autoescape=True))
    return session.scalars(query).all()


def oldest_after(session: Session, event_id: int) -> datetime | None:
    """When the first row behind another was written."""
    return session.scalars(
        select(AuditEvent.at).where(AuditEvent.id > event_id).order_by(AuditEvent.id).limit(1)
    ).first()


# Cast: SQLite keeps in a column whatever it is given, and its driver ends the whole query for what is not UTF-8.
_LINK = (AuditLink.event_id, cast(AuditLink.hash, LargeBinary))
_CHECKPOINTS = select(
    AuditCheckpoint.number,
    cast(AuditCheckpoint.rows, BigInteger),
    cast(AuditCheckpoint.event_id, BigInteger),
    cast(AuditCheckpoint.hash, LargeBinary),
    cast(AuditCheckpoint.signed_at, BigInteger),
    AuditCheckpoint.kid,
    cast(AuditCheckpoint.signature, LargeBinary),
)


def _hashed(*, is_sqlite: bool) -> Sequence[ColumnElement[Any]]:
    columns: list[ColumnElement[Any]] = []
    for column in AuditEvent.__table__.c:
        if column.name == "at":
            in_utc = func.to_char(func.timezone("UTC", column), "YYYY-MM-DD HH24:MI:SS.US")
            columns.append(cast(column, LargeBinary) if is_sqlite else in_utc)
        else:
            columns.append(cast(column, LargeBinary) if is_sqlite and column.name in _TEXTS else column)
    return columns


def _readable(value: Any) -> str:
    """Texts of SQLite come as bytes, the keyed hash from both databases."""
    return bytes(value).decode("utf-8", "surrogateescape")


def _checkpoint(row: Any) -> Checkpoint:
    return Checkpoint(row[0], row[1], row[2], _bytes(row[3]), row[4], str(row[5]), _bytes(row[6]))


def _bytes(value: Any) -> bytes:
    return b"" if value is None else bytes(value)


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
