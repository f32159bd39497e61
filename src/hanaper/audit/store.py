"""Queries of the audit log."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, cast, delete, func, insert, select, text
from sqlalchemy.orm import Session

from hanaper.audit.models import AuditCheckpoint, AuditCut, AuditEvent, AuditLink
from hanaper.audit.rules import BEGINNING, Checkpoint, Cut, Link, Row

BEGINS = "audit begins"
"""The action of the first row, which the migration writes."""

PAGE = 1000
_SMALLEST = -(2**63)
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


def all_rows(session: Session, *, after: int = _SMALLEST, up_to: int | None = None) -> Iterator[Row]:
    """All rows, in order of id, read a page at a time."""
    while page := rows(session, after=after, up_to=up_to):
        yield from page
        after = page[-1].id


def all_links(session: Session, *, after: int = _SMALLEST) -> Iterator[Link]:
    """All links, in order."""
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


def all_cuts(session: Session) -> Sequence[Cut]:
    """All cuts, the newest last."""
    query = select(
        AuditCut.checkpoint,
        cast(AuditCut.rows, BigInteger),
        AuditCut.event_id,
        cast(AuditCut.hash, LargeBinary),
        cast(AuditCut.signed_at, BigInteger),
        AuditCut.kid,
        cast(AuditCut.signature, LargeBinary),
        cast(AuditCut.last_batch, BigInteger),
        cast(AuditCut.cut_at, BigInteger),
        cast(AuditCut.mac, LargeBinary),
    )
    found = session.execute(query.order_by(AuditCut.event_id)).all()
    return [Cut(_checkpoint(row[:7]), row[7], row[8], _bytes(row[9])) for row in found]


def newest_cut(session: Session) -> Cut | None:
    """The cut behind which the log begins; None where it was never pruned."""
    return next(reversed(all_cuts(session)), None)


def add_cut(session: Session, cut: Cut) -> None:
    """Let the log begin behind a checkpoint."""
    mark = cut.checkpoint
    session.add(
        AuditCut(
            event_id=mark.event_id,
            checkpoint=mark.number,
            rows=mark.rows,
            hash=mark.hash,
            signed_at=mark.signed_at,
            kid=mark.kid,
            signature=mark.signature,
            last_batch=cut.last_batch,
            cut_at=cut.cut_at,
            mac=cut.mac,
        )
    )
    session.flush()


def last_checkpoint_before(session: Session, moment: datetime, *, after: int) -> Checkpoint | None:
    """The last checkpoint before the first row of a moment or later, and behind another row; None where none is."""
    later = select(AuditEvent.id).where(AuditEvent.at >= moment, AuditEvent.id > after).order_by(AuditEvent.id).limit(1)
    first = session.scalars(later).first()
    query = _CHECKPOINTS.where(AuditCheckpoint.event_id > after).order_by(AuditCheckpoint.event_id.desc()).limit(1)
    row = session.execute(query if first is None else query.where(AuditCheckpoint.event_id < first)).first()
    return None if row is None else _checkpoint(row)


def newest_batch(session: Session, up_to: int) -> int:
    """The last batch that rows up to one of them tell of; 0 where they tell of none."""
    return session.scalars(select(func.max(AuditEvent.batch_id)).where(AuditEvent.id <= up_to)).one() or 0


def last_batch_untold(session: Session) -> int | None:
    """The last batch from before the first row of the log; None where the log does not say."""
    cut = newest_cut(session)
    if cut is not None:
        return cut.last_batch
    first = select(AuditEvent.objects).where(AuditEvent.action == BEGINS).order_by(AuditEvent.id).limit(1)
    found = session.scalars(first).first()
    try:
        return None if found is None else int(json.loads(found)["last_batch"])
    except (ValueError, LookupError, TypeError):
        return None


def delete_before(session: Session, cut: Cut, *, limit: int) -> int:
    """Delete some of the rows that were cut off, with their links; the last time their checkpoints. How many rows.

    The checkpoint of the cut and its link stay: the next ones follow them.
    """
    end = cut.checkpoint
    some = select(AuditEvent.id).where(AuditEvent.id <= end.event_id).order_by(AuditEvent.id).limit(limit)
    ids = session.scalars(some).all()
    if not ids:
        session.execute(delete(AuditLink).where(AuditLink.event_id < end.event_id))
        session.execute(delete(AuditCheckpoint).where(AuditCheckpoint.event_id < end.event_id))
        return 0
    session.execute(delete(AuditLink).where(AuditLink.event_id <= ids[-1], AuditLink.event_id < end.event_id))
    session.execute(delete(AuditEvent).where(AuditEvent.id <= ids[-1]))
    return len(ids)


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
