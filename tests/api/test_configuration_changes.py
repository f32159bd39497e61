"""What another process changes holds from the next request on, and for the requests under way (decision 0007)."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from threading import Event
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import select
from tests.conftest import SAMPLE_KEY
from tests.support.api import Answer, Api
from tests.support.world import add_api_key, add_generator, add_product, add_weak_generator, counts, nothing_stored

from hanaper.access import key_format, manage
from hanaper.access import store as access
from hanaper.access.authenticate import authenticate
from hanaper.access.models import ApiKey, BlockedEntry
from hanaper.clock import utc_now
from hanaper.issuing import batch_store, generators
from hanaper.issuing.formats import Recipe
from hanaper.issuing.models import Batch, Generator
from hanaper.keystore import store as keys
from hanaper.keystore.models import SigningKey
from hanaper.licenses.models import Activation, LicenseKey, LicenseKeyMeta
from hanaper.products.models import Product, ProductMeta
from hanaper.protocol.codes import Code
from hanaper.signing.key_pair import KeyPair
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web import endpoint
from hanaper.web.services import Services

GENERATE = "/api/v1/generate"
FIELDS = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 3}

Change = Callable[[Session], None]
pytestmark = pytest.mark.usefixtures("trusting")


# --- changes ---


def of_key(session: Session, services: Services) -> ApiKey:
    row = access.find_api_key(session, key_format.digest(services.pepper, SAMPLE_KEY))
    assert row is not None
    return row


def of_product(session: Session) -> Product:
    row = session.get(Product, 1)
    assert row is not None
    return row


@dataclass(frozen=True)
class Case:
    """A change, what takes it back, and how generate is refused in between."""

    name: str
    code: int
    change: Callable[[Session, Services], None]
    back: Callable[[Session, Services], None]


def key_case(name: str, code: int, **columns: Any) -> Case:
    good = {"status": "active", "expires_at": None, "abilities": ["*"], "allowed_networks": [], "product_ids": [1]}

    def put(values: dict[str, Any], session: Session, services: Services) -> None:
        for column, value in values.items():
            setattr(of_key(session, services), column, value)

    return Case(name, code, partial(put, columns), partial(put, {column: good[column] for column in columns}))


def product_case(name: str, column: str, bad: object, good: object) -> Case:
    def put(value: object, session: Session, _: Services) -> None:
        setattr(of_product(session), column, value)

    return Case(name, 805, partial(put, bad), partial(put, good))


def block_case(kind: str, value: str) -> Case:
    def change(session: Session, _: Services) -> None:
        manage.block(session, kind, value, reason="", expires_at=None, now=utc_now())  # type: ignore[arg-type]

    def back(session: Session, _: Services) -> None:
        session.delete(session.scalars(select(BlockedEntry)).one())

    return Case(f"{kind} blocked", 150, change, back)


def switch(session: Session, _: Services, *, active: bool) -> None:
    generators.switch(session, 1, scope=EVERYTHING, active=active, now=utc_now())


def move_away(session: Session, _: Services) -> None:
    """The generator goes to a product the key does not reach."""
    other = session.scalars(select(Product).where(Product.slug == "other")).one_or_none()
    if other is None:
        other = Product(uuid="other", slug="other", name="Other", created_at=utc_now(), updated_at=utc_now())
        session.add(other)
        session.flush()
    generator = session.get(Generator, 1)
    assert generator is not None
    generator.product_id = other.id


def move_back(session: Session, _: Services) -> None:
    generator = session.get(Generator, 1)
    assert generator is not None
    generator.product_id = 1


CASES = [
    key_case("key revoked", 101, status="inactive"),
    key_case("key expired", 101, expires_at=utc_now() - timedelta(seconds=1)),
    key_case("key without the ability", 102, abilities=["get-all-generators"]),
    key_case("key for another address", 103, allowed_networks=["192.0.2.0/24"]),
    key_case("key for another product", 806, product_ids=[99]),
    Case("generator off", 806, partial(switch, active=False), partial(switch, active=True)),
    Case("generator of another product", 806, move_away, move_back),
    product_case("product closed", "status", "inactive", "active"),
    product_case("product deleted", "deleted_at", utc_now(), None),
    block_case("address", "127.0.0.1"),
    block_case("identifier", "shop.example"),
]
REVOKED, OFF, CLOSED, BLOCKED = CASES[0], CASES[5], CASES[7], CASES[9]


def ask(api: Api) -> Answer:
    return api.post(GENERATE, {**FIELDS, "domain": "shop.example"})


def issued(api: Api) -> Answer:
    answer = ask(api)
    assert answer.code == 815, answer.payload
    assert len(answer.payload["licenseKeys"]) == 3
    return answer


@contextmanager
def expecting(api: Api, product_pem: str) -> Iterator[Api]:
    """A client that accepts no other key of the product."""
    client = api.for_product(product_pem)
    with client.http:
        yield client


# --- between two requests ---


def test_what_another_process_changes_holds_for_the_next_request(
    api: Api, services: Services, elsewhere: Storage
) -> None:
    """And what it mends works at once."""
    for case in CASES * 2:
        issued(api)
        elsewhere.write(lambda session, case=case: case.change(session, services))  # type: ignore[misc]
        with nothing_stored(services.storage):
            assert [ask(api).code, ask(api).code] == [case.code] * 2, case.name
        elsewhere.write(lambda session, case=case: case.back(session, services))  # type: ignore[misc]
    issued(api)


@pytest.mark.parametrize("case", [REVOKED, OFF, CLOSED, BLOCKED], ids=lambda case: case.name)
def test_what_is_mended_works_at_once_also_where_the_process_has_never_seen_it_in_order(
    api: Api, services: Services, elsewhere: Storage, case: Case
) -> None:
    elsewhere.write(lambda session: case.change(session, services))
    assert ask(api).code == case.code
    elsewhere.write(lambda session: case.back(session, services))
    issued(api)


def test_the_other_endpoints_see_it_as_well(api: Api, services: Services, elsewhere: Storage) -> None:
    def codes() -> list[int | str]:
        query = {"api_key": SAMPLE_KEY, "product_id": 1}
        return [api.get(f"/api/v1/{name}", query).code for name in ("get-all-generators", "get-product-public-key")]

    for case in (REVOKED, BLOCKED):
        issued(api)
        assert codes() == [820, 632]
        elsewhere.write(lambda session, case=case: case.change(session, services))  # type: ignore[misc]
        assert codes() == [case.code] * 2
        elsewhere.write(lambda session, case=case: case.back(session, services))  # type: ignore[misc]
    assert codes() == [820, 632]


def test_a_key_and_a_generator_that_are_new_work_at_once(api: Api, services: Services, elsewhere: Storage) -> None:
    issued(api)

    def add(session: Session) -> tuple[str, int]:
        _, key = manage.create(session, "live", manage.Terms("New"), pepper=services.pepper, now=utc_now())
        new = generators.NewGenerator(1, Recipe("uuid", prefix="NEW-"))
        return key, generators.create(session, new, scope=EVERYTHING, now=utc_now())[0].id

    unknown = key_format.new("live")
    assert api.post(GENERATE, {**FIELDS, "api_key": unknown}).code == 100
    assert api.post(GENERATE, {**FIELDS, "generator_id": 2}).code == 806
    key, generator = elsewhere.write(add)
    assert generator == 2
    answer = api.post(GENERATE, {**FIELDS, "api_key": key, "generator_id": 2})
    assert answer.code == 815
    assert all(license_key.startswith("NEW-") for license_key in answer.payload["licenseKeys"])


def test_terms_that_another_process_edits_hold_for_the_next_request(
    api: Api, services: Services, elsewhere: Storage
) -> None:
    def edit(session: Session) -> None:
        row = session.get(Generator, 1)
        assert row is not None
        row.activation_limit, row.validity, row.prefix = 7, 77, "EDITED-"

    first = issued(api).payload["licenseKeys"]
    elsewhere.write(edit)
    second = issued(api).payload["licenseKeys"]
    stored = terms_of(services.storage)
    assert [stored[key] for key in first] == [(0, 0)] * 3
    assert [stored[key] for key in second] == [(7, 77)] * 3
    assert all(key.startswith("EDITED-") for key in second)


def terms_of(storage: Storage) -> dict[str, tuple[int, int]]:
    columns = select(LicenseKey.license_key, LicenseKey.activation_limit, LicenseKey.validity)
    return storage.read(lambda session: {key: (limit, days) for key, limit, days in session.execute(columns)})


# --- another signing key ---


def rotate(session: Session, services: Services, pair: KeyPair, product_id: int | None = 1) -> int:
    """Another key signs for the product, from the commit on."""
    old_id = keys.active_id(session, product_id, scope=EVERYTHING)
    assert old_id is not None
    old = session.get(SigningKey, old_id)
    assert old is not None
    old.state, old.retired_at = "verify_only", utc_now()
    session.flush()
    return services.keystore.add(session, pair, product_id=product_id, now=utc_now()).id


@pytest.fixture(scope="module")
def pairs() -> list[KeyPair]:
    return [KeyPair.generate(2048) for _ in range(2)]


def signing_key_of(storage: Storage, answer: Answer) -> SigningKey:
    """The key that the record of an answer names."""

    def find(session: Session) -> SigningKey:
        request_id = answer.http.headers["x-request-id"]
        batch = session.scalars(select(Batch).where(Batch.request_id == request_id)).one()
        assert base64.b64encode(batch.signature).decode() == answer.http.json()["signature"]
        key = session.get(SigningKey, batch.signing_key_id)
        assert key is not None
        return key

    return storage.read(find)


def signed_by(storage: Storage, answer: Answer, pair: KeyPair) -> None:
    """By this key and by no other, as the header and the record say; the client has checked the signature itself."""
    assert answer.signed_by == "product"
    assert answer.http.headers["x-signing-key-id"] == pair.kid
    key = signing_key_of(storage, answer)
    assert (key.kid, key.state, key.product_id) == (pair.kid, "active", 1)


def test_another_signing_key_signs_the_next_answer(
    api: Api, services: Services, elsewhere: Storage, pairs: list[KeyPair]
) -> None:
    old_kid = issued(api).http.headers["x-signing-key-id"]
    for pair in pairs[:2]:
        elsewhere.write(lambda session, pair=pair: rotate(session, services, pair))  # type: ignore[misc]
        with expecting(api, pair.public_pem) as client:
            answer = issued(client)
        signed_by(services.storage, answer, pair)
        assert answer.http.headers["x-signing-key-id"] != old_kid
        with pytest.raises(AssertionError, match="the signature does not verify"):
            issued(api)


def test_a_refusal_in_the_products_name_is_signed_by_its_new_key_as_well(
    api: Api, services: Services, elsewhere: Storage, pairs: list[KeyPair]
) -> None:
    used_up = add_weak_generator(services, 1, Recipe("chunk-system", "U", "", "", 1, 1, "01"))
    fields = {**FIELDS, "generator_id": used_up}
    assert api.post(GENERATE, fields).code == 902
    elsewhere.write(lambda session: rotate(session, services, pairs[0]))
    with expecting(api, pairs[0].public_pem) as client:
        answer = client.post(GENERATE, fields)
    assert (answer.code, answer.signed_by) == (902, "product")
    assert answer.http.headers["x-signing-key-id"] == pairs[0].kid


def test_the_public_key_that_is_published_is_the_one_that_signs(
    api: Api, services: Services, elsewhere: Storage, pairs: list[KeyPair]
) -> None:
    issued(api)
    elsewhere.write(lambda session: rotate(session, services, pairs[0]))
    published = api.get("/api/v1/get-product-public-key", {"api_key": SAMPLE_KEY, "product_id": 1})
    assert published.payload["public_key"] == pairs[0].public_pem
    with expecting(api, published.payload["public_key"]) as client:
        issued(client)


# --- in the middle of a request ---


class Moment:
    """Something that happens once, or so many times, in the middle of a request."""

    def __init__(self, happen: Callable[[], object], times: int = 1) -> None:
        self.left = times
        self.times = 0
        self._happen = happen

    def __call__(self) -> None:
        self.times += 1
        if self.left:
            self.left -= 1
            self._happen()


def when_keys_are_drawn(monkeypatch: pytest.MonkeyPatch, services: Services, moment: Moment) -> None:
    """After the plan, before the signature: as soon as the answer with the keys is to be signed."""
    sign = services.signing.answer_meanwhile

    async def answer(code: Code, *arguments: Any, **more: Any) -> object:
        if code.number == 815:
            moment()
        return await sign(code, *arguments, **more)

    monkeypatch.setattr(services.signing, "answer_meanwhile", answer)


def when_the_answer_is_signed(monkeypatch: pytest.MonkeyPatch, services: Services, moment: Moment) -> None:
    """After the signature, before the commit."""
    del services
    keep = batch_store.keep

    async def kept(storage: Storage, batch: batch_store.NewBatch) -> object:
        moment()
        return await keep(storage, batch)

    monkeypatch.setattr(batch_store, "keep", kept)


def when_the_caller_is_known(monkeypatch: pytest.MonkeyPatch, services: Services, moment: Moment) -> None:
    """After authentication, before the plan."""
    del services

    async def authenticated(*arguments: Any, **more: Any) -> object:
        caller = await authenticate(*arguments, **more)
        moment()
        return caller

    monkeypatch.setattr(endpoint, "authenticate", authenticated)


Plant = Callable[[pytest.MonkeyPatch, Services, Moment], None]
MOMENTS: list[Plant] = [when_the_caller_is_known, when_keys_are_drawn, when_the_answer_is_signed]
each_moment = pytest.mark.parametrize("plant", MOMENTS, ids=lambda plant: plant.__name__)


def test_a_change_in_the_middle_of_a_request_holds_for_it(
    api: Api, services: Services, elsewhere: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is stored on the old terms; the answer follows the new ones."""
    for case in (REVOKED, OFF, CLOSED, BLOCKED):
        for plant in MOMENTS:
            issued(api)
            moment = Moment(lambda case=case: elsewhere.write(lambda session: case.change(session, services)))  # type: ignore[misc]
            with monkeypatch.context() as planted, nothing_stored(services.storage):
                plant(planted, services, moment)
                assert ask(api).code == case.code, (case.name, plant)
            assert moment.left == 0
            elsewhere.write(lambda session, case=case: case.back(session, services))  # type: ignore[misc]
    issued(api)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("random-assign-license-keys", {"product_id": 1, "owner_email": "a@b.c", "quantity": 2, "generate": 1}),
        ("create-license-keys", {"product_id": 1, "license_keys": '["k"]', "status": "available"}),
        ("assign-license-key", {}),
        ("assign-and-activate-license-key", {"identifier": "i", "owner_email": "a@b.c"}),
        ("activate", {"identifier": "i"}),
        ("deactivate", {"identifier": "i"}),
        ("update-license-key", {"status": "revoked"}),
        ("delete-license-key", {}),
        ("create-license-key-meta", {"key": "k", "value": "v"}),
        ("create-product-meta", {"product_id": 1, "key": "k", "value": "v"}),
    ],
)
def test_a_key_that_is_revoked_in_the_middle_of_a_request_changes_no_license_key(
    api: Api,
    services: Services,
    elsewhere: Storage,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fields: dict[str, object],
) -> None:
    license_key = issued(api).payload["licenseKeys"][0]
    before = everything(services.storage)
    moment = Moment(lambda: elsewhere.write(lambda session: REVOKED.change(session, services)))
    with monkeypatch.context() as planted:
        when_the_caller_is_known(planted, services, moment)
        terms = {"activation_limit": 1, "validity": 0}
        answer = api.post(f"/api/v1/{name}", {"api_key": SAMPLE_KEY, "license_key": license_key, **terms, **fields})
    assert (answer.code, moment.left) == (101, 0)
    assert everything(services.storage) == before


def everything(storage: Storage) -> list[list[tuple[object, ...]]]:
    """All that license keys and products have."""
    tables = (LicenseKey, Activation, LicenseKeyMeta, ProductMeta)
    return storage.read(
        lambda session: [[tuple(row) for row in session.execute(select(table.__table__))] for table in tables]
    )


@each_moment
def test_it_holds_for_the_first_request_of_a_process_as_well(
    api: Api, services: Services, elsewhere: Storage, monkeypatch: pytest.MonkeyPatch, plant: Plant
) -> None:
    """Which is still reading what the others remember."""
    plant(monkeypatch, services, Moment(lambda: elsewhere.write(lambda session: REVOKED.change(session, services))))
    assert ask(api).code == 101
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (0, 0)


@each_moment
def test_a_signing_key_that_is_replaced_in_the_middle_of_a_request_does_not_sign_once_more(
    api: Api,
    services: Services,
    elsewhere: Storage,
    monkeypatch: pytest.MonkeyPatch,
    pairs: list[KeyPair],
    plant: Plant,
) -> None:
    for number, pair in enumerate(pairs[:2], 1):  # The first request of this process, and one when all is remembered.
        moment = Moment(lambda pair=pair: elsewhere.write(lambda session: rotate(session, services, pair)))  # type: ignore[misc]
        with monkeypatch.context() as planted, expecting(api, pair.public_pem) as client:
            plant(planted, services, moment)
            answer = issued(client)
            signed_by(services.storage, issued(client), pair)
        assert moment.left == 0
        signed_by(services.storage, answer, pair)
        assert (counts(services.storage).license_keys, counts(services.storage).batches) == (6 * number, 2 * number)


def test_new_terms_in_the_middle_of_a_request_are_its_terms(
    api: Api, services: Services, elsewhere: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued(api)
    for number, plant in enumerate(MOMENTS, 1):

        def edit(session: Session, number: int = number) -> None:
            row = session.get(Generator, 1)
            assert row is not None
            row.activation_limit, row.validity = number, number * 10

        with monkeypatch.context() as planted:
            plant(planted, services, Moment(lambda edit=edit: elsewhere.write(edit)))  # type: ignore[misc]
            keys_made = issued(api).payload["licenseKeys"]
        stored = terms_of(services.storage)
        assert [stored[key] for key in keys_made] == [(number, number * 10)] * 3
        assert len(stored) == 3 + 3 * number


def test_a_change_that_has_nothing_to_do_with_a_request_costs_it_a_second_attempt_and_nothing_else(
    api: Api, services: Services, elsewhere: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, plant in enumerate(MOMENTS, 1):
        issued(api)

        def unrelated(session: Session, number: int = number) -> None:
            manage.block(session, "address", f"192.0.2.{number}", reason="", expires_at=None, now=utc_now())

        moment = Moment(lambda unrelated=unrelated: elsewhere.write(unrelated))  # type: ignore[misc]
        with monkeypatch.context() as planted:
            plant(planted, services, moment)
            issued(api)
        assert moment.times == 2
        assert (counts(services.storage).license_keys, counts(services.storage).batches) == (6 * number, 2 * number)


def touch(session: Session) -> None:
    of_product(session).name += "x"


def test_a_configuration_that_changes_at_every_attempt_is_a_reason_to_ask_later(
    api: Api, services: Services, elsewhere: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued(api)
    for plant in MOMENTS:
        moment = Moment(lambda: elsewhere.write(touch), times=1000)
        with monkeypatch.context() as planted, nothing_stored(services.storage):
            plant(planted, services, moment)
            answer = ask(api)
        assert (answer.code, answer.status, answer.signed_by) == (1705, 503, "global")
        assert int(answer.http.headers["retry-after"]) > 0
        assert moment.times == endpoint.MOST_ATTEMPTS
        issued(api)


def test_the_last_attempt_may_still_succeed(
    api: Api, services: Services, elsewhere: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = Moment(lambda: elsewhere.write(touch), times=endpoint.MOST_ATTEMPTS - 1)
    when_the_answer_is_signed(monkeypatch, services, moment)
    issued(api)
    assert moment.times == endpoint.MOST_ATTEMPTS
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (3, 1)


def test_one_stale_request_does_not_hold_up_those_that_are_committed_with_it(
    api: Api, services: Services, elsewhere: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many under way when their generator is switched off: none is stored afterwards, whoever it was grouped with."""
    other = add_generator(services, 1, Recipe("uuid", prefix="OTHER-"))
    issued(api)
    waiting: list[int] = []

    async def authenticated(*arguments: Any, **more: Any) -> object:
        caller = await authenticate(*arguments, **more)
        waiting.append(1)
        if len(waiting) == 8:
            elsewhere.write(lambda session: switch(session, services, active=False))
        return caller

    monkeypatch.setattr(endpoint, "authenticate", authenticated)

    def call(number: int) -> tuple[int, Answer]:
        return number, api.post(GENERATE, {**FIELDS, "generator_id": (1, other)[number % 2]})

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(call, range(32)))
    assert len(waiting) > 32
    assert {answer.code for number, answer in answers if number % 2} == {815}
    refused = [answer for number, answer in answers if number % 2 == 0 and answer.code != 815]
    assert {answer.code for answer in refused} == {806}
    made = [key for _, answer in answers if answer.code == 815 for key in answer.payload["licenseKeys"]]
    stored = terms_of(services.storage)
    assert set(made) <= set(stored)
    assert len(stored) == len(made) + 3
    with nothing_stored(services.storage):
        assert ask(api).code == 806


def test_a_key_that_is_revoked_under_load_makes_no_more_keys(api: Api, services: Services, elsewhere: Storage) -> None:
    key = add_api_key(services)
    digest = key_format.digest(services.pepper, key)
    row = services.storage.read(lambda session: access.find_api_key(session, digest))
    assert row is not None
    key_id = row.id
    stop = Event()

    def put(status: str) -> None:
        def change(session: Session) -> None:
            found = access.api_key(session, key_id)
            assert found is not None
            found.status = status

        elsewhere.write(change)

    def made() -> int:
        query = select(Batch.id).where(Batch.api_key_id == key_id)
        return elsewhere.read(lambda session: len(session.scalars(query).all()))

    def load() -> set[int | str]:
        seen: set[int | str] = set()
        while not stop.is_set():
            seen.add(api.post(GENERATE, {**FIELDS, "api_key": key}).code)
        return seen

    with ThreadPoolExecutor(6) as threads:
        callers = [threads.submit(load) for _ in range(6)]
        try:
            for _ in range(10):
                enough, gives_up = made() + 5, monotonic() + 60
                while made() < enough:
                    assert monotonic() < gives_up, "nothing is made any more"
                put("inactive")
                # Behind whoever was faster than the revocation.
                services.storage._writer.run(lambda _: None)  # noqa: SLF001 -- on PostgreSQL no other way leads there
                after = made()
                for _ in range(5):
                    assert api.post(GENERATE, {**FIELDS, "api_key": key}).code == 101
                assert made() == after
                put("active")
        finally:
            stop.set()
        assert {code for caller in callers for code in caller.result()} == {815, 101}


def test_other_products_have_keys_of_their_own_while_one_is_replaced(
    api: Api, services: Services, elsewhere: Storage, pairs: list[KeyPair]
) -> None:
    product, pem = add_product(services, "other")
    generator = add_generator(services, product, Recipe("uuid"))
    fields = {**FIELDS, "api_key": add_api_key(services), "generator_id": generator}
    with expecting(api, pem) as other, expecting(api, pairs[0].public_pem) as client:
        kid = other.post(GENERATE, fields).http.headers["x-signing-key-id"]
        elsewhere.write(lambda session: rotate(session, services, pairs[0]))
        answer = other.post(GENERATE, fields)
        assert (answer.code, answer.http.headers["x-signing-key-id"]) == (815, kid)
        signed_by(services.storage, issued(client), pairs[0])
