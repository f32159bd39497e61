"""Is everything that was acknowledged stored, and everything that is stored whole?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import text
from tests.support.load import Acknowledged

from hanaper.checking.check import check as check_store
from hanaper.clock import utc_now
from hanaper.idempotency import rules
from hanaper.issuing.store import Issued, issued
from hanaper.protocol import envelope, payload
from hanaper.signing.verifier import Verifier
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage


@dataclass
class Findings:
    """What is wrong with a store. Nothing is: `Findings()`.

    Attributes:
        lost: license keys that were acknowledged and are not stored.
        misplaced: acknowledged answers that are not stored as one batch, in order, with their time and signature.
        duplicates: license keys that were acknowledged, or are stored, more than once.
        torn: batches with more or fewer license keys than were ordered.
        unsigned: batches whose signature does not cover their license keys.
        without_batch: license keys whose batch is not stored.
        damage: what the database says of its own file.
    """

    lost: int = 0
    misplaced: int = 0
    duplicates: int = 0
    torn: int = 0
    unsigned: int = 0
    without_batch: int = 0
    damage: list[str] = field(default_factory=list)


@dataclass
class Unsettled:
    """What is wrong with a store when everybody knows what came of each order. Nothing is: `Unsettled()`.

    Attributes:
        orphans: batches that are stored and that nobody was given.
        unrecorded: answered orders whose idempotency record is not there, or has other bytes.
        strange: idempotency records of no answered order.
        miscounted: generators that count other batches or license keys than were given.
    """

    orphans: int = 0
    unrecorded: int = 0
    strange: int = 0
    miscounted: int = 0


@dataclass(frozen=True)
class _Batch:
    quantity: int
    signed_at: int
    signature: bytes
    license_keys: list[str]

    @property
    def envelope(self) -> envelope.Envelope:
        """What was signed, built again from what is stored."""
        content: payload.Payload = {
            "code": 815,
            "message": "Generated license keys",
            "licenseKeys": self.license_keys,
            "timestamp": self.signed_at,
        }
        return envelope.Envelope(payload.encode(content), "product", self.signature)


@dataclass(frozen=True)
class _Stored:
    batches: list[_Batch]
    without_batch: list[str]
    damage: list[str]


def check(storage: Storage, product_pem: bytes, acknowledged: Sequence[Acknowledged]) -> Findings:
    """Compare a store, all of whose batches are of one product, with what clients have been given.

    What can be told without knowing the answers, `hanaper check-store` has to find as well.
    """
    stored = storage.read(_stored)
    verifier = Verifier.from_pem(product_pem)
    in_store = Counter(key for batch in stored.batches for key in batch.license_keys) + Counter(stored.without_batch)
    given = Counter(key for answer in acknowledged for key in answer.license_keys)
    whole = {Acknowledged(tuple(batch.license_keys), batch.signed_at, batch.signature) for batch in stored.batches}
    findings = Findings(
        lost=len(given.keys() - in_store.keys()),
        misplaced=sum(answer not in whole for answer in acknowledged),
        duplicates=sum(count > 1 for counted in (given, in_store) for count in counted.values()),
        torn=sum(len(batch.license_keys) != batch.quantity for batch in stored.batches),
        unsigned=sum(not verifier.accepts_envelope(batch.envelope) for batch in stored.batches),
        without_batch=len(stored.without_batch),
        damage=stored.damage,
    )
    _agrees(storage, findings)
    return findings


def check_settled(storage: Storage, answers: Mapping[str, bytes]) -> Unsettled:
    """Compare a store with all that its clients were given.

    Args:
        answers: bodies by idempotency key, all made by generator 1 for API key 1.
    """
    given = {rules.scope_of(1, "generate", key): body for key, body in answers.items()}
    acknowledged = [Acknowledged.from_body(body) for body in given.values()]
    keys = sum(len(answer.license_keys) for answer in acknowledged)
    expected = {1: Issued(len(given), keys)} if given else {}

    def work(session: Session) -> Unsettled:
        rows = session.execute(text("SELECT scope, body FROM idempotency_records"))
        records = {bytes(scope): bytes(body) for scope, body in rows}
        signatures = {bytes(signature) for signature in session.scalars(text("SELECT signature FROM batches"))}
        return Unsettled(
            orphans=len(signatures - {answer.signature for answer in acknowledged}),
            unrecorded=sum(records.get(scope) != body for scope, body in given.items()),
            strange=len(records.keys() - given.keys()),
            miscounted=int(issued(session, scope=EVERYTHING) != expected),
        )

    return storage.read(work)


def _agrees(storage: Storage, findings: Findings) -> None:
    report = check_store(storage, None, now=utc_now())
    found = {"torn": report.counts["quantity"], "unsigned": report.counts["signature"]}
    assert found == {"torn": findings.torn, "unsigned": findings.unsigned}, report
    if not (findings.torn or findings.unsigned or findings.without_batch or findings.damage):
        assert report.is_clean, report


def _stored(session: Session) -> _Stored:
    # One snapshot for both queries: PostgreSQL may still be busy with what a server that was killed had asked for.
    connection = session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
    batches = {
        row.id: _Batch(row.quantity, row.signed_at, bytes(row.signature), [])
        for row in session.execute(text("SELECT id, quantity, signed_at, signature FROM batches"))
    }
    without_batch = []
    for batch_id, license_key in session.execute(text("SELECT batch_id, license_key FROM license_keys ORDER BY id")):
        if batch_id in batches:
            batches[batch_id].license_keys.append(license_key)
        else:
            without_batch.append(license_key)
    damage: list[str] = []
    if connection.dialect.name == "sqlite":
        damage += [line for line in session.scalars(text("PRAGMA integrity_check")) if line != "ok"]
        damage += map(str, session.execute(text("PRAGMA foreign_key_check")))
    return _Stored(list(batches.values()), without_batch, damage)
