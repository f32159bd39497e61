"""Checking that the audit log tells of every batch, and of no other. For its seals see `hanaper audit verify`."""

from hanaper.audit import store as audit
from hanaper.audit.models import AuditEvent
from hanaper.checking import audit_store
from hanaper.checking.report import Report
from hanaper.storage.session import Session

_TABLE = AuditEvent.__tablename__


def check_audit(session: Session, report: Report) -> None:
    """Compare batches and the rows that tell of them, since the log began."""
    report.checked[_TABLE] += audit.count(session)
    after = audit.last_batch_untold(session)
    if after is None:
        report.add(
            "audit_begins", _TABLE, None, "its first row, which says where it began, is not there or not as it was"
        )
    for batch_id in audit_store.batches_without_row(session, after or 0):
        report.add("no_audit_row", "batches", batch_id, "the audit log does not tell of it")
    for row_id in audit_store.rows_without_batch(session):
        report.add("no_batch", _TABLE, row_id, "it tells of a batch that is not there")
