"""Queries of the check about caps and idempotency records: reading only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import LargeBinary, and_, cast, exists, func, or_, select

from hanaper.access.models import ApiKey
from hanaper.idempotency.models import IdempotencyRecord
from hanaper.issuing.models import Batch, GeneratorCap
from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.storage.session import Session

DIGEST_BYTES = 32
_RECORDS_AT_ONCE = 500
"""A record may hold a thousand license keys, twice."""


@dataclass(frozen=True, slots=True)
class CapRow:
    """A cap, and how many license keys its generator has really made."""

    generator_id: int
    cap: int
    issued: int
    made: int


def caps(session: Session) -> Iterator[CapRow]:
    """All caps, in order of the generator."""
    staged = select(StagedBatch.batch_id)
    counts = or_(LicenseKey.batch_id.is_(None), LicenseKey.batch_id.not_in(staged))
    query = select(GeneratorCap.generator_id, GeneratorCap.cap, GeneratorCap.issued, func.count(LicenseKey.id))
    query = query.outerjoin(LicenseKey, and_(LicenseKey.generator_id == GeneratorCap.generator_id, counts))
    query = query.group_by(GeneratorCap.generator_id, GeneratorCap.cap, GeneratorCap.issued)
    for row in session.execute(query.order_by(GeneratorCap.generator_id)):
        yield CapRow(*row)


@dataclass(frozen=True, slots=True)
class RecordRow:
    """An idempotency record.

    Attributes:
        batch_signature: of the batch that the same request made; None where there is none.
    """

    scope: bytes
    fingerprint: bytes
    code: int
    signing_key_id: int
    body: bytes
    has_api_key: bool
    batch_signature: bytes | None


def idempotency_records(session: Session) -> Iterator[Sequence[RecordRow]]:
    """All idempotency records, a few at a time. Joined once: batches have no index by request."""
    record = IdempotencyRecord
    api_key = exists().where(ApiKey.id == record.api_key_id)
    # Cast: SQLite keeps a text in a column of bytes as it comes.
    scope, fingerprint, body = (cast(each, LargeBinary) for each in (record.scope, record.fingerprint, record.body))
    columns = (scope, fingerprint, record.code, record.signing_key_id, body)
    its_batch = and_(Batch.request_id == record.request_id, Batch.api_key_id == record.api_key_id)
    query = select(*columns, api_key, Batch.signature).outerjoin(Batch, its_batch)
    for part in session.execute(query.execution_options(yield_per=_RECORDS_AT_ONCE)).partitions():
        yield [
            RecordRow(bytes(row[0]), bytes(row[1]), row[2], row[3], bytes(row[4]), bool(row[5]), _bytes(row[6]))
            for row in part
        ]


def _bytes(value: bytes | None) -> bytes | None:
    return None if value is None else bytes(value)
