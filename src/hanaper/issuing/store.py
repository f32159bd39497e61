"""Queries of issuing."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hanaper.idempotency.store import Keyed, Repeated, record_on_sqlite
from hanaper.issuing.models import Batch, Generator, GeneratorCap
from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.licenses.store import KeysCollide
from hanaper.products.models import Product
from hanaper.protocol import codes
from hanaper.storage.configuration import ConfigurationChanged
from hanaper.storage.transactions import Storage


@dataclass(frozen=True, slots=True)
class Issued:
    """What a generator has made so far."""

    batches: int
    keys: int


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A signed batch of license keys on its way into the database.

    Attributes:
        version: of the configuration it was made by.
        payload: the signed bytes; the license keys are read out of them, so what is stored is what was signed.
        created_at: in UTC.
        capped: whether the generator has a cap.
        keyed: the request under its idempotency key, and
        body: the answer as it goes out; both None where the request has no such key.
    """

    version: int
    request_id: str
    api_key_id: int | None
    product_id: int
    generator_id: int
    quantity: int
    signing_key_id: int
    signed_at: int
    signature: bytes
    payload: bytes
    activation_limit: int
    validity: int
    created_at: datetime
    capped: bool = False
    keyed: Keyed | None = None
    body: bytes | None = None


_CODE = codes.GENERATED_LICENSE_KEYS.number


class NotKept(Enum):
    """Why a batch was not stored."""

    CONFIGURATION_CHANGED = auto()
    REPEATED = auto()
    CAP_REACHED = auto()


class CapReached(Exception):
    """The generator may not make that many license keys any more."""


_SQLITE_BATCH = """
    INSERT INTO batches (request_id, api_key_id, product_id, generator_id, quantity, signing_key_id, signed_at,
        signature, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
_SQLITE_LICENSE_KEYS = """
    INSERT INTO license_keys (license_key, product_id, generator_id, batch_id, source, activation_limit, validity,
        status, created_at, updated_at)
    SELECT value, ?2, ?3, ?4, 'generator', ?5, ?6, 'available', ?7, ?7 FROM json_each(?1, '$.licenseKeys')
"""
# One statement, so that it is a transaction of its own and one round trip, whatever the number of batches.
_POSTGRESQL = """
    WITH {new}, recorded AS (
        INSERT INTO batches (id, request_id, api_key_id, product_id, generator_id, quantity, signing_key_id, signed_at,
            signature, created_at)
        SELECT id, request_id, api_key_id, product_id, generator_id, quantity, signing_key_id, signed_at, signature,
            created_at
        FROM new
    ), stored AS (
        INSERT INTO license_keys (license_key, product_id, generator_id, batch_id, source, activation_limit, validity,
            status, created_at, updated_at)
        SELECT license_key, product_id, generator_id, id, 'generator', activation_limit, validity, 'available',
            created_at, created_at
        FROM new, json_array_elements_text(payload::json -> 'licenseKeys')
            WITH ORDINALITY AS drawn (license_key, number)
        ORDER BY place, number
    )
    {outcomes}
"""
_GIVEN = """
        SELECT {given}.* FROM unnest(
            %s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::bigint[], %s::bigint[],
            %b::bytea[], %b::text[], %s::int[], %s::int[], %s::timestamptz[]{more_types}
        ) WITH ORDINALITY AS given (
            version, request_id, api_key_id, product_id, generator_id, quantity, signing_key_id, signed_at,
            signature, payload, activation_limit, validity, created_at{more_names}, place
        )
        WHERE version = (SELECT version FROM configuration_version) ORDER BY place
"""
_NEW = """
    new AS MATERIALIZED ({given})
"""
# Records are written in order of scope: two of these statements that meet wait for each other in one direction only.
_NEW_UNDER_KEYS = """
    given AS MATERIALIZED ({given}), claimed AS (
        INSERT INTO idempotency_records (scope, api_key_id, endpoint, fingerprint, request_id, code, signing_key_id,
            body, created_at)
        SELECT scope, api_key_id, endpoint, fingerprint, request_id, code, signing_key_id, body, now()
        FROM given WHERE scope IS NOT NULL ORDER BY scope
        ON CONFLICT DO NOTHING RETURNING request_id
    ), new AS MATERIALIZED (
        SELECT nextval('batches_id_seq') AS id, given.* FROM given
        WHERE scope IS NULL OR request_id IN (SELECT request_id FROM claimed) ORDER BY place
    )
"""
_POSTGRESQL_PLAIN = _POSTGRESQL.format(
    new=_NEW.format(given=_GIVEN.format(given="nextval('batches_id_seq') AS id, given", more_types="", more_names="")),
    outcomes="SELECT place, id FROM new",
)
_POSTGRESQL_UNDER_KEYS = _POSTGRESQL.format(
    new=_NEW_UNDER_KEYS.format(
        given=_GIVEN.format(
            given="given",
            more_types=", %s::int[], %b::bytea[], %s::text[], %b::bytea[], %b::bytea[]",
            more_names=", code, scope, endpoint, fingerprint, body",
        )
    ),
    outcomes="SELECT place, id FROM given LEFT JOIN new USING (place)",
)
_COLUMNS = (
    *("version", "request_id", "api_key_id", "product_id", "generator_id", "quantity", "signing_key_id"),
    *("signed_at", "signature", "payload", "activation_limit", "validity", "created_at"),
)
_KEYED_COLUMNS = ("scope", "endpoint", "fingerprint")


async def keep(storage: Storage, batch: NewBatch) -> int:
    """Store a batch with its license keys, in one transaction with those of other requests, and commit.

    Returns:
        Its id.

    Raises:
        ConfigurationChanged: since the batch was made. Nothing is stored.
        Repeated: a twin of the request was carried out. Nothing is stored.
        CapReached: the generator's cap does not allow that many. Nothing is stored.
        KeysCollide: a license key is stored already. Nothing is stored.
        Unavailable: the database does not answer.
    """
    bulk = record_capped if batch.capped else record
    try:
        kept = await storage.submit(bulk, batch, size=batch.quantity)
    except IntegrityError as error:
        raise KeysCollide from error
    match kept:
        case NotKept.CONFIGURATION_CHANGED:
            raise ConfigurationChanged
        case NotKept.REPEATED:
            raise Repeated
        case NotKept.CAP_REACHED:
            raise CapReached
    return kept


def record(cursor: DBAPICursor, dialect: str, batches: Sequence[NewBatch]) -> Sequence[int | NotKept]:
    """Store batches with their license keys, in order: a bulk write, see `storage.bulk`.

    Returns:
        Ids of the batches, or why nothing of one is stored.
    """
    if dialect == "sqlite":
        cursor.execute("SELECT version FROM configuration_version")
        version = cursor.fetchall()[0][0]
        return [_record_on_sqlite(cursor, batch, version) for batch in batches]
    columns: list[list[Any]] = [[getattr(batch, name) for batch in batches] for name in _COLUMNS]
    columns[_COLUMNS.index("payload")] = [batch.payload.decode("ascii") for batch in batches]
    if all(batch.keyed is None for batch in batches):
        cursor.execute(_POSTGRESQL_PLAIN, columns)
    else:
        columns.append([_CODE] * len(batches))
        columns += [[getattr(batch.keyed, name, None) for batch in batches] for name in _KEYED_COLUMNS]
        columns.append([batch.body for batch in batches])
        cursor.execute(_POSTGRESQL_UNDER_KEYS, columns)
    outcomes = {place: NotKept.REPEATED if found is None else found for place, found in cursor.fetchall()}
    return [outcomes.get(place, NotKept.CONFIGURATION_CHANGED) for place in range(1, len(batches) + 1)]


def record_capped(cursor: DBAPICursor, dialect: str, batches: Sequence[NewBatch]) -> Sequence[int | NotKept]:
    """The same for batches of generators that have a cap: each is counted first, and stored if there is room.

    The statements of a group make one transaction. Its rows are locked in one order by all who do this: generators by
    id, and what stands under an idempotency key after them.
    """
    outcomes: dict[int, int | NotKept] = {}
    with _one_transaction(cursor, dialect):
        for place, batch in sorted(enumerate(batches), key=lambda each: each[1].generator_id):
            cursor.execute("SAVEPOINT batch")
            counted = _counted(cursor, dialect, batch)
            outcome = record(cursor, dialect, [batch])[0] if counted else NotKept.CAP_REACHED
            if counted and not isinstance(outcome, int):
                cursor.execute("ROLLBACK TO SAVEPOINT batch")
            cursor.execute("RELEASE SAVEPOINT batch")
            outcomes[place] = outcome
    return [outcomes[place] for place in range(len(batches))]


def _one_transaction(cursor: Any, dialect: str) -> AbstractContextManager[Any]:
    """PostgreSQL's driver is in autocommit mode, where each statement would be one by itself."""
    if dialect == "sqlite":
        return nullcontext()
    transaction: AbstractContextManager[Any] = cursor.connection.transaction()
    return transaction


_COUNT = """
    UPDATE generator_caps SET issued = issued + {quantity} WHERE generator_id = {generator_id}
        AND issued + {quantity} <= cap RETURNING 1
"""
_SQLITE_COUNT = _COUNT.format(quantity="?1", generator_id="?2")
_POSTGRESQL_COUNT = _COUNT.format(quantity="%(quantity)s", generator_id="%(generator_id)s")


def _counted(cursor: DBAPICursor, dialect: str, batch: NewBatch) -> bool:
    if dialect == "sqlite":
        cursor.execute(_SQLITE_COUNT, (batch.quantity, batch.generator_id))
    else:
        cursor.execute(_POSTGRESQL_COUNT, {"quantity": batch.quantity, "generator_id": batch.generator_id})
    return bool(cursor.fetchall())


def count_on(session: Session, generator_id: int, quantity: int) -> None:
    """Count license keys that this transaction is going to store.

    Raises:
        CapReached: there is no room for them. A generator without a cap always has room.
    """
    if session.get_bind().dialect.name == "postgresql":
        # Whoever sets a cap now waits for this transaction; or else this one waits, and then sees the cap.
        session.execute(text("LOCK TABLE license_keys IN ROW EXCLUSIVE MODE"))
    room = update(GeneratorCap).where(
        GeneratorCap.generator_id == generator_id, GeneratorCap.issued + quantity <= GeneratorCap.cap
    )
    counted = session.execute(
        room.values(issued=GeneratorCap.issued + quantity).returning(GeneratorCap.generator_id)
    ).first()
    if counted is None and cap_of(session, generator_id) is not None:
        raise CapReached


def count_made(session: Session, generator_id: int) -> int:
    """How many license keys a generator has made, by counting. Until the end of the transaction nobody makes any."""
    if session.get_bind().dialect.name == "postgresql":
        # Others' statements lock the table before they look at the version of the configuration: they come before this
        # transaction and are counted, or after it and see its cap.
        session.execute(text("SET LOCAL statement_timeout = '10min'"))
        session.execute(text("LOCK TABLE license_keys IN SHARE MODE"))
    staged = select(StagedBatch.batch_id)
    mine = select(func.count()).select_from(LicenseKey).where(LicenseKey.generator_id == generator_id)
    return session.scalars(mine.where(or_(LicenseKey.batch_id.is_(None), LicenseKey.batch_id.not_in(staged)))).one()


def cap_of(session: Session, generator_id: int, *, for_update: bool = False) -> GeneratorCap | None:
    """The cap of a generator with its count; None where it has none."""
    query = select(GeneratorCap).where(GeneratorCap.generator_id == generator_id)
    return session.scalars(query.with_for_update() if for_update else query).one_or_none()


def caps(session: Session) -> dict[int, GeneratorCap]:
    """All caps, by generator."""
    return {row.generator_id: row for row in session.scalars(select(GeneratorCap))}


def remove(session: Session, row: GeneratorCap) -> None:
    """Delete a cap."""
    session.delete(row)
    session.flush()


def _record_on_sqlite(cursor: DBAPICursor, batch: NewBatch, version: int) -> int | NotKept:
    if batch.version != version:
        return NotKept.CONFIGURATION_CHANGED
    if batch.keyed is not None and not record_on_sqlite(
        cursor, batch.keyed, _CODE, batch.signing_key_id, batch.body or b""
    ):
        return NotKept.REPEATED
    # As SQLAlchemy writes moments.
    now = f"{batch.created_at:%Y-%m-%d %H:%M:%S.%f}"
    cursor.execute(
        _SQLITE_BATCH,
        (
            *(batch.request_id, batch.api_key_id, batch.product_id, batch.generator_id, batch.quantity),
            *(batch.signing_key_id, batch.signed_at, batch.signature, now),
        ),
    )
    batch_id: int = cursor.fetchall()[0][0]
    terms = (batch.product_id, batch.generator_id, batch_id, batch.activation_limit, batch.validity, now)
    cursor.execute(_SQLITE_LICENSE_KEYS, (batch.payload.decode("ascii"), *terms))
    return batch_id


def add(session: Session, row: Generator | Batch | GeneratorCap) -> None:
    """Store a row; its id is known afterwards."""
    session.add(row)
    session.flush()


def find(session: Session, reference: int | str) -> tuple[Generator, Product] | None:
    """A generator with its product, by id (a number) or UUID (text). Deleted products are found too."""
    name = Generator.id == reference if isinstance(reference, int) else Generator.uuid == reference
    query = select(Generator, Product).join(Product, Generator.product_id == Product.id).where(name)
    row = session.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def listed(
    session: Session, *, product: int | str | None = None, product_ids: frozenset[int] | None = None
) -> Sequence[Generator]:
    """Generators of products that are not deleted, in order of id.

    Args:
        product: only this product's, by id (a number) or by UUID or slug (text).
        product_ids: only those of these products.
    """
    query = select(Generator).join(Product, Generator.product_id == Product.id).where(Product.deleted_at.is_(None))
    if product is not None:
        named = Product.id == product
        if isinstance(product, str):
            named = (Product.uuid == product) | (Product.slug == product)
        query = query.where(named)
    if product_ids is not None:
        query = query.where(Generator.product_id.in_(product_ids))
    return session.scalars(query.order_by(Generator.id)).all()


def batches_of(session: Session, request_id: str) -> Sequence[tuple[int, int]]:
    """Ids and quantities of the batches that one request or command made, in order of id."""
    query = select(Batch.id, Batch.quantity).where(Batch.request_id == request_id).order_by(Batch.id)
    return [(row[0], row[1]) for row in session.execute(query)]


def issued(session: Session) -> dict[int, Issued]:
    """What each generator has made.

    Added up from the batches: a counter in the generator's row would be one row that all requests have to lock.
    """
    query = select(Batch.generator_id, func.count(), func.sum(Batch.quantity)).group_by(Batch.generator_id)
    return {row[0]: Issued(batches=row[1], keys=int(row[2])) for row in session.execute(query)}
