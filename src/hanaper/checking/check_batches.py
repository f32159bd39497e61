"""Checking that batches are whole, and that what was signed is what is stored (decision 0002)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from hanaper.checking import store
from hanaper.checking.report import Report
from hanaper.checking.store import BatchRow
from hanaper.licenses import rules
from hanaper.protocol import codes
from hanaper.protocol.long_payload import LongPayload
from hanaper.signing.verifier import Verifier
from hanaper.storage.session import Session

_CODE = codes.GENERATED_LICENSE_KEYS
_BATCHES, _LICENSE_KEYS = "batches", "license_keys"
Verifiers = Mapping[int, tuple[int | None, Verifier]]
Advance = Callable[[int], None]


def check_batches(
    session: Session, verifiers: Verifiers, staged: Mapping[int, bool], report: Report, advance: Advance
) -> None:
    """Go through batches and their license keys side by side, both in order of the batch: neither is held in memory.

    Args:
        verifiers: see `check_signing_keys`.
        staged: ids of batches that are still being stored; their license keys are not looked at.
    """
    batches = store.batches(session)
    batch = next(batches, None)
    for batch_id, texts in _by_batch(session, report, advance):
        while batch is not None and batch.id < batch_id:
            _Rebuilt(batch).check(verifiers, report)
            batch = next(batches, None)
        if batch is not None and batch.id == batch_id:
            rebuilt = _Rebuilt(batch)
            for part in texts:
                rebuilt.add([text for _, text in part])
            rebuilt.check(verifiers, report)
            batch = next(batches, None)
        else:
            for row_id, _ in (row for part in texts for row in part):
                if batch_id not in staged:
                    report.add("no_batch", _LICENSE_KEYS, row_id, "its batch is not there")
    while batch is not None:
        _Rebuilt(batch).check(verifiers, report)
        batch = next(batches, None)


def check_others(session: Session, report: Report, advance: Advance) -> None:
    """Check the texts of license keys that are of no batch."""
    for page in store.license_keys_without_batch(session):
        _check_texts(page, report)
        advance(len(page))


Part = list[tuple[int, str | None]]


def _by_batch(session: Session, report: Report, advance: Advance) -> Iterator[tuple[int, Iterator[Part]]]:
    """The license keys of each batch, in parts, their texts checked. A batch may go over several pages."""

    def parts() -> Iterator[tuple[int, Part]]:
        for page in store.license_keys_by_batch(session):
            for batch_id, rows in groupby(page, key=itemgetter(0)):
                part = [(row_id, text) for _, row_id, text in rows]
                _check_texts(part, report)
                yield batch_id, part
            advance(len(page))

    for batch_id, group in groupby(parts(), key=itemgetter(0)):
        yield batch_id, (part for _, part in group)


def _check_texts(part: Sequence[tuple[int, str | None]], report: Report) -> None:
    report.checked[_LICENSE_KEYS] += len(part)
    for row_id, text in part:
        fault = "it is not text" if text is None else rules.license_key_fault(text)
        if fault is not None:
            report.add("text", _LICENSE_KEYS, row_id, fault)


class _Rebuilt:
    """What was signed for a batch, built again from what is stored."""

    def __init__(self, batch: BatchRow) -> None:
        self._batch = batch
        self._payload = LongPayload({"code": _CODE.on_wire, "message": _CODE.message}, "licenseKeys")
        self._found = 0
        self._is_text = True

    def add(self, texts: Sequence[str | None]) -> None:
        self._found += len(texts)
        known = [text for text in texts if text is not None]
        self._is_text = self._is_text and len(known) == len(texts)
        if self._is_text:
            self._payload.add(known)

    def check(self, verifiers: Verifiers, report: Report) -> None:
        batch = self._batch
        report.checked[_BATCHES] += 1
        if self._found != batch.quantity:
            text = f"it has {self._found:,} license keys, and {batch.quantity} were ordered"
            report.add("quantity", _BATCHES, batch.id, text)
        product_id, verifier = verifiers.get(batch.signing_key_id, (0, None))
        if verifier is None or product_id not in (None, batch.product_id):
            return  # That is a finding already, of the batch or of the signing key.
        report.checked["signatures"] += 1
        if not self._is_signed(verifier):
            report.add("signature", _BATCHES, batch.id, "its signature does not cover its license keys and its time")

    def _is_signed(self, verifier: Verifier) -> bool:
        if not self._is_text:
            return False
        try:
            digest = self._payload.finish({"timestamp": self._batch.signed_at})
        except TypeError:
            return False  # SQLite stores a number where a column says so, or else whatever it was given.
        return verifier.accepts_digest(digest, self._batch.signature)
