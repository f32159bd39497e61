"""Requests under an idempotency key: carried out once, and answered alike (protocol.md 7.1; reliability.md 4.7).

What holds for every endpoint is in test_idempotent_endpoints.py, what is a key and what is the same request in
tests/support/malformed.py, families 21 and 22.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Barrier
from time import sleep
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from sqlalchemy import delete, event, func, insert, select, text, update
from tests.api.test_database_away import away, unavailable
from tests.conftest import IN_THIS_PROCESS, SAMPLE_KEY, Installation
from tests.support.api import Answer, Api
from tests.support.raw import connected
from tests.support.registry import CLOSED, DEMO, STRICT, Stock, another_server, stocked
from tests.support.world import World, add_api_key, add_generator, add_weak_generator, counts, execute

from hanaper.access import key_format, manage
from hanaper.access import store as access
from hanaper.access.models import ApiKey, BlockedEntry
from hanaper.clock import utc_now
from hanaper.idempotency import rules, store
from hanaper.idempotency.models import IdempotencyRecord
from hanaper.idempotency.store import Keyed
from hanaper.issuing.formats import Recipe
from hanaper.issuing.models import Generator, GeneratorCap
from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.storage import configuration
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

GENERATE = "/api/v1/generate"
FIELDS: dict[str, Any] = {"generator_id": 1, "quantity": 3}


def records(storage: Storage) -> int:
    return storage.read(lambda session: session.scalars(select(func.count()).select_from(IdempotencyRecord)).one())


def is_replay(answer: Answer, first: Answer) -> None:
    assert answer.http.headers.get("idempotent-replayed") == "true"
    assert answer.http.content == first.http.content
    assert answer.status == 200
    assert answer.http.headers["x-signing-key-id"] == first.http.headers["x-signing-key-id"]


def is_new(answer: Answer) -> None:
    assert "idempotent-replayed" not in answer.http.headers


def is_in_flight(answer: Answer) -> None:
    assert (answer.code, answer.status, answer.signed_by) == (901, 409, "global")
    assert answer.errors == {
        "idempotency_key": ["A request with this idempotency key is being carried out: try again."]
    }
    assert int(answer.http.headers["retry-after"]) > 0


@pytest.fixture(scope="module")
def stock(world: World) -> Iterator[Stock]:
    with stocked(world) as stock:
        yield stock


@dataclass
class Client:
    """Sends one request under one idempotency key, again and again."""

    stock: Stock
    endpoint: str
    fields: dict[str, Any]
    api_key: str = ""
    product: str = DEMO
    idempotency_key: str = field(default_factory=lambda: uuid4().hex)

    def __call__(self, **more: Any) -> Answer:
        desk = self.stock.desks[self.product]
        headers = {"Idempotency-Key": self.idempotency_key}
        sent = {**self.fields, **({"api_key": self.api_key} if self.api_key else {}), **more}
        return desk.ask(self.endpoint, sent, headers=headers)


# --- where the key stands ---


def test_the_key_is_the_same_in_the_header_and_in_the_body(stock: Stock) -> None:
    desk, key = stock.desks[DEMO], uuid4().hex
    first = desk.ask("generate", FIELDS, headers={"Idempotency-Key": f'"{key}"'})
    for encoding in ("form", "multipart", "json"):
        is_replay(desk.ask("generate", {**FIELDS, "idempotency_key": key}, encoding=encoding), first)
        is_replay(desk.ask("generate", {**FIELDS, "idempotency_key": f'"{key}"'}, encoding=encoding), first)
    number = int(uuid4().int % 10**15)
    first = desk.ask("generate", {**FIELDS, "idempotency_key": number})
    is_replay(desk.ask("generate", FIELDS, headers={"Idempotency-Key": f"{number}"}), first)


def test_the_header_counts_before_the_body(stock: Stock) -> None:
    desk, keys = stock.desks[DEMO], [uuid4().hex, uuid4().hex]
    first = desk.ask("generate", {**FIELDS, "idempotency_key": keys[1]}, headers={"Idempotency-Key": keys[0]})
    is_replay(desk.ask("generate", FIELDS, headers={"Idempotency-Key": keys[0]}), first)
    second = desk.ask("generate", {**FIELDS, "idempotency_key": keys[1]})
    is_new(second)
    assert second.payload["licenseKeys"] != first.payload["licenseKeys"]


def test_the_name_of_the_clients_own_field_is_no_carrier(stock: Stock) -> None:
    """It leaks into their bodies; they always send the header, too (protocol.md 4.0)."""
    fields = {**FIELDS, "idempotencyKey": uuid4().hex}
    first, second = (stock.desks[DEMO].ask("generate", fields) for _ in range(2))
    is_new(second)
    assert first.payload["licenseKeys"] != second.payload["licenseKeys"]


@pytest.mark.parametrize("key", ["a-good-key", "a b", ""])
def test_what_changes_nothing_ignores_the_key(stock: Stock, key: str) -> None:
    desk, headers = stock.desks[DEMO], {"Idempotency-Key": key}
    license_key = stock.license_key(active=["pc"])
    before = records(stock.storage)
    for endpoint, code in (("verify", 200), ("get-license-key-details", 500)):
        for identifier, expected in (("pc", code), ("other", 202), ("pc", code)):
            fields = {"license_key": license_key, "identifier": identifier, "idempotency_key": key}
            answer = desk.ask(endpoint, fields, headers=headers)
            is_new(answer)
            assert answer.code == expected
    for path in ("get-all-generators", "get-license-keys", "get-all-products"):
        query = {"api_key": desk.api_key, "idempotency_key": key}
        for more in ({}, {"product_id": 1}):
            answer = desk.api.get(f"/api/v1/{path}", {**query, **more}, headers=headers)
            is_new(answer)
            assert answer.code in (820, 730, 810)
    assert records(stock.storage) == before


# --- refusals ---


@dataclass(frozen=True)
class Refused:
    """A request that is refused at first; what changes that; and what it is answered then."""

    name: str
    endpoint: str
    code: int
    then: int | str
    prepare: Callable[[Stock], tuple[dict[str, Any], Callable[[], object]]]
    product: str = DEMO


def changed(stock: Stock, license_key: str, **columns: Any) -> Callable[[], object]:
    return lambda: stock.change(license_key, **columns)


def of_license(name: str, endpoint: str, code: int, then: int | str, *, product: str = DEMO, **how: Any) -> Refused:
    """The license key itself is the reason: `columns` at first, `good` afterwards."""

    def prepare(stock: Stock) -> tuple[dict[str, Any], Callable[[], object]]:
        key = stock.license_key(product, active=how.get("active", ()), **how["columns"])
        fields = {"license_key": key, "identifier": "pc", "owner_email": "a@example.com", "validity": 3}
        return fields, changed(stock, key, **how["good"])

    return Refused(name, endpoint, code, then, prepare, product)


def of_meta(endpoint: str, code: int, then: int, first: str) -> Refused:
    """Somebody attaches it, or takes it away."""

    def prepare(stock: Stock) -> tuple[dict[str, Any], Callable[[], object]]:
        key = stock.license_key(meta={"seats": "1"} if endpoint.startswith("create") else {})
        fields = {"license_key": key, "key": "seats", "value": "2"}
        return fields, lambda: stock.desks[DEMO].ask(first, fields)

    return Refused(f"metadata {code}", endpoint, code, then, prepare)


def of_other_call(name: str, endpoint: str, code: int, then: int | str, first: str, active: list[str]) -> Refused:
    """Another request makes it possible."""

    def prepare(stock: Stock) -> tuple[dict[str, Any], Callable[[], object]]:
        fields = {"license_key": stock.license_key(active=active, activation_limit=1), "identifier": "pc"}
        other = {**fields, "identifier": active[0]} if active else fields
        return fields, lambda: stock.desks[DEMO].ask(first, other)

    return Refused(name, endpoint, code, then, prepare)


def of_api_key(name: str, code: int, good: Any, **terms: Any) -> Refused:
    def prepare(stock: Stock) -> tuple[dict[str, Any], Callable[[], object]]:
        api_key = add_api_key(stock.services)
        put(stock.services, api_key, **terms)
        return {**FIELDS, "api_key": api_key}, lambda: put(stock.services, api_key, **dict.fromkeys(terms, good))

    return Refused(name, "generate", code, 815, prepare)


def put(services: Services, api_key: str, **columns: Any) -> None:
    digest = key_format.digest(services.pepper, api_key)
    execute(services.storage, update(ApiKey).where(ApiKey.digest == digest).values(**columns))


def blocked_identifier(stock: Stock) -> tuple[dict[str, Any], Callable[[], object]]:
    name = f"{uuid4()}.example"

    def block(session: Session) -> None:
        manage.block(session, "identifier", name, reason="", expires_at=None, now=utc_now())

    stock.storage.write(block)
    fields = {"license_key": stock.license_key(), "identifier": name}
    return fields, lambda: execute(stock.storage, delete(BlockedEntry).where(BlockedEntry.value == name))


def inactive_generator(stock: Stock) -> tuple[dict[str, Any], Callable[[], object]]:
    number = add_generator(stock.services, stock.products[DEMO], Recipe("uuid"), active=False)
    switched_on = update(Generator).where(Generator.id == number).values(status=1)
    return {**FIELDS, "generator_id": number}, lambda: execute(stock.storage, switched_on)


def used_up_generator(stock: Stock) -> tuple[dict[str, Any], Callable[[], object]]:
    recipe = Recipe("chunk-system", uuid4().hex, "", "", 1, 1, "01")
    number = add_weak_generator(stock.services, stock.products[DEMO], recipe)
    longer = update(Generator).where(Generator.id == number).values(chunk_length=8)
    return {**FIELDS, "generator_id": number}, lambda: execute(stock.storage, longer)


def closed_product(stock: Stock) -> tuple[dict[str, Any], Callable[[], object]]:
    number = add_generator(stock.services, stock.products[CLOSED], Recipe("uuid"))
    stock.change_product(CLOSED, status="inactive")
    return {**FIELDS, "generator_id": number}, lambda: stock.change_product(CLOSED, status="active")


def nothing_in_stock(stock: Stock) -> tuple[dict[str, Any], Callable[[], object]]:
    product_id = stock.products[STRICT]
    others = update(LicenseKey).where(LicenseKey.product_id == product_id, LicenseKey.status == "available")
    execute(stock.storage, others.values(status="reserved"))
    fields = {"product_id": product_id, "owner_email": "a@example.com", "quantity": 1}
    return fields, lambda: stock.license_key(STRICT, status="available", assigned_at=None)


def not_registered(stock: Stock) -> tuple[dict[str, Any], Callable[[], object]]:
    key = f"K-{uuid4()}"
    fields = {"license_key": key, "identifier": "pc", "validity": 3}
    return fields, lambda: stock.license_key(license_key=key)


UNASSIGNED = {"status": "available", "assigned_at": None}
ASSIGNED = {"status": "assigned", "assigned_at": utc_now()}
LONG_AGO = {"assigned_at": utc_now() - timedelta(days=30), "validity": 3}
LONG_OVER = datetime(2020, 2, 29, 12, tzinfo=UTC)
REFUSED = [
    of_api_key("inactive API key", 101, "active", status="inactive"),
    of_api_key("expired API key", 101, None, expires_at=LONG_OVER),
    of_api_key("ability missing", 102, ["*"], abilities=["get-all-generators"]),
    of_api_key("wrong address", 103, [], allowed_networks=["192.0.2.1/32"]),
    Refused("blocked identifier", "activate", 150, 300, blocked_identifier),
    Refused("inactive generator", "generate", 806, 815, inactive_generator),
    Refused("used up", "generate", 902, 815, used_up_generator),
    Refused("closed product", "generate", 805, 815, closed_product, CLOSED),
    Refused("nothing in stock", "random-assign-license-keys", 802, 803, nothing_in_stock),
    *(
        Refused("not registered", endpoint, code, then, not_registered)
        for endpoint, code, then in (
            *(("activate", 210, 300), ("deactivate", 210, 401), ("update-license-key", 952, 950)),
            ("delete-license-key", 851, 850),
        )
    ),
    of_license("not assigned", "activate", 201, 300, columns=UNASSIGNED, good=ASSIGNED),
    of_license("blocked", "activate", 204, 300, columns={"status": "blocked"}, good=ASSIGNED),
    of_license("expired", "activate", 205, 300, product=STRICT, columns=LONG_AGO, good={"validity": 0}),
    of_license(
        "at the limit",
        "activate",
        302,
        300,
        active=["x"],
        columns={"activation_limit": 1},
        good={"activation_limit": 2},
    ),
    of_license("already assigned", "assign-license-key", 801, 800, columns=ASSIGNED, good=UNASSIGNED),
    of_license("already assigned", "assign-and-activate-license-key", 801, 300, columns=ASSIGNED, good=UNASSIGNED),
    of_license("blocked", "assign-and-activate-license-key", 204, 300, columns={"status": "blocked"}, good=UNASSIGNED),
    of_other_call("somebody leaves", "activate", 302, 300, "deactivate", ["other"]),
    of_other_call("already active", "activate", 301, 300, "deactivate", ["pc"]),
    of_other_call("not active", "deactivate", 401, "400", "activate", []),
    of_meta("create-license-key-meta", 452, 453, "delete-license-key-meta"),
    of_meta("update-license-key-meta", 352, 353, "create-license-key-meta"),
    of_meta("delete-license-key-meta", 251, 252, "create-license-key-meta"),
]


@pytest.mark.parametrize("refused", REFUSED, ids=lambda each: f"{each.name} {each.endpoint} {each.code}")
def test_a_refusal_leaves_no_record_and_the_same_key_works_later(stock: Stock, refused: Refused) -> None:
    fields, mend = refused.prepare(stock)
    ask = Client(stock, refused.endpoint, fields, product=refused.product)
    before = records(stock.storage)
    for _ in range(2):
        answer = ask()
        is_new(answer)
        assert answer.code == refused.code
    assert records(stock.storage) == before
    mend()
    first = ask()
    is_new(first)
    assert first.code == refused.then
    recorded = refused.then in (300, "400", 815, 803, 800, 850, 950, 252, 353, 453)
    assert records(stock.storage) == before + recorded
    if recorded:
        is_replay(ask(), first)


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"quantity": 0}, 901), ({"quantity": "abc"}, 901), ({"generator_id": 10**9}, 806), ({"api_key": "wrong"}, 100)],
    ids=str,
)
def test_a_mistake_can_be_mended_under_the_same_key(stock: Stock, fields: dict[str, Any], code: int) -> None:
    ask = Client(stock, "generate", FIELDS)
    before = records(stock.storage)
    assert ask(**fields).code == code
    assert records(stock.storage) == before
    first = ask()
    is_new(first)
    assert first.code == 815
    is_replay(ask(), first)


def test_a_body_that_cannot_be_read_leaves_no_record(stock: Stock) -> None:
    desk, headers = stock.desks[DEMO], {"Idempotency-Key": uuid4().hex}
    before = records(stock.storage)
    assert desk.raw("generate", "{", headers=headers).code == 1703
    assert desk.raw("generate", "{}", headers={**headers, "Content-Type": "text/plain"}).code == 1704
    assert records(stock.storage) == before
    assert desk.ask("generate", FIELDS, headers=headers).code == 815


def test_while_the_database_is_away_nothing_is_replayed_and_nothing_is_lost(
    api: Api, services: Services, installation: Installation, request: pytest.FixtureRequest
) -> None:
    def ask(key: str) -> Answer:
        return api.post(GENERATE, {"api_key": SAMPLE_KEY, **FIELDS}, headers={"Idempotency-Key": key})

    first = ask("before")
    with away(services, installation, request):
        unavailable(ask("before"))
        unavailable(ask("meanwhile"))
    is_replay(ask("before"), first)
    second = ask("meanwhile")
    is_new(second)
    is_replay(ask("meanwhile"), second)
    assert (counts(services.storage).batches, records(services.storage)) == (2, 2)


# --- what happens in between ---


def test_a_replay_is_given_whatever_has_become_of_what_it_was_about(stock: Stock) -> None:
    generator = add_generator(stock.services, stock.products[STRICT], Recipe("uuid"))
    generating = Client(stock, "generate", {**FIELDS, "generator_id": generator}, product=STRICT)
    first = generating()
    assert first.code == 815
    activating = Client(stock, "activate", {"license_key": stock.license_key(), "identifier": "pc"})
    activated = activating()
    assert activated.code == 300
    for gone in (
        update(Generator).where(Generator.id == generator).values(status=0),
        update(Generator).where(Generator.id == generator).values(product_id=stock.products[CLOSED]),
        update(LicenseKey).values(status="blocked", block_reason="revoked").where(LicenseKey.generator_id == generator),
        update(LicenseKey)
        .values(deleted_at=utc_now())
        .where(LicenseKey.license_key == activating.fields["license_key"]),
    ):
        execute(stock.storage, gone)
        is_replay(generating(), first)
        is_replay(activating(), activated)
    assert Client(stock, "generate", generating.fields)().code in (805, 806)
    stock.change_product(STRICT, status="inactive")
    is_replay(generating(), first)
    stock.change_product(STRICT, status="active")


@pytest.fixture
def _trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each request came less than a second after the one before, however slow this machine is."""
    monkeypatch.setattr(configuration, "LONGEST_TRUST_S", 1e9)


@pytest.mark.usefixtures("_trusting")
@pytest.mark.parametrize("endpoint", ["generate", "activate"])
@pytest.mark.parametrize(
    ("code", "change"),
    [
        (101, {"status": "inactive"}),
        (101, {"expires_at": LONG_OVER}),
        (102, {"abilities": ["verify"]}),
        (103, {"allowed_networks": ["192.0.2.1/32"]}),
    ],
    ids=str,
)
def test_who_may_not_ask_any_more_gets_no_replay(
    stock: Stock, endpoint: str, code: int, change: dict[str, Any]
) -> None:
    """Also where another process took it away a moment ago."""
    api_key = add_api_key(stock.services)
    fields = FIELDS if endpoint == "generate" else {"license_key": stock.license_key(), "identifier": "pc"}
    ask = Client(stock, endpoint, fields, api_key)
    first = ask()
    is_replay(ask(), first)
    with Storage.open(stock.services.settings) as elsewhere:
        digest = key_format.digest(stock.services.pepper, api_key)
        execute(elsewhere, update(ApiKey).where(ApiKey.digest == digest).values(**change))
    refusal = ask()
    is_new(refusal)
    assert refusal.code == code
    assert "licenseKeys" not in refusal.payload
    other = ask(more="another request")
    assert other.code == code, "nor is it told that the key has been used"


@pytest.mark.usefixtures("_trusting")
def test_an_identifier_that_was_blocked_meanwhile_gets_no_replay(stock: Stock) -> None:
    name = f"{uuid4()}.example"
    ask = Client(stock, "activate", {"license_key": stock.license_key(), "identifier": name})
    assert ask().code == 300

    def block(session: Session) -> None:
        manage.block(session, "identifier", name, reason="", expires_at=None, now=utc_now())

    with Storage.open(stock.services.settings) as elsewhere:
        elsewhere.write(block)
    assert ask().code == 150


# --- twins ---


def keyed(stock: Stock, endpoint: str, key: str) -> Keyed:
    """The request that a test holds, as the server would have it."""
    digest = key_format.digest(stock.services.pepper, stock.desks[DEMO].api_key)
    row = stock.storage.read(lambda session: access.find_api_key(session, digest))
    assert row is not None
    return Keyed(rules.scope_of(row.id, endpoint, key), row.id, endpoint, bytes(32), "0" * 32)


@contextmanager
def in_flight(stock: Stock, *twins: Keyed) -> Iterator[Session]:
    """Somebody carries out twins of requests, and takes his time. Nobody waits long for that."""
    engine = stock.services.storage.engine

    def hurry(connection: Any, _record: object) -> None:
        connection.execute("SET lock_timeout = '300ms'")
        connection.commit()

    event.listen(engine, "connect", hurry)
    engine.dispose()
    with engine.connect() as connection, Session(connection) as session:
        for twin in twins:
            store.claim(session, twin)
        yield session
    event.remove(engine, "connect", hurry)
    engine.dispose()


only_postgresql = pytest.mark.parametrize("world", ["postgresql"], indirect=True, scope="session")


def at_once(calls: list[Callable[[], Answer]]) -> list[Answer]:
    """Make calls from threads that begin together."""
    ready = Barrier(len(calls))

    def one(call: Callable[[], Answer]) -> Answer:
        ready.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(one, calls))


@only_postgresql
def test_a_twin_that_takes_too_long_is_not_waited_for(stock: Stock) -> None:
    ask = Client(stock, "activate", {"license_key": stock.license_key(), "identifier": "pc"})
    with in_flight(stock, keyed(stock, "activate", ask.idempotency_key)):
        is_in_flight(ask())
        other = Client(stock, "activate", {**ask.fields, "identifier": "other pc"})()
        assert other.code == 300, "others are not held up"
    # It came to nothing.
    first = ask()
    is_new(first)
    assert first.code == 300
    is_replay(ask(), first)


@only_postgresql
def test_a_twin_is_waited_for_and_its_answer_given(stock: Stock) -> None:
    """Here its answer is another one's: whoever holds the key decides."""
    finished = Client(stock, "activate", {"license_key": stock.license_key(), "identifier": "pc"})
    answer = finished()
    ask = Client(stock, "activate", finished.fields)
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    twin = keyed(stock, "activate", ask.idempotency_key)
    signed = {"code": 300, "signing_key_id": 2, "body": answer.http.content}
    fingerprint = rules.fingerprint_of(ask.fields)
    with stock.storage.engine.connect() as connection, Session(connection) as session, ThreadPoolExecutor(1) as threads:
        store.claim(session, twin)
        told = threads.submit(ask)
        while not stock.storage.read(lambda session: session.scalar(waiting)):
            assert not told.done()
        mine = update(IdempotencyRecord).where(IdempotencyRecord.scope == twin.scope)
        session.execute(mine.values(fingerprint=fingerprint, **signed))
        session.commit()
        is_replay(told.result(), answer)


@only_postgresql
def test_who_generates_is_not_lost_with_a_neighbour_that_is_held_up(stock: Stock) -> None:
    held = Client(stock, "generate", FIELDS)
    neighbours = [Client(stock, "generate", FIELDS) for _ in range(6)]
    unkeyed = [lambda: stock.desks[DEMO].ask("generate", FIELDS) for _ in range(6)]
    before = counts(stock.storage).batches
    with in_flight(stock, keyed(stock, "generate", held.idempotency_key)):
        answer, *answers = at_once([held, *neighbours, *unkeyed])
        assert [each.code for each in answers] == [815] * 12
        # A group cannot tell who is in its way.
        assert (answer.code, answer.status) == (1705, 503)
        assert int(answer.http.headers["retry-after"]) > 0
    assert counts(stock.storage).batches == before + 12
    for neighbour, first in zip(neighbours, answers, strict=False):
        is_replay(neighbour(), first)
    first = held()
    is_new(first)
    is_replay(held(), first)


@pytest.mark.parametrize(
    ("endpoint", "number", "others"),
    [
        ("generate", 24, 0),
        ("generate", 16, 8),
        ("activate", 16, 8),
        # A token makes the keys of all five, one after the other, and some of them have to ask again.
        pytest.param("create-product", 5, 0, marks=IN_THIS_PROCESS),
    ],
)
def test_twins_at_once_are_carried_out_once(stock: Stock, endpoint: str, number: int, others: int) -> None:
    """In one process; in several see tests/e2e/test_twins.py."""
    fields: dict[str, Any] = {
        "generate": FIELDS,
        "activate": {"license_key": stock.license_key(), "identifier": "pc"},
        "create-product": {"name": f"Twin {uuid4()}"},
    }[endpoint]
    ask = Client(stock, endpoint, fields)
    before = counts(stock.storage).batches
    answers = at_once([ask] * number + [lambda: ask(more="1")] * others)
    twins = [answer for answer in answers if answer.status == 200]
    assert len(twins) in (number, others)
    assert len({answer.http.content for answer in twins}) == 1
    assert sum("idempotent-replayed" not in answer.http.headers for answer in twins) == 1
    for answer in answers:
        assert answer.status == 200 or (answer.status, answer.code) == (409, 901)
    assert counts(stock.storage).batches == before + (endpoint == "generate")


def capped_generator(stock: Stock, cap: int) -> int:
    number = add_generator(stock.services, stock.products[DEMO], Recipe("uuid"))
    execute(stock.storage, insert(GeneratorCap).values(generator_id=number, cap=cap, issued=0))
    return number


def tiny_generator(stock: Stock, keys: int) -> int:
    """It can make so many different license keys, a power of two."""
    recipe = Recipe("chunk-system", uuid4().hex, "", "", 1, keys.bit_length() - 1, "01")
    return add_weak_generator(stock.services, stock.products[DEMO], recipe)


@pytest.mark.parametrize("make", [capped_generator, tiny_generator])
def test_who_gets_the_last_license_keys_does_not_leave_his_twins_without_an_answer(
    stock: Stock, make: Callable[[Stock, int], int]
) -> None:
    """To each of them it looks as if somebody else had taken them."""
    ask = Client(stock, "generate", {"generator_id": make(stock, 8), "quantity": 8})
    before = counts(stock.storage).batches
    answers = at_once([ask] * 24)
    assert {answer.code for answer in answers} == {815}
    assert len({answer.http.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.http.headers for answer in answers) == 1
    assert counts(stock.storage).batches == before + 1
    other = Client(stock, "generate", ask.fields)()
    is_new(other)
    assert other.code == 902
    another = ask(quantity=1)
    assert (another.code, another.status) == (901, 409)


@pytest.mark.parametrize("make", [capped_generator, tiny_generator])
def test_of_two_requests_under_one_key_that_both_want_the_last_license_keys_one_is_carried_out(
    stock: Stock, make: Callable[[Stock, int], int]
) -> None:
    ask = Client(stock, "generate", {"generator_id": make(stock, 8), "quantity": 8})
    answers = at_once([ask] * 8 + [lambda: ask(more="1")] * 8)
    assert Counter(answer.status for answer in answers) == {200: 8, 409: 8}
    assert {answer.code for answer in answers} == {815, 901}


# --- large orders ---


@pytest.fixture(scope="module")
def large(stock: Stock) -> Iterator[Stock]:
    with another_server(stock, max_quantity=2000, max_body_bytes=1_000_000) as other:
        yield other


LARGE: dict[str, Any] = {"generator_id": 1, "quantity": 1001}


def staged(stock: Stock) -> int:
    return stock.storage.read(lambda session: len(session.scalars(select(StagedBatch)).all()))


def test_a_large_order_is_carried_out_once(large: Stock) -> None:
    ask = Client(large, "generate", LARGE)
    before = counts(large.storage)
    first = ask()
    is_new(first)
    assert len(first.payload["licenseKeys"]) == 1001
    is_replay(ask(), first)
    other = ask(quantity=1002)
    assert (other.code, other.status) == (901, 409)
    small = ask(quantity=1)
    assert (small.code, small.status) == (901, 409)
    assert counts(large.storage).license_keys == before.license_keys + 1001
    assert (counts(large.storage).batches, staged(large)) == (before.batches + 1, 0)


def test_a_server_that_takes_smaller_orders_only_has_the_answer_to_a_large_one(stock: Stock, large: Stock) -> None:
    ask = Client(large, "generate", LARGE)
    first = ask()
    is_replay(Client(stock, "generate", LARGE, idempotency_key=ask.idempotency_key)(), first)
    assert Client(stock, "generate", LARGE)().code == 901


def test_twins_of_a_large_order_are_carried_out_once(stock: Stock, large: Stock) -> None:
    """In two processes both may work at it; one of them throws away what it has."""
    with another_server(stock, max_quantity=2000, max_body_bytes=1_000_000) as second:
        here = Client(large, "generate", LARGE)
        there = Client(second, "generate", LARGE, idempotency_key=here.idempotency_key)
        before = counts(large.storage)
        answers = at_once([here, there, here, there, lambda: there(quantity=1002)])
    done = [answer for answer in answers if answer.status == 200]
    assert len({answer.http.content for answer in done}) == 1
    assert sum("idempotent-replayed" not in answer.http.headers for answer in done) == 1
    (quantity,) = {len(answer.payload["licenseKeys"]) for answer in done}
    assert {answer.status for answer in answers} == {200, 409}
    assert counts(large.storage).license_keys == before.license_keys + quantity
    assert (counts(large.storage).batches, staged(large)) == (before.batches + 1, 0)


@only_postgresql
def test_a_large_order_whose_twin_takes_too_long_leaves_nothing(large: Stock) -> None:
    ask = Client(large, "generate", LARGE)
    before = counts(large.storage)
    with in_flight(large, keyed(large, "generate", ask.idempotency_key)):
        is_in_flight(ask())
    assert (counts(large.storage), staged(large)) == (before, 0)
    first = ask()
    is_new(first)
    is_replay(ask(), first)


# --- the record itself ---


def test_what_is_recorded_is_what_was_sent_and_no_key(stock: Stock) -> None:
    ask = Client(stock, "generate", FIELDS)
    first = ask()
    twin = keyed(stock, "generate", ask.idempotency_key)
    row = stock.storage.read(lambda session: session.get(IdempotencyRecord, twin.scope))
    assert row is not None
    assert row.body == first.http.content
    assert (row.endpoint, row.code, row.api_key_id) == ("generate", 815, twin.api_key_id)
    assert row.request_id == first.http.headers["x-request-id"]
    assert row.fingerprint == rules.fingerprint_of(FIELDS)
    assert ask.idempotency_key not in repr(vars(row))


def test_a_request_whose_client_has_left_is_carried_out_and_recorded(stock: Stock) -> None:
    """The client did not wait for the answer. It gets it when it asks again."""
    ask = Client(stock, "generate", FIELDS)
    before = records(stock.storage), counts(stock.storage).batches
    body = urlencode({"api_key": stock.desks[DEMO].api_key, **FIELDS}).encode()
    with connected(stock.desks[DEMO].api.base_url) as connection:
        connection.sendall(
            b"POST /v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Idempotency-Key: %b\r\nContent-Length: %d\r\n\r\n%b" % (ask.idempotency_key.encode(), len(body), body)
        )
    while records(stock.storage) == before[0]:
        sleep(0.01)
    answer = ask()
    assert answer.code == 815
    assert answer.http.headers["idempotent-replayed"] == "true"
    assert (records(stock.storage), counts(stock.storage).batches) == (before[0] + 1, before[1] + 1)
