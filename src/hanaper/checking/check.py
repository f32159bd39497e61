"""Checking every row of a store, in one snapshot, beside a server at work or without one."""

from collections.abc import Callable
from datetime import datetime, timedelta

from hanaper.checking import store
from hanaper.checking.check_audit import check_audit
from hanaper.checking.check_batches import check_batches, check_others
from hanaper.checking.check_records import check_caps, check_idempotency_records
from hanaper.checking.check_signing_keys import check_secret, check_signing_keys
from hanaper.checking.faults import FAULTS, UNIQUE
from hanaper.checking.report import Report
from hanaper.idempotency.models import IdempotencyRecord
from hanaper.keystore.keys import Keystore
from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.storage.session import Session
from hanaper.storage.snapshot import one_snapshot
from hanaper.storage.transactions import Storage

ABANDONED_AFTER = timedelta(days=1)
"""What a process that died has left goes with the next large order; a day later it is told."""

Advance = Callable[[int], None]


def size(storage: Storage) -> int:
    """How many rows will be gone through, for a progress bar."""

    def rows(session: Session) -> int:
        return (
            sum(store.count(session, model) for model in FAULTS)
            + store.count(session, LicenseKey)
            + store.count(session, IdempotencyRecord)
        )

    return storage.read(rows)


def check(storage: Storage, keystore: Keystore | None, *, now: datetime, advance: Advance = lambda _: None) -> Report:
    """Check every row. Nothing is changed.

    Args:
        keystore: None: without the key encryption key; what is encrypted under it is not opened.
        advance: told how many more rows have been gone through.

    Raises:
        Unavailable: the database does not answer.
    """
    report = Report()

    def work(session: Session) -> None:
        try:
            with store.damage():
                _check(session, keystore, report, now, advance)
        except store.Unreadable as error:
            report.add("file", "", None, f"{error}: what comes after could not be read")

    storage.read(work)
    return report


def _check(session: Session, keystore: Keystore | None, report: Report, now: datetime, advance: Advance) -> None:
    one_snapshot(session)
    for line in store.file_damage(session):
        report.add("file", "", None, line)
    rows = store.configuration_rows(session)
    report.checked["configuration_version"] += len(rows)
    if list(rows) != [1]:
        report.add("configuration_version", "configuration_version", None, "it has to have one row, number 1")
    if keystore is not None:
        check_secret(session, keystore, report)
    verifiers = check_signing_keys(session, keystore, report)
    staged = store.staged_batches(session, now - ABANDONED_AFTER)
    report.checked[StagedBatch.__tablename__] += len(staged)
    for batch_id, is_old in staged.items():
        if is_old:
            text = "a large order that has stood still for a day: the next large order clears it away"
            report.add("abandoned", StagedBatch.__tablename__, batch_id, text)
    check_batches(session, verifiers, staged, report, advance)
    check_audit(session, report)
    check_others(session, report, advance)
    check_caps(session, report)
    check_idempotency_records(session, verifiers, report, advance)
    _check_rows(session, report, advance)
    _check_unique(session, report)


def _check_rows(session: Session, report: Report, advance: Advance) -> None:
    for model in FAULTS:
        table = model.__tablename__
        for rows, found in store.faults_of(session, model):
            if table not in ("batches", "license_keys"):  # Those have been counted.
                report.checked[table] += rows
            for row_id, fault in found:
                report.add(fault.kind, table, row_id, fault.text)
            advance(rows)


def _check_unique(session: Session, report: Report) -> None:
    for model, columns in UNIQUE:
        for row_id, first in store.repeated(session, model, columns):
            what = " and ".join(columns)
            report.add("repeated", model.__tablename__, row_id, f"row {first} has the same {what}")
