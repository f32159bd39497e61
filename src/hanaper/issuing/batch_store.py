"""Storing batches with their license keys and their rows of the audit log: the hot path (decision 0008).

All batches that wait are written by one statement on PostgreSQL, and in one transaction on SQLite. Those of generators
with a cap are counted before (decision 0018).
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError

from hanaper.idempotency.store import Keyed, Repeated, record_on_sqlite
from hanaper.issuing.cap_store import CapReached
from hanaper.licenses.store import KeysCollide
from hanaper.protocol import codes
from hanaper.storage.configuration import ConfigurationChanged
from hanaper.storage.scope import Scope
from hanaper.storage.transactions import Storage


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A signed batch of license keys on its way into the database.

    Attributes:
        version: of the configuration it was made by.
        scope: of who asked.
        payload: the signed bytes; the license keys are read out of them, so what is stored is what was signed.
        created_at: in UTC.
        capped: whether the generator has a cap.
        keyed: the request under its idempotency key, and
        body: the answer as it goes out; both None where the request has no such key.
        address: where the request comes from, for the audit log; empty where that cannot be told.
    """

    version: int
    scope: Scope
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
    address: str = ""


ACTION = "generate"
"""In the audit log."""

_CODE = codes.GENERATED_LICENSE_KEYS.number


class NotKept(Enum):
    """Why a batch was not stored."""

    CONFIGURATION_CHANGED = auto()
    REPEATED = auto()
    CAP_REACHED = auto()


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
_SQLITE_AUDIT = f"""
    INSERT INTO audit_events (at, api_key_id, address, action, objects, batch_id, code, request_id)
    VALUES (?, ?, ?, '{ACTION}', ?, ?, {_CODE}, ?)
"""  # noqa: S608 -- constants
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
    ), audited AS (
        INSERT INTO audit_events (at, api_key_id, address, action, objects, batch_id, code, request_id)
        SELECT created_at, api_key_id, address, {action}, '{{"generator":' || generator_id || ',"product":' ||
            product_id || '}}', id, {code}, request_id
        FROM new ORDER BY place
    )
    {outcomes}
"""
_GIVEN = """
        SELECT {given}.* FROM unnest(
            %s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::bigint[], %s::bigint[],
            %b::bytea[], %b::text[], %s::int[], %s::int[], %s::timestamptz[], %s::text[]{more_types}
        ) WITH ORDINALITY AS given (
            version, request_id, api_key_id, product_id, generator_id, quantity, signing_key_id, signed_at,
            signature, payload, activation_limit, validity, created_at, address{more_names}, place
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
    action=f"'{ACTION}'",
    code=_CODE,
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
    action=f"'{ACTION}'",
    code=_CODE,
)
_COLUMNS = (
    *("version", "request_id", "api_key_id", "product_id", "generator_id", "quantity", "signing_key_id"),
    *("signed_at", "signature", "payload", "activation_limit", "validity", "created_at"),
    "address",
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
    _require_scopes(batches)
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
    _require_scopes(batches)
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


def _require_scopes(batches: Sequence[NewBatch]) -> None:
    for batch in batches:
        batch.scope.require(batch.product_id)


def _one_transaction(cursor: Any, dialect: str) -> AbstractContextManager[Any]:
    """PostgreSQL's driver is in autocommit mode, where each statement would be one by itself."""
    if dialect == "sqlite":
        return nullcontext()
    transaction: AbstractContextManager[Any] = cursor.connection.transaction()
    return transaction


_COUNT = """
    UPDATE generator_caps SET issued = issued + {quantity} WHERE generator_id = {generator_id}
        AND issued + {quantity} <= cap
        AND EXISTS (SELECT 1 FROM generators WHERE id = {generator_id} AND product_id = {product_id})
    RETURNING 1
"""
_SQLITE_COUNT = _COUNT.format(quantity="?1", generator_id="?2", product_id="?3")
_POSTGRESQL_COUNT = _COUNT.format(quantity="%(quantity)s", generator_id="%(generator_id)s", product_id="%(product_id)s")


def _counted(cursor: DBAPICursor, dialect: str, batch: NewBatch) -> bool:
    names = ("quantity", "generator_id", "product_id")
    if dialect == "sqlite":
        cursor.execute(_SQLITE_COUNT, tuple(getattr(batch, name) for name in names))
    else:
        cursor.execute(_POSTGRESQL_COUNT, {name: getattr(batch, name) for name in names})
    return bool(cursor.fetchall())


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
    objects = f'{{"generator":{batch.generator_id},"product":{batch.product_id}}}'
    cursor.execute(_SQLITE_AUDIT, (now, batch.api_key_id, batch.address, objects, batch_id, batch.request_id))
    return batch_id
