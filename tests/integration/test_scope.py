"""Each function of a store reaches what is in its scope and nothing else, by its statement (decision 0025).

The list of functions is made from the code: a new one without a row is found.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.engine.interfaces import DBAPICursor
from tests.support.scopes import OWNED, scoped
from tests.support.world import nothing_stored

from hanaper.clock import utc_now
from hanaper.issuing import batch_store, cap_store, staging
from hanaper.issuing import store as generators
from hanaper.issuing.models import Batch, Generator, GeneratorCap
from hanaper.keystore import store as keys
from hanaper.keystore.models import SigningKey
from hanaper.licenses import activation_store, metadata_store
from hanaper.licenses import store as licenses
from hanaper.licenses.models import Activation, LicenseKey, LicenseKeyMeta
from hanaper.products import store as products
from hanaper.products.models import Product, ProductMeta
from hanaper.protocol import payload
from hanaper.storage.configuration import current_version
from hanaper.storage.scope import EVERYTHING, OutsideScope, Scope
from hanaper.storage.session import Session
from hanaper.web.services import Services

NOW = utc_now()
MADE = {"created_at": NOW, "updated_at": NOW}


@dataclass(frozen=True)
class Things:
    """What a product has: of everything one, and a license key that is available beside one that is used."""

    product: Product
    free: LicenseKey
    used: LicenseKey
    generator: Generator
    uncapped: Generator
    batch: Batch

    @property
    def scope(self) -> Scope:
        return Scope(frozenset({self.product.id}))


def add_things(session: Session, name: str) -> Things:
    def add(row: Any) -> Any:
        session.add(row)
        session.flush()
        return row

    product = add(Product(uuid=str(uuid4()), slug=name, name=name, **MADE))
    mine = {"product_id": product.id}
    add(ProductMeta(key="k", value="v", **mine, **MADE))
    key = {"algorithm": "RS256", "bits": 2048, "private_ciphertext": b"-", "kek_id": "-", "state": "active"}
    add(SigningKey(version=1, kid=name, public_pem=name, created_at=NOW, **mine, **key))
    how = {"method": "uuid", "number_of_chunks": 1, "chunk_length": 1, "charset": "01", "status": 1}
    terms = {"activation_limit": 0, "validity": 0}
    generator, uncapped = (add(Generator(uuid=str(uuid4()), name="g", **mine, **how, **terms, **MADE)) for _ in "12")
    add(GeneratorCap(generator_id=generator.id, cap=100, issued=0))
    made_by = {"request_id": name, "generator_id": generator.id, "signing_key_id": 1, "signed_at": 0, "signature": b"-"}
    batch = add(Batch(quantity=1, created_at=NOW, **mine, **made_by))
    of_batch = {"batch_id": batch.id, "generator_id": generator.id, "source": "generator"}
    free = add(LicenseKey(license_key=f"{name}-free", status="available", **mine, **of_batch, **terms, **MADE))
    assigned = {"status": "assigned", "assigned_at": NOW, "source": "manual"}
    used = add(LicenseKey(license_key=f"{name}-used", **assigned, **mine, **terms, **MADE))
    add(LicenseKeyMeta(license_key_id=used.id, key="k", value="v", **MADE))
    add(Activation(license_key_id=used.id, identifier="a", status="active", activated_at=NOW, **MADE))
    # What is loaded from here on is loaded by what is tested.
    session.expunge_all()
    return Things(product, free, used, generator, uncapped, batch)


def _common(things: Things) -> licenses.NewLicenseKeys:
    return {
        "product_id": things.product.id,
        "generator_id": None,
        "batch_id": None,
        "source": "manual",
        "activation_limit": 0,
        "validity": 0,
        "status": "available",
        "created_at": NOW,
        "updated_at": NOW,
    }


def _cursor(session: Session) -> tuple[DBAPICursor, str]:
    """For statements that go to the driver, in the transaction of the session."""
    connection = session.connection()
    return connection.connection.cursor(), connection.dialect.name


def new_batch(version: int, product_id: int, generator_id: int, scope: Scope, **more: Any) -> batch_store.NewBatch:
    license_key = str(uuid4())
    return batch_store.NewBatch(
        version=version,
        scope=scope,
        request_id="new",
        api_key_id=None,
        product_id=product_id,
        generator_id=generator_id,
        quantity=1,
        signing_key_id=1,
        signed_at=0,
        signature=b"-",
        payload=payload.encode({"licenseKeys": [license_key]}),
        activation_limit=0,
        validity=0,
        created_at=NOW,
        **more,
    )


def _record(session: Session, things: Things, scope: Scope) -> None:
    batch = new_batch(current_version(session), things.product.id, things.generator.id, scope)
    batch_store.record(*_cursor(session), [batch])


def _record_capped(session: Session, things: Things, scope: Scope) -> None:
    batch = new_batch(current_version(session), things.product.id, things.generator.id, scope, capped=True)
    batch_store.record_capped(*_cursor(session), [batch])


def _finish(session: Session, things: Things, scope: Scope) -> None:
    reserved = staging.reserve(session, 1, NOW)
    batch = Batch(
        id=reserved.batch_id,
        request_id="new",
        product_id=things.product.id,
        generator_id=things.generator.id,
        quantity=1,
        signing_key_id=1,
        signed_at=0,
        signature=b"-",
        created_at=NOW,
    )
    staging.finish(session, batch, current_version(session), scope=scope)


def _uses(session: Session, things: Things, scope: Scope) -> list[tuple[int, int]]:
    asked = [activation_store.Asked(things.used.license_key, "a", scope)]
    found = activation_store.uses(*_cursor(session), asked)
    return [(use.license_key_id, use.activation_id or 0) for use in found if use.license_key_id is not None]


def _theirs(rows: Sequence[Any], row: Any) -> list[Any]:
    return [one for one in rows if one.id == row.id]


def _activation() -> Activation:
    return Activation(identifier="b", status="active", activated_at=NOW, **MADE)


Call = Callable[[Session, Things, Scope], object]
CALLS: dict[str, Call] = {
    "issuing.batch_store.record": _record,
    "issuing.batch_store.record_capped": _record_capped,
    "issuing.cap_store.add": lambda session, it, scope: cap_store.add(
        session, GeneratorCap(cap=1, issued=0), it.uncapped, scope=scope
    ),
    "issuing.cap_store.cap_of": lambda session, it, scope: cap_store.cap_of(session, it.generator.id, scope=scope),
    "issuing.cap_store.caps": lambda session, it, scope: cap_store.caps(session, scope=scope).get(it.generator.id),
    "issuing.cap_store.count_made": lambda session, it, scope: cap_store.count_made(
        session, it.generator.id, scope=scope
    ),
    "issuing.cap_store.count_on": lambda session, it, scope: cap_store.count_on(
        session, it.generator.id, 1, scope=scope
    ),
    "issuing.cap_store.remove": lambda session, it, scope: cap_store.remove(session, it.generator.id, scope=scope),
    "issuing.staging.finish": _finish,
    "issuing.store.add": lambda session, it, scope: generators.add(session, copy_of(it.generator), scope=scope),
    "issuing.store.batches_of": lambda session, it, scope: generators.batches_of(
        session, it.batch.request_id, scope=scope
    ),
    "issuing.store.find": lambda session, it, scope: generators.find(session, it.generator.id, scope=scope),
    "issuing.store.issued": lambda session, it, scope: generators.issued(session, scope=scope).get(it.generator.id),
    "issuing.store.listed": lambda session, it, scope: _theirs(generators.listed(session, scope=scope), it.generator),
    "keystore.store.active_id": lambda session, it, scope: keys.active_id(session, it.product.id, scope=scope),
    "keystore.store.public_pem": lambda session, it, scope: keys.public_pem(session, it.product.id, scope=scope),
    "licenses.activation_store.active": lambda session, it, scope: activation_store.active(
        session, it.used.id, scope=scope
    ),
    "licenses.activation_store.count": lambda session, it, scope: activation_store.count(
        session, it.used.id, scope=scope
    ),
    "licenses.activation_store.counts": lambda session, it, scope: activation_store.counts(
        session, [it.used.id], scope=scope
    ),
    "licenses.activation_store.find": lambda session, it, scope: activation_store.find(
        session, it.used.id, "a", scope=scope
    ),
    "licenses.activation_store.keep": lambda session, it, scope: activation_store.keep(
        session, _activation(), it.used, scope=scope
    ),
    "licenses.activation_store.uses": _uses,
    "licenses.metadata_store.detach": lambda session, it, scope: metadata_store.detach(
        session, it.used.id, "k", scope=scope
    ),
    "licenses.metadata_store.find": lambda session, it, scope: metadata_store.find(
        session, it.used.id, "k", scope=scope
    ),
    "licenses.metadata_store.keep": lambda session, it, scope: metadata_store.keep(
        session, LicenseKeyMeta(key="new", value="v", **MADE), it.used, scope=scope
    ),
    "licenses.metadata_store.listed": lambda session, it, scope: metadata_store.listed(
        session, it.used.id, scope=scope
    ),
    "licenses.store.add": lambda session, it, scope: licenses.add(session, ["new"], _common(it), scope=scope),
    "licenses.store.add_rows": lambda session, it, scope: licenses.add_rows(
        session, it.product.id, [{"license_key": "new", **_common(it)}], scope=scope
    ),
    "licenses.store.assign": lambda session, it, scope: licenses.assign(
        session, [it.free.id], scope=scope, owner_name="E", owner_email="e@example.com", now=NOW
    ),
    "licenses.store.count": lambda session, it, scope: licenses.count(session, scope=scope, product_id=it.product.id),
    "licenses.store.count_available": lambda session, it, scope: licenses.count_available(
        session, it.product.id, scope=scope
    ),
    "licenses.store.draw_available": lambda session, it, scope: licenses.draw_available(
        session, it.product.id, 1, scope=scope
    ),
    "licenses.store.find": lambda session, it, scope: licenses.find(session, it.used.license_key, scope=scope),
    "licenses.store.ids": lambda session, it, scope: licenses.ids(session, [it.used.license_key], scope=scope),
    "licenses.store.locked": lambda session, it, scope: licenses.locked(session, it.used.id, scope=scope),
    "licenses.store.of_batch": lambda session, it, scope: licenses.of_batch(session, it.batch.id, scope=scope),
    "licenses.store.page": lambda session, it, scope: _theirs(
        licenses.page(session, licenses.Filter(), scope=scope, number=1, size=10**6), it.free
    ),
    "licenses.store.pages": lambda session, it, scope: [
        key.id for page in licenses.pages(session, scope=scope) for key in page if key.id == it.used.id
    ],
    "licenses.store.rows": lambda session, it, scope: licenses.rows(session, [it.used.id], scope=scope),
    "products.store.add": lambda session, _, scope: products.add(
        session, Product(uuid=str(uuid4()), slug="new", name="New", **MADE), scope=scope
    ),
    "products.store.attach": lambda session, it, scope: products.attach(
        session, it.product.id, "new", "v", scope=scope, now=NOW
    ),
    "products.store.detach": lambda session, it, scope: products.detach(session, it.product.id, "k", scope=scope),
    "products.store.facts": lambda session, it, scope: products.facts(session, it.product.id, scope=scope),
    "products.store.find": lambda session, it, scope: products.find(session, it.product.uuid, scope=scope),
    "products.store.listed": lambda session, it, scope: _theirs(products.listed(session, scope=scope), it.product),
    "products.store.locked": lambda session, it, scope: products.locked(session, it.product.slug, scope=scope),
    "products.store.meta": lambda session, it, scope: products.meta(session, it.product.id, "k", scope=scope),
    "products.store.metadata": lambda session, it, scope: products.metadata(session, [it.product.id], scope=scope)[
        it.product.id
    ],
}
"""What to call to reach the things of a product within a scope: what comes back is true, or something is stored."""

COMMIT_BY_THEMSELVES = {"issuing.batch_store.keep", "issuing.staging.stage"}
ONLY_WITH_EVERYTHING = {"products.store.add"}
"""What is new is in nobody's scope yet."""


def copy_of(row: Generator) -> Generator:
    columns = {column.key: getattr(row, column.key) for column in Generator.__table__.columns if column.key != "id"}
    return Generator(**{**columns, "uuid": str(uuid4())})


def stored(session: Session) -> dict[str, list[Any]]:
    session.flush()
    return {table: list(session.execute(text(f"SELECT * FROM {table} ORDER BY 1"))) for table in OWNED}  # noqa: S608


def owners(session: Session) -> set[int]:
    """The products of all rows that are loaded; of what belongs to a license key or a generator, by its id."""
    found = set()
    for row in session.identity_map.values():
        match row:
            case Product():
                found.add(row.id)
            case Activation() | LicenseKeyMeta():
                found.add(
                    session.scalars(select(LicenseKey.product_id).where(LicenseKey.id == row.license_key_id)).one()
                )
            case GeneratorCap():
                found.add(session.scalars(select(Generator.product_id).where(Generator.id == row.generator_id)).one())
            case _:
                found.add(getattr(row, "product_id", 0))
    return found


def test_every_function_with_a_scope_has_its_row() -> None:
    assert {f"hanaper.{name}" for name in {*CALLS, *COMMIT_BY_THEMSELVES}} == {".".join(found) for found in scoped()}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_what_is_outside_of_a_scope_is_not_reached(session: Session, name: str) -> None:
    theirs, own = add_things(session, "theirs"), add_things(session, "own")
    before = stored(session)
    with suppress(OutsideScope):
        assert not CALLS[name](session, theirs, own.scope)
    assert theirs.product.id not in owners(session)
    assert stored(session) == before


@pytest.mark.parametrize("name", sorted(CALLS))
def test_what_is_in_scope_is_reached(session: Session, name: str) -> None:
    theirs = add_things(session, "theirs")
    for scope in (EVERYTHING,) if name in ONLY_WITH_EVERYTHING else (theirs.scope, EVERYTHING):
        before = stored(session)
        with session.begin_nested() as savepoint:
            found = CALLS[name](session, theirs, scope)
            assert found or stored(session) != before
            savepoint.rollback()


@pytest.mark.parametrize("shared", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["licenses.store.assign", "licenses.store.ids", "licenses.store.rows"])
def test_rows_that_are_named_are_not_looked_for_in_all_of_a_product(session: Session, name: str) -> None:
    """SQLite plans by guesses, so it does here what it does with a million license keys."""
    asked: list[tuple[str, Any]] = []
    connection = session.connection()
    event.listen(connection, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    many: dict[str, Callable[[Scope], object]] = {
        "licenses.store.assign": lambda scope: licenses.assign(
            session, range(1000), scope=scope, owner_name=None, owner_email=None, now=NOW
        ),
        "licenses.store.ids": lambda scope: licenses.ids(session, [str(n) for n in range(1000)], scope=scope),
        "licenses.store.rows": lambda scope: licenses.rows(session, range(1000), scope=scope),
    }
    many[name](Scope(frozenset({1, 2})))
    ((statement, values),) = asked
    plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any("SEARCH license_keys USING" in step for step in plan), plan
    assert not any("product_id=" in step for step in plan), plan


def test_several_who_verify_at_once_have_a_scope_each(session: Session) -> None:
    theirs, own = add_things(session, "theirs"), add_things(session, "own")
    both = Scope(frozenset({theirs.product.id, own.product.id}))
    scopes = [EVERYTHING, own.scope, theirs.scope, both, Scope(frozenset()), EVERYTHING]
    asked = [
        activation_store.Asked(things.used.license_key, "a", scope) for scope in scopes for things in (own, theirs)
    ]
    found = activation_store.uses(*_cursor(session), asked)
    ids = (own.used.id, theirs.used.id)
    seen = ((1, 1), (1, 0), (0, 1), (1, 1), (0, 0), (1, 1))
    assert [use.license_key_id for use in found] == [
        id_ if there else None for pair in seen for id_, there in zip(ids, pair, strict=True)
    ]


def test_a_batch_counts_on_the_cap_of_a_generator_of_its_own_product(session: Session) -> None:
    theirs, own = add_things(session, "theirs"), add_things(session, "own")
    before = stored(session)
    batch = new_batch(current_version(session), own.product.id, theirs.generator.id, own.scope, capped=True)
    assert batch_store.record_capped(*_cursor(session), [batch]) == [batch_store.NotKept.CAP_REACHED]
    assert stored(session) == before


OTHERS = Scope(frozenset({999}))


@pytest.mark.parametrize("capped", [False, True])
def test_a_batch_outside_of_the_scope_is_not_kept(services: Services, *, capped: bool) -> None:
    storage = services.storage
    if capped:
        storage.write(lambda session: session.add(GeneratorCap(generator_id=1, cap=1, issued=0)))
    version = storage.read(current_version)
    for scope in (OTHERS, Scope(frozenset())):
        with nothing_stored(storage), pytest.raises(OutsideScope):
            asyncio.run(batch_store.keep(storage, new_batch(version, 1, 1, scope, capped=capped)))
    assert asyncio.run(batch_store.keep(storage, new_batch(version, 1, 1, Scope(frozenset({1})), capped=capped)))


def test_a_piece_outside_of_the_scope_is_not_staged(services: Services) -> None:
    storage = services.storage
    reserved = storage.write(lambda session: staging.reserve(session, 1, NOW))

    def stage(scope: Scope) -> None:
        piece = staging.Piece(reserved.batch_id, scope, 1, 1, 0, 0, b'["new"]', reserved.ids, NOW)
        asyncio.run(staging.stage(storage, piece))

    with nothing_stored(storage), pytest.raises(OutsideScope):
        stage(OTHERS)
    stage(Scope(frozenset({1})))
    assert storage.read(lambda session: licenses.already_stored(session, ["new"])) == {"new"}
