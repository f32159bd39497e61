"""What is stored of a batch: exactly what was signed, by the terms that hold when it is committed."""

import asyncio
import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text
from tests.support.world import counts, execute, nothing_stored

from hanaper.issuing import batch_store, store
from hanaper.issuing.batch_store import NewBatch, NotKept
from hanaper.issuing.models import Batch
from hanaper.licenses.models import LicenseKey
from hanaper.licenses.store import KeysCollide
from hanaper.protocol import codes, payload
from hanaper.refusal import Unavailable
from hanaper.signing.verifier import Verifier
from hanaper.storage.bulk import run_bulk
from hanaper.storage.configuration import ConfigurationChanged, current_version
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

NOW = datetime(2026, 11, 25, 13, 14, 15, 123456, tzinfo=UTC)

# Each of them means something to somebody on the way: JSON, SQL, drivers, drivers' placeholders.
EXOTIC = [
    "é/日本\\\"'<&😀-1",
    "\\",
    "\\\\",
    "/",
    "\\/",
    '"',
    "'",
    "''; DROP TABLE license_keys; --",
    "\\u0041",
    "\\ud83d\\ude00",
    "\\n",
    "%s %b %(name)s %%",
    "? ?1 :name $1 {} {0}",
    "null",
    "NULL",
    "true",
    "0",
    "007",
    "1e5",
    "-1.50",
    "9" * 255,
    "[]",
    "{}",
    '{"licenseKeys":["x"]}',
    '","',
    "$.licenseKeys",
    " leading and trailing ",
    "two  blanks",
    "UPPER",
    "upper",
    "ß",
    "ẞ",
    "ss",
    "e\u0301",
    "\u00e9",
    "\u0130",
    "Ω",
    "\uac00",
    "\U0001f468",
    "\U00020000",
    "😀" * 255,
    "é" * 255,
]


@pytest.fixture
def services(shared: Services) -> Services:
    """Nothing has been issued yet."""
    for model in (LicenseKey, Batch):
        execute(shared.storage, delete(model))
    return shared


def version_of(storage: Storage) -> int:
    return storage.read(current_version)


def new_batch(storage: Storage, license_keys: Sequence[str], **columns: Any) -> NewBatch:
    """A batch by the terms that hold now, with a payload as it is signed."""
    given: dict[str, Any] = {
        "version": version_of(storage),
        "scope": EVERYTHING,
        "request_id": "0123456789abcdef0123456789abcdef",
        "api_key_id": 1,
        "product_id": 1,
        "generator_id": 1,
        "quantity": len(license_keys),
        "signing_key_id": 2,
        "signed_at": 1_795_612_455,
        "signature": bytes(range(256)),
        "payload": signed(license_keys),
        "activation_limit": 3,
        "validity": 365,
        "created_at": NOW,
    }
    return NewBatch(**{**given, **columns})


def signed(license_keys: Sequence[str]) -> bytes:
    content: dict[str, Any] = {"code": 815, "message": "Generated license keys", "licenseKeys": list(license_keys)}
    return payload.encode({**content, "timestamp": 1})


def keep(storage: Storage, *batches: NewBatch) -> list[Any]:
    """Keep batches in one round of an event loop, so in one group; what came of each."""

    async def main() -> list[Any]:
        return await asyncio.gather(*(batch_store.keep(storage, batch) for batch in batches), return_exceptions=True)

    return asyncio.run(main())


def keys_of(storage: Storage, batch_id: int) -> list[LicenseKey]:
    query = select(LicenseKey).where(LicenseKey.batch_id == batch_id).order_by(LicenseKey.id)
    return storage.read(lambda session: list(session.scalars(query)))


def batch_of(storage: Storage, batch_id: int) -> Batch:
    batch = storage.read(lambda session: session.get(Batch, batch_id))
    assert batch is not None
    return batch


def texts_of(storage: Storage, batch_id: int) -> list[str]:
    return [key.license_key for key in keys_of(storage, batch_id)]


# --- what was signed ---


def test_keys_of_every_kind_are_stored_as_they_were_signed_and_in_order(services: Services) -> None:
    assert len(set(EXOTIC)) == len(EXOTIC)
    batch = new_batch(services.storage, EXOTIC)
    (batch_id,) = keep(services.storage, batch)
    assert texts_of(services.storage, batch_id) == EXOTIC == json.loads(batch.payload)["licenseKeys"]
    assert signed(texts_of(services.storage, batch_id)) == batch.payload
    # The other way round, and each alone: no one leans on its neighbours.
    execute(services.storage, delete(LicenseKey))
    (batch_id,) = keep(services.storage, new_batch(services.storage, EXOTIC[::-1]))
    assert texts_of(services.storage, batch_id) == EXOTIC[::-1]
    execute(services.storage, delete(LicenseKey))
    ids = keep(services.storage, *(new_batch(services.storage, [key]) for key in EXOTIC))
    assert [texts_of(services.storage, each) for each in ids] == [[key] for key in EXOTIC]


@pytest.mark.parametrize("quantity", [1, 2, 999, 1000])
def test_as_many_as_were_signed_are_stored_in_their_order(services: Services, quantity: int) -> None:
    # Neither ascending nor descending, by whatever order.
    keys = [f"{number * 7919 % 10007:05}-é" for number in range(quantity)]
    batch = new_batch(services.storage, keys)
    (batch_id,) = keep(services.storage, batch)
    rows = keys_of(services.storage, batch_id)
    assert [row.license_key for row in rows] == keys
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (quantity, 1)
    assert signed([row.license_key for row in rows]) == batch.payload


printable = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=40)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(st.lists(printable, min_size=1, max_size=8), min_size=1, max_size=4))
def test_whatever_can_be_a_key_comes_back_as_it_was(shared: Services, batches: list[list[str]]) -> None:
    execute(shared.storage, delete(LicenseKey))
    seen: set[str] = set()
    different: list[list[str]] = []
    for keys in batches:
        different.append([key for key in dict.fromkeys(keys) if key not in seen])
        seen.update(keys)
    different = [keys for keys in different if keys]
    ids = keep(shared.storage, *(new_batch(shared.storage, keys) for keys in different))
    assert [texts_of(shared.storage, each) for each in ids] == different


def test_a_stored_signature_verifies_against_what_is_stored(services: Services) -> None:
    keyring = services.signing
    product_key = services.storage.read(
        lambda session: session.execute(text("SELECT id, public_pem FROM signing_keys WHERE product_id = 1")).one()
    )
    answer = keyring.answer(codes.GENERATED_LICENSE_KEYS, {"licenseKeys": EXOTIC}, product_key_id=product_key.id)
    batch = new_batch(
        services.storage,
        EXOTIC,
        payload=answer.payload,
        signature=answer.signature,
        signed_at=answer.timestamp,
        signing_key_id=answer.key_id,
    )
    (batch_id,) = keep(services.storage, batch)
    row = batch_of(services.storage, batch_id)
    rebuilt = payload.encode(
        {
            "code": 815,
            "message": "Generated license keys",
            "licenseKeys": texts_of(services.storage, batch_id),
            "timestamp": row.signed_at,
        }
    )
    assert row.signing_key_id == product_key.id
    verifier = Verifier.from_pem(product_key.public_pem.encode())
    assert verifier.accepts(base64.b64encode(rebuilt), row.signature)


# --- every column ---


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"api_key_id": None},
        {"activation_limit": 0, "validity": 0},
        {"activation_limit": 2**31 - 1, "validity": 2**31 - 1},
        {"api_key_id": 2**62, "product_id": 2**62 + 1, "generator_id": 2**62 + 2, "signing_key_id": 2**62 + 3},
        {"signed_at": 0, "signature": b""},
        {"signed_at": 2**40, "signature": bytes(512)},
        {"request_id": "r"},
    ],
    ids=lambda columns: " ".join(columns) or "usual",
)
def test_every_column_is_what_was_given(services: Services, columns: dict[str, Any]) -> None:
    batch = new_batch(services.storage, ["a", "b", "c"], **columns)
    neighbour = new_batch(services.storage, ["d"], product_id=7, request_id="neighbour")
    batch_id, other_id = keep(services.storage, batch, neighbour)
    row = batch_of(services.storage, batch_id)
    for name in (
        *("request_id", "api_key_id", "product_id", "generator_id", "quantity", "signing_key_id", "signed_at"),
        *("signature", "created_at"),
    ):
        assert getattr(row, name) == getattr(batch, name), name
    for key in keys_of(services.storage, batch_id):
        assert (key.product_id, key.generator_id, key.batch_id) == (batch.product_id, batch.generator_id, batch_id)
        assert (key.activation_limit, key.validity) == (batch.activation_limit, batch.validity)
        assert (key.source, key.status) == ("generator", "available")
        assert key.created_at == key.updated_at == batch.created_at
        assert (key.contract_id, key.owner_name, key.owner_email, key.assigned_at, key.deleted_at) == (None,) * 5
    assert batch_of(services.storage, other_id).product_id == 7
    assert [key.product_id for key in keys_of(services.storage, other_id)] == [7]


@pytest.mark.parametrize(
    "moment",
    [
        NOW,
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 12, 0, 0, 10, tzinfo=UTC),
        datetime(2100, 1, 1, 0, 0, 0, 100000, tzinfo=UTC),
    ],
    ids=str,
)
def test_a_moment_comes_back_to_the_microsecond_and_in_utc(services: Services, moment: datetime) -> None:
    (batch_id,) = keep(services.storage, new_batch(services.storage, ["a"], created_at=moment))
    (key,) = keys_of(services.storage, batch_id)
    for found in (batch_of(services.storage, batch_id).created_at, key.created_at, key.updated_at):
        assert found == moment
        assert found.tzinfo is UTC


def test_a_moment_is_written_as_the_orm_writes_it(services: Services) -> None:
    """So that they compare and sort as one, whoever wrote them."""
    raw = text("SELECT CAST(created_at AS TEXT) FROM batches")
    for moment in (NOW, NOW.replace(microsecond=0)):
        row = Batch(
            request_id="by the ORM",
            product_id=1,
            generator_id=1,
            quantity=1,
            signing_key_id=1,
            signed_at=0,
            signature=b"",
            created_at=moment,
        )
        execute(services.storage, delete(Batch))
        services.storage.write(lambda session, row=row: store.add(session, row, scope=EVERYTHING))  # type: ignore[misc]
        keep(services.storage, new_batch(services.storage, [f"{moment}"], created_at=moment))
        written = services.storage.read(lambda session: session.scalars(raw).all())
        assert len(written) == 2
        assert len(set(written)) == 1


# --- several batches at once ---


def test_each_batch_of_a_group_has_its_own_keys_and_its_own_terms(services: Services) -> None:
    batches = [
        new_batch(
            services.storage,
            [f"{number}-{each}" for each in range(number % 5 + 1)],
            request_id=f"{number}",
            api_key_id=number or None,
            signature=b"%d" % number,
            activation_limit=number,
            validity=number + 100,
        )
        for number in range(30)
    ]
    ids = keep(services.storage, *batches)
    assert ids == sorted(set(ids))
    for batch, batch_id in zip(batches, ids, strict=True):
        row = batch_of(services.storage, batch_id)
        assert (row.request_id, row.api_key_id, row.signature) == (batch.request_id, batch.api_key_id, batch.signature)
        keys = keys_of(services.storage, batch_id)
        assert [key.license_key for key in keys] == json.loads(batch.payload)["licenseKeys"]
        assert {(key.activation_limit, key.validity) for key in keys} == {(batch.activation_limit, batch.validity)}
        assert row.quantity == len(keys)
    assert counts(services.storage).batches == 30


def test_ids_are_never_given_out_twice_whoever_writes(services: Services) -> None:
    """Each connection takes ids in blocks, the ORM's too."""
    with Storage.open(services.settings) as other:
        ids = []
        for number in range(6):
            storage = (services.storage, other)[number % 2]
            ids += keep(storage, *(new_batch(storage, [f"{number}-{each}"]) for each in range(20)))
    assert len(set(ids)) == 120
    assert all(type(each) is int and each > 0 for each in ids)
    assert {batch_of(services.storage, each).id for each in ids} == set(ids)


@pytest.mark.parametrize("stale", [[0], [1], [2], [0, 2], [0, 1, 2]])
def test_a_batch_by_old_terms_is_not_stored_and_its_neighbours_are(services: Services, stale: list[int]) -> None:
    version = version_of(services.storage)
    batches = [
        new_batch(services.storage, [f"{number}a", f"{number}b"], version=version - (number in stale))
        for number in range(3)
    ]
    ids = keep(services.storage, *batches)
    assert [isinstance(each, ConfigurationChanged) for each in ids] == [number in stale for number in range(3)]
    stored = 3 - len(stale)
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (2 * stored, stored)
    for number, batch_id in enumerate(ids):
        if isinstance(batch_id, int):
            assert texts_of(services.storage, batch_id) == [f"{number}a", f"{number}b"]


def test_a_batch_by_old_terms_takes_no_key_from_anybody(services: Services) -> None:
    version = version_of(services.storage)
    stale = new_batch(services.storage, ["a", "b"], version=version + 1)
    good = new_batch(services.storage, ["b", "c"])
    first, kept, last = keep(services.storage, stale, good, stale)
    assert [type(each) for each in (first, kept, last)] == [ConfigurationChanged, int, ConfigurationChanged]


def test_the_version_is_the_one_that_is_committed(services: Services) -> None:
    """Not one that somebody has drawn and taken back, nor one that is still under way."""
    batch = new_batch(services.storage, ["a"])

    def take_back(session: Session) -> None:
        session.execute(text("UPDATE products SET name = name"))
        assert current_version(session) != batch.version
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        services.storage.write(take_back)
    assert keep(services.storage, batch)[0] is not None
    execute(services.storage, text("UPDATE products SET name = name"))
    (refused,) = keep(services.storage, new_batch(services.storage, ["b"], version=batch.version))
    assert isinstance(refused, ConfigurationChanged)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_key_that_is_stored_already_is_its_own_batchs_fault(services: Services, place: int) -> None:
    (first,) = keep(services.storage, new_batch(services.storage, ["taken"]))
    keys = [["a1", "a2"], ["b1", "b2"], ["c1", "c2"]]
    keys[place][1] = "taken"
    outcomes = keep(services.storage, *(new_batch(services.storage, each) for each in keys))
    assert [type(each) for each in outcomes] == [KeysCollide if number == place else int for number in range(3)]
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (5, 3)
    assert texts_of(services.storage, first) == ["taken"]
    for number in {0, 1, 2} - {place}:
        assert texts_of(services.storage, outcomes[number]) == keys[number]


def test_of_two_batches_with_the_same_key_one_is_stored(services: Services) -> None:
    outcomes = keep(
        services.storage,
        *(new_batch(services.storage, keys) for keys in (["a", "same"], ["b", "same"], ["c"], ["same"])),
    )
    assert [type(each) for each in outcomes] == [int, KeysCollide, int, KeysCollide]
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (3, 2)


def test_a_batch_with_the_same_key_twice_is_not_stored(services: Services) -> None:
    with nothing_stored(services.storage):
        (outcome,) = keep(services.storage, new_batch(services.storage, ["a", "b", "a"]))
        assert isinstance(outcome, KeysCollide)


def test_processes_that_draw_the_same_keys_at_the_same_time_store_each_once(services: Services) -> None:
    """Groups of two processes that collide with each other in many places, in different orders."""
    told: list[str] = []
    with Storage.open(services.settings) as other, ThreadPoolExecutor(2) as threads:

        def all_of(storage: Storage, names: list[str]) -> list[Any]:
            return keep(storage, *(new_batch(storage, [name]) for name in names))

        for attempt in range(10):
            names = [f"{attempt}-{number}" for number in range(12)]
            first = threads.submit(all_of, services.storage, names)
            second = threads.submit(all_of, other, names[::-1])
            for name, *outcomes in zip(names, first.result(), second.result()[::-1], strict=True):
                # PostgreSQL ends one of two that wait for each other; its whole group may then ask again.
                assert {type(each) for each in outcomes} <= {int, KeysCollide, Unavailable}
                assert sum(type(each) is int for each in outcomes) <= 1
                told += [name for each in outcomes if type(each) is int]
    stored = services.storage.read(lambda session: session.scalars(select(LicenseKey.license_key)).all())
    assert sorted(stored) == sorted(told)
    assert counts(services.storage).batches == len(told) >= 60


@pytest.mark.parametrize("shared", ["postgresql"], indirect=True)
def test_a_statement_that_waits_is_stored_by_the_terms_of_its_beginning(services: Services) -> None:
    """On PostgreSQL: for the same license key in another transaction, say, and for `lock_timeout` at most.

    Decision 0007 says so. SQLite's writer waits before it looks.
    """
    storage = services.storage
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%unnest%'")
    batch = new_batch(storage, ["contended"])
    with ThreadPoolExecutor(1) as threads:
        with storage.engine.connect() as other:
            other.execute(
                text("""
                INSERT INTO license_keys (license_key, product_id, source, activation_limit, validity, status,
                    created_at, updated_at) VALUES ('contended', 1, 'manual', 0, 0, 'available', now(), now())
            """)
            )
            kept = threads.submit(keep, storage, batch)
            while not storage.read(lambda session: session.scalar(blocked)):
                assert not kept.done()
            execute(storage, text("UPDATE products SET name = name"))
            other.rollback()
        assert [type(batch_id) for batch_id in kept.result()] == [int]
    assert (counts(storage).license_keys, counts(storage).batches) == (1, 1)


def test_what_came_of_a_group_is_told_in_its_order(services: Services) -> None:
    """Looked at without an event loop in between."""
    version = version_of(services.storage)
    batches = [new_batch(services.storage, [f"{number}"], version=version - number % 2) for number in range(6)]
    outcomes = run_bulk(services.storage.engine, batch_store.record, batches)
    assert [error for _, error in outcomes] == [None] * 6
    assert [batch_id is NotKept.CONFIGURATION_CHANGED for batch_id, _ in outcomes] == [False, True] * 3
    for number in (0, 2, 4):
        batch_id, _ = outcomes[number]
        assert isinstance(batch_id, int)
        assert texts_of(services.storage, batch_id) == [f"{number}"]
