"""Queries of the check about the audit log: reading only."""

from collections.abc import Iterator

from sqlalchemy import select

from hanaper.audit.models import AuditEvent
from hanaper.issuing.models import Batch
from hanaper.storage.session import Session


def batches_without_row(session: Session, after: int) -> Iterator[int]:
    """Batches behind one that the audit log does not tell of."""
    query = select(Batch.id).outerjoin(AuditEvent, AuditEvent.batch_id == Batch.id)
    yield from session.scalars(query.where(Batch.id > after, AuditEvent.id.is_(None)).order_by(Batch.id))


def rows_without_batch(session: Session) -> Iterator[int]:
    """Rows that tell of a batch that is not there."""
    query = select(AuditEvent.id).outerjoin(Batch, AuditEvent.batch_id == Batch.id)
    yield from session.scalars(
        query.where(AuditEvent.batch_id.is_not(None), Batch.id.is_(None)).order_by(AuditEvent.id)
    )
