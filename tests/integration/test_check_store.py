"""`checking` finds nothing wrong with what the use cases store, and each fault that is planted (reliability.md T12)."""

# ruff: noqa: S608 -- faults are planted by statements that are made of names in this file

import asyncio
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from sqlalchemy import Connection, create_engine, select, text
from tests.support.postgresql import PostgresqlServer
from tests.support.world import add_api_key, add_generator, add_product, execute

from hanaper.access import manage
from hanaper.access.authenticate import OPERATOR
from hanaper.activation.activate import Place, activate
from hanaper.activation.deactivate import deactivate
from hanaper.app import open_services
from hanaper.assignment.assign import Owner, assign
from hanaper.assignment.random_assign import Wish, random_assign
from hanaper.checking.check import check
from hanaper.checking.report import MOST_LISTED, Report
from hanaper.clock import utc_now
from hanaper.issuing.formats import Recipe
from hanaper.issuing.generate import generate
from hanaper.issuing.large_order import LargeOrders
from hanaper.issuing.plan import Order
from hanaper.keystore.keys import Keystore
from hanaper.licenses.attach import attach
from hanaper.licenses.delete import delete
from hanaper.licenses.models import LicenseKey
from hanaper.licenses.rules import State
from hanaper.licenses.update import Changes, update
from hanaper.products import store as products
from hanaper.registration.register import Terms, register
from hanaper.settings import Settings
from hanaper.storage.engine import Database
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.storage.sqlite import library
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

Found: TypeAlias = set[tuple[str, str, int | None]]
LONG_AGO = "'2020-02-03 04:05:06.000000'"


@dataclass(frozen=True)
class Store:
    """An installation."""

    settings: Settings

    def check(self) -> Report:
        with Storage.open(self.settings) as storage:
            return check(storage, Keystore.from_settings(self.settings), now=utc_now())


async def _issue(services: Services) -> None:
    parts = {"storage": services.storage, "signing": services.signing, "clock": services.clock}
    for order in [Order(1, 3)] * 12 + [Order(2, 3)] * 6:
        snapshot = await services.configuration.snapshot(anew=True)
        await generate(order, OPERATOR, "request", snapshot, **parts)  # type: ignore[arg-type]  # they are what they are
    orders = LargeOrders(services.storage, services.signing, services.clock, asyncio.Semaphore(1))
    await orders.issue(Order(1, 1001), OPERATOR, "request", await services.configuration.snapshot(anew=True))


def _use(session: Session) -> None:
    now = utc_now()
    for state in ("available", "reserved", "assigned", "suspended", "revoked"):
        register(
            session,
            [f"{state}-{number}" for number in range(8)],
            1,
            Terms(3, 30, State(state)),
            scope=EVERYTHING,
            now=now,
        )
    register(
        session, [f"used-{number}" for number in range(8)], 1, Terms(3, 30, State.AVAILABLE), scope=EVERYTHING, now=now
    )
    for number in range(8):
        key = f"used-{number}"
        assert assign(session, key, Owner("Ann", "ann@example.com"), caller=OPERATOR, now=now)
        for identifier in ("one", "two", "ended"):
            activate(session, key, Place(identifier), caller=OPERATOR, expiry="product", now=now)
        deactivate(session, key, "ended", caller=OPERATOR, now=now)
        row = session.scalars(select(LicenseKey).where(LicenseKey.license_key == key)).one()
        for name in ("first", "second"):
            attach(session, row, name, "value", scope=EVERYTHING, now=now)
    for name in ("first", "second"):
        for product in range(1, 6):
            products.attach(session, product, name, "value", scope=EVERYTHING, now=now)
    # The end of those that were generated: moved, suspended, revoked, deleted, drawn, minted.
    last = session.execute(text("SELECT license_key FROM license_keys WHERE batch_id = 18 ORDER BY id")).scalars().all()
    for key in last:
        assign(session, key, Owner(), caller=OPERATOR, now=now)
        activate(session, key, Place("one"), caller=OPERATOR, expiry="product", now=now)
    update(session, last[0], Changes(product=1, activation_limit=1, status="suspended"), caller=OPERATOR, now=now)
    update(session, last[1], Changes(status="revoked"), caller=OPERATOR, now=now)
    delete(session, last[2], caller=OPERATOR, now=now)
    random_assign(session, Wish(3, 5, generate=True, generator=3), Owner(), caller=OPERATOR, now=now)
    for address in ("203.0.113.66", "203.0.113.67", "203.0.113.68"):
        manage.block(session, "address", address, reason="", expires_at=None, now=now)


def _fill(settings: Settings) -> None:
    services = open_services(settings)
    with services.storage:
        for slug in ("second", "third", "fourth", "fifth"):
            product, _ = add_product(services, slug)
            add_generator(services, product, Recipe("uuid"))
        for _ in range(3):
            add_api_key(services)
        asyncio.run(_issue(services))
        services.storage.write(_use)


@dataclass(frozen=True)
class Template:
    folder: Path
    database: str


@pytest.fixture(scope="session")
def sqlite_mixture(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("mixture") / "data"
    shutil.copytree(sqlite_template, folder)
    _fill(Settings(data_dir=folder))
    return Template(folder, "")


@pytest.fixture(scope="session")
def postgresql_mixture(postgresql_server: PostgresqlServer, postgresql_template: tuple[str, Path]) -> Template:
    template, folder = postgresql_template
    name = postgresql_server.create_database(template)
    _fill(Settings(data_dir=folder, database_url=postgresql_server.url(name)))
    return Template(folder, name)


@pytest.fixture
def mixture(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A copy of an installation with a bit of everything, that use cases have stored."""
    template: Template = request.getfixturevalue(f"{database_kind}_mixture")
    folder = tmp_path / "data"
    shutil.copytree(template.folder, folder)
    if database_kind == "sqlite":
        yield Store(Settings(data_dir=folder))
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    name = server.create_database(template.database)
    yield Store(Settings(data_dir=folder, database_url=server.url(name)))
    server.drop_database(name)


def test_nothing_is_wrong_with_what_use_cases_store(mixture: Store) -> None:
    report = mixture.check()
    assert report.findings == []
    assert report.is_clean
    assert report.checked == {
        "configuration_version": 1,
        "wrapped_secrets": 1,
        "signing_keys": 6,
        "staged_batches": 0,
        "batches": 19,
        "signatures": 19,
        "license_keys": 18 * 3 + 1001 + 6 * 8 + 5,
        "activations": 8 * 3 + 3,
        "license_key_meta": 16,
        "product_meta": 10,
        "generators": 5,
        "audit_events": 22,
    }


def test_a_batch_that_is_still_being_stored_is_passed_over(mixture: Store) -> None:
    with planting(mixture) as planter:
        planter.run("INSERT INTO staged_batches (batch_id, abandoned, touched_at) VALUES (99, 0, CURRENT_TIMESTAMP)")
        planter.run("UPDATE license_keys SET batch_id = 99, source = 'generator', generator_id = 1 WHERE id > 1100")
    report = mixture.check()
    assert (report.findings, report.checked["staged_batches"]) == ([], 1)


def test_keys_no_longer_active_still_verify(mixture: Store) -> None:
    with planting(mixture) as planter:
        planter.run("UPDATE signing_keys SET state = 'verify_only' WHERE product_id = 1")
    report = mixture.check()
    assert (report.findings, report.checked["signatures"]) == ([], 19)


def test_what_is_checked_is_one_moment(mixture: Store) -> None:
    """A server that works beside it causes no findings: here all license keys of a batch go in the midst of it."""
    with Storage.open(mixture.settings) as storage, Storage.open(mixture.settings) as other:
        changed: list[int] = []

        def meddle(rows: int) -> None:
            if not changed:
                execute(other, text("DELETE FROM batches"))
                execute(other, text("DELETE FROM activations"))
            changed.append(rows)

        report = check(storage, Keystore.from_settings(mixture.settings), now=utc_now(), advance=meddle)
        assert (report.findings, report.checked["activations"]) == ([], 27)
        assert changed
    assert mixture.check().counts.keys() == {"no_batch"}


def test_all_findings_are_counted_and_the_first_thousand_listed(mixture: Store) -> None:
    with planting(mixture) as planter:
        planter.run("UPDATE license_keys SET validity = -1")
    report = mixture.check()
    assert len(report.findings) == MOST_LISTED
    assert report.counts["terms"] == report.checked["license_keys"] > MOST_LISTED


# Planting faults.


class Planter:
    """Changes a database behind the back of its constraints."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_sqlite = connection.dialect.name == "sqlite"

    def run(self, statement: str, **values: object) -> None:
        self.connection.execute(text(statement), values)

    def ids(self, query: str, many: int = 5) -> list[int]:
        """The first ids that a query finds; there have to be that many."""
        found = list(self.connection.scalars(text(f"{query} LIMIT {many}")))
        assert len(found) == many
        return found

    def value(self, query: str, **values: object) -> Any:
        return self.connection.execute(text(query), values).scalar_one()

    def forget_unique(self, table: str) -> None:
        """Make a table one without unique constraints; on PostgreSQL they are gone already."""
        if not self.is_sqlite:
            return
        parts = self.connection.execute(
            text("SELECT type, sql FROM sqlite_schema WHERE tbl_name = :table AND sql IS NOT NULL"), {"table": table}
        ).all()
        made = next(sql for kind, sql in parts if kind == "table")
        without = re.sub(r",\s*CONSTRAINT uq_\w+ UNIQUE \([^)]*\)", "", made)
        assert without != made
        self.run("PRAGMA legacy_alter_table = ON")
        self.connection.exec_driver_sql(re.sub(rf'(CREATE TABLE )"?{table}"?', r"\1rebuilt", without, count=1))
        self.run(f"INSERT INTO rebuilt SELECT * FROM {table}")
        self.run(f"DROP TABLE {table}")
        self.run(f"ALTER TABLE rebuilt RENAME TO {table}")
        for kind, sql in parts:
            if kind == "index" and "UNIQUE" not in sql:
                self.connection.exec_driver_sql(sql)


_CONSTRAINTS = """
    SELECT conrelid::regclass::text, quote_ident(conname) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f', 'u') ORDER BY contype = 'u'
"""


@contextmanager
def planting(store: Store) -> Iterator[Planter]:
    with Storage.open(store.settings) as storage:
        database: Database = storage.database
    module = {"module": library()} if database.file is not None else {}
    engine = create_engine(database.url, **module)
    with engine.begin() as connection:
        planter = Planter(connection)
        if planter.is_sqlite:
            planter.run("PRAGMA ignore_check_constraints = ON")
        else:
            planter.run("SET session_replication_role = replica")
            for table, name in connection.execute(text(_CONSTRAINTS)).all():
                planter.run(f"ALTER TABLE {table} DROP CONSTRAINT {name} CASCADE")
        planter.run("DROP INDEX uq_signing_keys_active")
        yield planter
    engine.dispose()


# Ids to choose from: batches 1 to 12 are of product 1, 13 to 17 of product 2; products 3 to 5 have none.
BATCHES = "SELECT id FROM batches WHERE id <= 12 ORDER BY id"
GENERATED = "SELECT min(id) FROM license_keys WHERE batch_id <= 12 GROUP BY batch_id ORDER BY batch_id"
USED = "SELECT id FROM license_keys WHERE license_key LIKE 'used-%' ORDER BY id"
ACTIVATIONS = "SELECT min(id) FROM activations WHERE status = 'active' GROUP BY license_key_id ORDER BY 1"
SPARE_KEYS = "SELECT id FROM signing_keys WHERE product_id IN (3, 4, 5) ORDER BY id"
KEYS, BATCH = "license_keys", "batches"


def named(state: str) -> str:
    return f"SELECT id FROM license_keys WHERE license_key LIKE '{state}-%' ORDER BY id"


def each(table: str, query: str, change: str, *kinds: str, many: int = 5) -> Callable[[Planter], Found]:
    """One statement on several rows, each of which then has these faults."""

    def plant(planter: Planter) -> Found:
        found = planter.ids(query, many)
        for row_id in found:
            planter.run(change.replace("{many}", str(row_id)), id=row_id)
        return {(kind, table, row_id) for row_id in found for kind in kinds}

    return plant


def in_batch(change: str, *kinds: str) -> Callable[[Planter], Found]:
    """One statement on a license key in each of several batches, which then have these faults."""

    def plant(planter: Planter) -> Found:
        expected: Found = set()
        for row_id in planter.ids(GENERATED):
            batch = planter.value("SELECT batch_id FROM license_keys WHERE id = :id", id=row_id)
            planter.run(change, id=row_id)
            expected |= {(kind, BATCH, batch) for kind in kinds}
        return expected

    return plant


def flipped(table: str, query: str, column: str, *kinds: str, many: int = 5) -> Callable[[Planter], Found]:
    """One bit in each of several values."""

    def plant(planter: Planter) -> Found:
        found = planter.ids(query, many)
        for number, row_id in enumerate(found):
            stored = planter.value(f"SELECT {column} FROM {table} WHERE id = :id", id=row_id)
            changed = bytearray(stored)
            changed[(number * 53) % len(changed)] ^= 1 << number
            planter.run(f"UPDATE {table} SET {column} = :value WHERE id = :id", value=bytes(changed), id=row_id)
        return {(kind, table, row_id) for row_id in found for kind in kinds}

    return plant


def flipped_text(planter: Planter) -> Found:
    expected: Found = set()
    for row_id in planter.ids(GENERATED):
        stored = planter.value("SELECT license_key FROM license_keys WHERE id = :id", id=row_id)
        changed = stored[:4] + chr(ord(stored[4]) ^ 1) + stored[5:]
        planter.run("UPDATE license_keys SET license_key = :text WHERE id = :id", text=changed, id=row_id)
        batch = planter.value("SELECT batch_id FROM license_keys WHERE id = :id", id=row_id)
        expected.add(("signature", BATCH, batch))
    return expected


def no_text(planter: Planter) -> Found:
    """A flipped bit that leaves no UTF-8."""
    expected: Found = set()
    for row_id in planter.ids(GENERATED):
        planter.run(
            "UPDATE license_keys SET license_key = CAST(:value AS TEXT) WHERE id = :id",
            value=b"\xe1" + b"x" * row_id,
            id=row_id,
        )
        batch = planter.value("SELECT batch_id FROM license_keys WHERE id = :id", id=row_id)
        expected |= {("signature", BATCH, batch), ("text", KEYS, row_id)}
    return expected


def swapped(planter: Planter) -> Found:
    for row_id in planter.ids(GENERATED):
        first, second = (
            planter.value("SELECT license_key FROM license_keys WHERE id = :id", id=number)
            for number in (row_id, row_id + 1)
        )
        for number, value in ((row_id, "on its way"), (row_id + 1, first), (row_id, second)):
            planter.run("UPDATE license_keys SET license_key = :value WHERE id = :id", value=value, id=number)
    return {("signature", BATCH, batch) for batch in planter.ids(BATCHES)}


def moved(planter: Planter) -> Found:
    """From the first batch to the second, and so on in pairs."""
    expected: Found = set()
    for batch in (1, 3, 5, 7, 9):
        row_id = planter.value("SELECT min(id) FROM license_keys WHERE batch_id = :id", id=batch)
        planter.run("UPDATE license_keys SET batch_id = :batch WHERE id = :id", batch=batch + 1, id=row_id)
        expected |= {(kind, BATCH, number) for number in (batch, batch + 1) for kind in ("quantity", "signature")}
    return expected


def batch_deleted(planter: Planter) -> Found:
    batches = planter.ids(BATCHES)
    keys = planter.ids("SELECT id FROM license_keys WHERE batch_id <= 5 ORDER BY id", 15)
    for batch in batches:
        planter.run("DELETE FROM batches WHERE id = :id", id=batch)
    told = planter.ids("SELECT id FROM audit_events WHERE batch_id <= 5 ORDER BY id")
    return {("no_batch", KEYS, row_id) for row_id in keys} | {("no_batch", "audit_events", row_id) for row_id in told}


def audit_row_deleted(planter: Planter) -> Found:
    """As if it had been left out, or written in a transaction of its own that did not come to its end."""
    batches = planter.ids(BATCHES)
    for batch in batches:
        planter.run("DELETE FROM audit_events WHERE batch_id = :id", id=batch)
    return {("no_audit_row", "batches", batch) for batch in batches}


def repeated(
    table: str, query: str, columns: str, *more: str, many: int = 3, match: str = ""
) -> Callable[[Planter], Found]:
    """Rows that get the values of the first that the query finds, or (match) of the one before in the same group."""

    def plant(planter: Planter) -> Found:
        planter.forget_unique(table)
        names = columns.split()
        if match:
            found = planter.ids(query, many)
            for row_id in found:
                source = f"SELECT min(other.id) FROM {table} AS other WHERE other.{match} = {table}.{match}"
                for name in names:
                    planter.run(
                        f"UPDATE {table} SET {name} = (SELECT one.{name} FROM {table} AS one WHERE one.id = ({source}))"
                        " WHERE id = :id",
                        id=row_id,
                    )
        else:
            first, *found = planter.ids(query, many + 1)
            for row_id in found:
                for name in names:
                    planter.run(
                        f"UPDATE {table} SET {name} = (SELECT one.{name} FROM {table} AS one WHERE one.id = :first)"
                        " WHERE id = :id",
                        first=first,
                        id=row_id,
                    )
        return {(kind, table, row_id) for row_id in found for kind in ("repeated", *more)}

    return plant


def second_of(table: str, parent: str) -> str:
    return f"SELECT max(id) FROM {table} GROUP BY {parent} HAVING count(*) > 1 ORDER BY 1"


def key_columns(change: str) -> str:
    return f"UPDATE license_keys SET {change} WHERE id = :id"


def batch_columns(change: str) -> str:
    return f"UPDATE batches SET {change} WHERE id = :id"


def once(statement: str, *expected: tuple[str, str, int | None]) -> Callable[[Planter], Found]:
    def plant(planter: Planter) -> Found:
        planter.run(statement)
        return set(expected)

    return plant


def unusable(change: str) -> Callable[[Planter], Found]:
    """License keys with two active activations each, which must not have any."""

    def plant(planter: Planter) -> Found:
        keys = planter.ids(USED)
        for row_id in keys:
            planter.run(key_columns(change), id=row_id)
        of_them = f"SELECT id FROM activations WHERE status = 'active' AND license_key_id <= {keys[-1]}"
        mine = f"{of_them} AND license_key_id >= {keys[0]} ORDER BY id"
        return {("active", "activations", row_id) for row_id in planter.ids(mine, 10)}

    return plant


PLANTS: dict[str, Callable[[Planter], Found]] = {
    "quantity": each(BATCH, BATCHES, batch_columns("quantity = quantity + 1"), "quantity"),
    "license key lost": in_batch("DELETE FROM license_keys WHERE id = :id", "quantity", "signature"),
    "license key changed": in_batch(key_columns("license_key = license_key || 'x'"), "signature"),
    "license key flipped": flipped_text,
    "license keys swapped": swapped,
    "license key in another place": in_batch(key_columns("id = id + 1000000"), "signature"),
    "license key of another batch": moved,
    "license key of no batch": in_batch(key_columns("batch_id = NULL"), "quantity", "signature"),
    "batch lost": batch_deleted,
    "audit row lost": audit_row_deleted,
    "signed at": each(BATCH, BATCHES, batch_columns("signed_at = signed_at + 1"), "signature"),
    "signature flipped": flipped(BATCH, BATCHES, "signature", "signature"),
    "signature of another": each(
        BATCH, BATCHES, batch_columns("signature = (SELECT signature FROM batches WHERE id = 12)"), "signature"
    ),
    "signature empty": each(BATCH, BATCHES, batch_columns("signature = ''"), "signature"),
    "batch without product": each(
        BATCH, BATCHES, batch_columns("product_id = 999"), "no_product", "wrong_signing_key", "wrong_generator"
    ),
    "batch without generator": each(BATCH, BATCHES, batch_columns("generator_id = 999"), "no_generator"),
    "batch without API key": each(BATCH, BATCHES, batch_columns("api_key_id = 999"), "no_api_key"),
    "batch without signing key": each(BATCH, BATCHES, batch_columns("signing_key_id = 999"), "no_signing_key"),
    "batch with another's signing key": each(
        BATCH,
        BATCHES,
        batch_columns("signing_key_id = (SELECT id FROM signing_keys WHERE product_id = 2)"),
        "wrong_signing_key",
    ),
    "batch signed by the global key": each(
        BATCH,
        BATCHES,
        batch_columns("signing_key_id = (SELECT id FROM signing_keys WHERE product_id IS NULL)"),
        "signature",
    ),
    "batch with another's generator": each(BATCH, BATCHES, batch_columns("generator_id = 2"), "wrong_generator"),
    "batch staged": each(
        BATCH,
        BATCHES,
        "INSERT INTO staged_batches (batch_id, abandoned, touched_at) VALUES (:id, 0, CURRENT_TIMESTAMP)",
        "staged",
    ),
    "license key without product": each(KEYS, named("available"), key_columns("product_id = 999"), "no_product"),
    "license key without generator": each(KEYS, GENERATED, key_columns("generator_id = 999"), "no_generator"),
    "status": each(KEYS, named("available"), key_columns("status = 'sold'"), "status"),
    "block without reason": each(KEYS, named("suspended"), key_columns("block_reason = NULL"), "block_reason"),
    "reason without block": each(KEYS, named("available"), key_columns("block_reason = 'revoked'"), "block_reason"),
    "reason": each(KEYS, named("revoked"), key_columns("block_reason = 'why'"), "block_reason"),
    "assigned at no moment": each(KEYS, named("assigned"), key_columns("assigned_at = NULL"), "assigned_at"),
    "available since": each(KEYS, named("available"), key_columns(f"assigned_at = {LONG_AGO}"), "assigned_at"),
    "reserved since": each(KEYS, named("reserved"), key_columns(f"assigned_at = {LONG_AGO}"), "assigned_at"),
    "source": each(KEYS, named("available"), key_columns("source = 'nowhere'"), "source"),
    "generated by nothing": each(KEYS, GENERATED, key_columns("generator_id = NULL"), "source"),
    "batch made by hand": each(KEYS, GENERATED, key_columns("source = 'manual'"), "source"),
    "limit": each(KEYS, named("available"), key_columns("activation_limit = -1"), "terms"),
    "validity": each(KEYS, named("available"), key_columns("validity = -1"), "terms"),
    "blanks": each(KEYS, named("available"), key_columns("license_key = ' ' || license_key"), "text"),
    "not printable": each(KEYS, named("available"), key_columns("license_key = license_key || '\x07'"), "text"),
    "empty": each(KEYS, named("available"), key_columns("license_key = ''"), "text", many=1),
    "license key twice": repeated(KEYS, named("available"), "license_key", many=5),
    "activation of nothing": each(
        "activations",
        ACTIVATIONS,
        "UPDATE activations SET license_key_id = 99000 + id WHERE id = :id",
        "no_license_key",
    ),
    "activation's status": each(
        "activations", ACTIVATIONS, "UPDATE activations SET status = 'gone' WHERE id = :id", "status"
    ),
    "activation of what is deleted": unusable(f"deleted_at = {LONG_AGO}"),
    "activation of what is available": unusable("status = 'available', assigned_at = NULL"),
    "activation of what is reserved": unusable("status = 'reserved', assigned_at = NULL"),
    "activation of what is revoked": unusable("status = 'blocked', block_reason = 'revoked'"),
    "activation twice": repeated(
        "activations", second_of("activations", "license_key_id"), "identifier", many=5, match="license_key_id"
    ),
    "metadata of nothing": each(
        "license_key_meta",
        "SELECT id FROM license_key_meta ORDER BY id",
        "UPDATE license_key_meta SET license_key_id = 99000 + id WHERE id = :id",
        "no_license_key",
    ),
    "metadata twice": repeated(
        "license_key_meta", second_of("license_key_meta", "license_key_id"), "key", many=5, match="license_key_id"
    ),
    "metadata of no product": each(
        "product_meta",
        "SELECT id FROM product_meta ORDER BY id",
        "UPDATE product_meta SET product_id = 99000 + id WHERE id = :id",
        "no_product",
    ),
    "metadata of a product twice": repeated(
        "product_meta", second_of("product_meta", "product_id"), "key", many=5, match="product_id"
    ),
    "generator of no product": each(
        "generators",
        "SELECT id FROM generators WHERE id > 3 ORDER BY id",
        "UPDATE generators SET product_id = 99000 + id WHERE id = :id",
        "no_product",
        many=2,
    ),
    "generator twice": repeated("generators", "SELECT id FROM generators ORDER BY id", "uuid", many=4),
    "product's UUID twice": repeated("products", "SELECT id FROM products ORDER BY id", "uuid", many=4),
    "product's slug twice": repeated("products", "SELECT id FROM products ORDER BY id", "slug", many=4),
    "API key twice": repeated("api_keys", "SELECT id FROM api_keys ORDER BY id", "digest"),
    "block list": repeated("block_list", "SELECT id FROM block_list ORDER BY id", "kind value", many=2),
    "signing key twice": repeated("signing_keys", SPARE_KEYS, "kid", "kid", many=2),
    "signing key of another product": each(
        "signing_keys",
        SPARE_KEYS,
        "UPDATE signing_keys SET product_id = 1 WHERE id = :id",
        "private_key",
        "active_key",
        many=3,
    ),
    "kid": each("signing_keys", SPARE_KEYS, "UPDATE signing_keys SET kid = 'x' || :id WHERE id = :id", "kid", many=3),
    "public half of another": each(
        "signing_keys",
        SPARE_KEYS,
        "UPDATE signing_keys SET public_pem = (SELECT public_pem FROM signing_keys WHERE product_id = 1)"
        " WHERE id = :id",
        "kid",
        many=3,
    ),
    "public half": each(
        "signing_keys", SPARE_KEYS, "UPDATE signing_keys SET public_pem = 'x' WHERE id = :id", "public_key", many=3
    ),
    "private half flipped": flipped("signing_keys", SPARE_KEYS, "private_ciphertext", "private_key", many=3),
    "private half under another key": each(
        "signing_keys", SPARE_KEYS, "UPDATE signing_keys SET kek_id = 'x' WHERE id = :id", "private_key", many=3
    ),
    "signing key's state": each(
        "signing_keys", SPARE_KEYS, "UPDATE signing_keys SET state = 'lost' WHERE id = :id", "state", many=3
    ),
    "no global key": once(
        "UPDATE signing_keys SET state = 'verify_only' WHERE product_id IS NULL", ("active_key", "signing_keys", None)
    ),
    "secret lost": once("DELETE FROM wrapped_secrets", ("secret", "wrapped_secrets", None)),
    "secret": once("UPDATE wrapped_secrets SET ciphertext = 'x'", ("secret", "wrapped_secrets", None)),
    "no version": once("DELETE FROM configuration_version", ("configuration_version", "configuration_version", None)),
    "two versions": once(
        "INSERT INTO configuration_version (id, version) VALUES (2, 2)",
        ("configuration_version", "configuration_version", None),
    ),
    "abandoned": once(
        f"INSERT INTO staged_batches (batch_id, abandoned, touched_at) VALUES (98, 0, {LONG_AGO}), (99, 1, {LONG_AGO})",
        ("abandoned", "staged_batches", 98),
        ("abandoned", "staged_batches", 99),
    ),
}


def as_found(report: Report) -> Found:
    """All findings but those of SQLite about its own file, which may tell of the same."""
    found = [(finding.kind, finding.table, finding.id) for finding in report.findings if finding.kind != "file"]
    assert len(set(found)) == len(found)
    return set(found)


def check_planted(mixture: Store, plant: Callable[[Planter], Found]) -> None:
    with planting(mixture) as planter:
        expected = plant(planter)
    report = mixture.check()
    assert expected
    assert as_found(report) == expected
    for finding in report.findings:
        if finding.kind == "file":
            assert finding.text.startswith("CHECK constraint failed in ")


@pytest.mark.parametrize("fault", PLANTS)
def test_a_fault_is_found_and_none_besides(mixture: Store, fault: str) -> None:
    check_planted(mixture, PLANTS[fault])


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_license_key_that_is_no_text_any_more_is_found(mixture: Store) -> None:
    check_planted(mixture, no_text)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_damaged_file_is_found(mixture: Store) -> None:
    file = mixture.settings.data_dir / "hanaper.db"
    with planting(mixture) as planter:
        page_size = planter.value("PRAGMA page_size")
        root = planter.value("SELECT rootpage FROM sqlite_schema WHERE name = 'activations'")
        planter.run("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    content[(root - 1) * page_size : (root - 1) * page_size + 64] = b"\xff" * 64
    file.write_bytes(content)
    assert mixture.check().counts["file"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_only_sqlite_sees_is_found(mixture: Store) -> None:
    with planting(mixture) as planter:
        planter.run("UPDATE block_list SET kind = 'planet'")
    findings = [(finding.kind, finding.text) for finding in mixture.check().findings]
    assert findings == [("file", "CHECK constraint failed in block_list")] * 3


def test_no_finding_shows_a_license_key(mixture: Store) -> None:
    with planting(mixture) as planter:
        texts: Sequence[str] = planter.connection.execute(text("SELECT license_key FROM license_keys")).scalars().all()
        planter.run("UPDATE license_keys SET license_key = license_key || '\x07' WHERE id < 900")
        planter.run("UPDATE batches SET quantity = 5")
    shown = str(mixture.check().findings)
    assert shown
    assert not [key for key in texts if key in shown]


def test_time_alone_makes_no_finding(mixture: Store) -> None:
    with Storage.open(mixture.settings) as storage:
        later = utc_now() + timedelta(days=1000)
        assert check(storage, Keystore.from_settings(mixture.settings), now=later).is_clean
