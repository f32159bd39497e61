"""Checking what is counted, and what is kept to be sent again: caps and idempotency records."""

import json
from collections.abc import Callable

from hanaper.checking import record_store
from hanaper.checking.check_batches import Verifiers
from hanaper.checking.record_store import RecordRow
from hanaper.checking.report import Report
from hanaper.protocol import codes, envelope
from hanaper.storage.session import Session

_CAPS, _RECORDS = "generator_caps", "idempotency_records"
Advance = Callable[[int], None]


def check_caps(session: Session, report: Report) -> None:
    """Every generator with a cap has made what it has counted, and no more than it may."""
    for row in record_store.caps(session):
        report.checked[_CAPS] += 1
        if row.issued > row.cap:
            report.add("cap", _CAPS, row.generator_id, f"it has counted {row.issued}, and its cap is {row.cap}")
        if row.issued != row.made:
            report.add("cap", _CAPS, row.generator_id, f"it has counted {row.issued}, and {row.made} are stored")


def check_idempotency_records(session: Session, verifiers: Verifiers, report: Report, advance: Advance) -> None:
    """Every recorded answer is whole, signed by the key it names, and that of a batch that is there."""
    for page in record_store.idempotency_records(session):
        report.checked[_RECORDS] += len(page)
        for row in page:
            fault = _fault(row, verifiers)
            if fault is not None:
                report.add("record", _RECORDS, None, f"record {row.scope.hex()[:16]}: {fault}")
        advance(len(page))


def _fault(row: RecordRow, verifiers: Verifiers) -> str | None:  # noqa: PLR0911 -- one line for each fault
    if len(row.scope) != record_store.DIGEST_BYTES or len(row.fingerprint) != record_store.DIGEST_BYTES:
        return "its scope or its fingerprint is no SHA-256"
    if not row.has_api_key:
        return "its API key is not there"
    _, verifier = verifiers.get(row.signing_key_id, (None, None))
    if verifier is None:
        return "its signing key is not there"
    try:
        received = envelope.decode(row.body)
        code = int(json.loads(received.payload_bytes)["code"])
    except (ValueError, TypeError, KeyError):
        return "its answer is no envelope, or shows what was not signed"
    if not verifier.accepts_envelope(received):
        return "the signature of its answer does not verify"
    if code != row.code:
        return "its answer has another code"
    if row.code == codes.GENERATED_LICENSE_KEYS.number and row.batch_signature != received.signature:
        return "the batch it answers for is not there, or was signed otherwise"
    return None
