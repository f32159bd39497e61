"""Who may do what with whose (T31): every endpoint, made from the route table; a new one without a row is found.

To an API key that is limited to a product, what belongs to another one does not exist: the answer has the same bytes as
for what nobody has, and nothing changes.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text
from tests.support.api import Answer
from tests.support.world import World, add_api_key, nothing_stored

from hanaper import api
from hanaper.access import abilities
from hanaper.access.manage import Terms
from hanaper.products.models import Product
from hanaper.storage.base import Base
from hanaper.storage.session import Session

TABLES = ("products", "product_meta", "generators", "license_keys", "license_key_meta", "activations", "batches")
OWNER = {"owner_email": "a@example.com", "owner_name": "A"}


@dataclass(frozen=True)
class Things:
    """What a request can name."""

    license_key: str
    product: int | str
    generator: int | str


Fields = Callable[[Things], dict[str, Any]]


def _license(**more: Any) -> Fields:
    return lambda things: {"license_key": things.license_key, **more}


def _product(**more: Any) -> Fields:
    return lambda things: {"product_id": things.product, **more}


NEW_PRODUCT = {"source": "internal", "name": "New", "description": "-", "require_non_expired": 0, "status": "active"}
META = {"key": "k", "value": "v"}
ROWS: dict[str, Fields] = {
    "generate": lambda things: {"generator_id": things.generator, "quantity": 1},
    "get-all-generators": _product(),
    "verify": _license(identifier="a"),
    "activate": _license(identifier="a"),
    "deactivate": _license(identifier="a"),
    "get-license-key-details": _license(),
    "create-license-keys": _product(license_keys='["TENANT-1"]', activation_limit=1, validity=0, status="available"),
    "update-license-key": _license(owner_name="Eve"),
    "delete-license-key": _license(),
    "get-license-keys": _product(),
    "create-license-key-meta": _license(**META),
    "update-license-key-meta": _license(**META),
    "delete-license-key-meta": _license(key="k"),
    "assign-license-key": _license(email="eve@example.com"),
    "assign-and-activate-license-key": _license(identifier="a", **OWNER),
    "random-assign-license-keys": _product(quantity=1, **OWNER),
    "get-available-license-keys-count": _product(),
    "update-product": _product(name="Eve's"),
    "delete-product": _product(),
    "get-product": _product(),
    "get-product-public-key": _product(),
    "create-product-meta": _product(**META),
    "update-product-meta": _product(**META),
    "delete-product-meta": _product(key="k"),
}
"""By endpoint: a request that names something."""

NAMES_NOTHING = {"get-all-products", "create-product"}
ALL = sorted({path.rpartition("/")[2] for _, path in api.direct_routes()})
METHODS = {path.rpartition("/")[2]: method for method, path in sorted(api.direct_routes())}


def test_every_endpoint_has_its_row() -> None:
    assert {*ROWS, *NAMES_NOTHING} == set(ALL) == set(abilities.ENDPOINTS)


def ask(world: World, key: str, endpoint: str, fields: dict[str, Any]) -> Answer:
    path, sent = f"/api/v1/{endpoint}", {"api_key": key, **fields}
    return world.api.get(path, sent) if METHODS[endpoint] == "GET" else world.api.post(path, sent)


def told(answer: Answer) -> tuple[int, str, str]:
    """All that an answer says, but when."""
    payload = {name: value for name, value in answer.payload.items() if name != "timestamp"}
    return answer.status, answer.signed_by, json.dumps(payload)


def rows(session: Session) -> dict[str, list[Any]]:
    """All that is stored; of calls to others only how many there have been: they are worked on in the background."""
    found = {table: list(session.execute(text(f"SELECT * FROM {table} ORDER BY 1"))) for table in TABLES}  # noqa: S608
    return {**found, "outgoing_calls": list(session.execute(text("SELECT max(id) FROM outgoing_calls")))}


@pytest.fixture(scope="module")
def foreign(world: World) -> Things:
    """What the product "other" has: metadata, and a license key that is assigned, is active and has metadata, too."""
    key, generator = world.keys["other product"], world.generators["other"]
    order = {"api_key": key, "generator_id": generator, "quantity": 1}
    license_key = world.other_api.post("/api/v1/generate", order).payload["licenseKeys"][0]
    for endpoint, fields in (
        ("assign-and-activate-license-key", {"license_key": license_key, "identifier": "a", **OWNER}),
        ("create-license-key-meta", {"license_key": license_key, **META}),
        ("create-product-meta", {"product_id": world.products["other"], **META}),
    ):
        world.other_api.post(f"/api/v1/{endpoint}", {"api_key": key, **fields})
    return Things(license_key, world.products["other"], generator)


def names(world: World, foreign: Things) -> Iterator[tuple[str, Things, Things]]:
    """Each way to name what is foreign, and what nobody has, by the same way."""
    nobody = Things(str(uuid4()), 10**9, 10**9)
    yield "number", foreign, nobody
    uuids = replace(foreign, product=world.product("other").uuid, generator=world.uuid_of("other"))
    yield "UUID", uuids, replace(nobody, product=str(uuid4()), generator=str(uuid4()))
    slugs = replace(foreign, product="other")
    yield "slug", slugs, replace(nobody, product="no-such-product")


@contextmanager
def nothing_loaded(world: World, foreign: Things) -> Iterator[None]:
    """Asserts that meanwhile no row that is foreign is loaded by anybody: no check could be forgotten then."""
    named = text("SELECT id FROM license_keys WHERE product_id = :product")
    license_keys = set(world.storage.read(lambda session: session.scalars(named, {"product": foreign.product}).all()))
    found: list[str] = []

    def note(row: Base, *_: object) -> None:
        columns = vars(row)
        product_id = columns.get("id" if isinstance(row, Product) else "product_id")
        if product_id == foreign.product or columns.get("license_key_id") in license_keys:
            found.append(type(row).__name__)

    event.listen(Base, "load", note, propagate=True)
    try:
        yield
    finally:
        event.remove(Base, "load", note)
    assert found == []


@pytest.mark.parametrize("endpoint", sorted(ROWS))
def test_what_is_foreign_is_as_what_nobody_has(world: World, foreign: Things, endpoint: str) -> None:
    key = world.keys["demo product"]
    before = world.storage.read(rows)
    for way, theirs, nobodys in list(names(world, foreign)):
        with nothing_loaded(world, foreign):
            asked, unknown = (ask(world, key, endpoint, ROWS[endpoint](things)) for things in (theirs, nobodys))
        assert told(asked) == told(unknown), way
        for secret in (foreign.license_key, "other"):
            assert secret not in json.dumps(asked.payload)
    assert world.storage.read(rows) == before


def test_what_is_loaded_is_noticed(world: World, foreign: Things) -> None:
    with pytest.raises(AssertionError), nothing_loaded(world, foreign):
        ask(world, world.keys["other product"], "get-license-key-details", ROWS["verify"](foreign))


BESIDE: list[tuple[str, Callable[[Things, Things], dict[str, Any]]]] = [
    ("update-license-key", lambda own, named: {"license_key": own.license_key, "product_id": named.product}),
    (
        "random-assign-license-keys",
        lambda own, named: {
            "product_id": own.product, "generator_id": named.generator, "generate": 1, "quantity": 1, **OWNER
        },
    ),
    (
        "get-available-license-keys-count",
        lambda own, named: {"product_id": own.product, "generator_id": named.generator},
    ),
    ("create-license-keys", lambda _, named: {"licenses": [{"generator_id": named.generator}]}),
    (
        "create-license-keys",
        lambda own, named: {"licenses": [{"product_id": named.product, "generator_id": own.generator}]},
    ),
]  # fmt: skip
"""Requests that name something of one's own and something else beside it."""


@pytest.mark.parametrize(("endpoint", "fields"), BESIDE)
def test_what_is_foreign_beside_what_is_ones_own(
    world: World, foreign: Things, endpoint: str, fields: Callable[[Things, Things], dict[str, Any]]
) -> None:
    key = world.keys["demo product"]
    order = {"api_key": key, "generator_id": 1, "quantity": 1}
    own = Things(world.api.post("/api/v1/generate", order).payload["licenseKeys"][0], world.products["demo"], 1)
    before = world.storage.read(rows)
    for way, theirs, nobodys in list(names(world, foreign)):
        with nothing_loaded(world, foreign):
            found = [_asked(world, endpoint, {"api_key": key, **fields(own, each)}) for each in (theirs, nobodys)]
        assert told(found[0]) == told(found[1]), way
    assert world.storage.read(rows) == before


def _asked(world: World, endpoint: str, sent: dict[str, Any]) -> Answer:
    path = f"/api/v1/{endpoint}"
    return world.api.get(path, sent) if METHODS[endpoint] == "GET" else world.api.post(path, sent, encoding="json")


def test_lists_have_nothing_foreign(world: World, foreign: Things) -> None:
    key = world.keys["demo product"]
    for endpoint in ("get-all-generators", "get-all-products", "get-license-keys"):
        with nothing_loaded(world, foreign):
            answer = ask(world, key, endpoint, {"per_page": 1000} if "license" in endpoint else {})
        shown = json.dumps(answer.payload)
        for theirs in (foreign.license_key, world.product("other").uuid, world.uuid_of("other"), '"Other"'):
            assert theirs not in shown
        assert "Demo" in shown or endpoint != "get-all-products"
    with nothing_stored(world.storage):
        assert ask(world, key, "create-product", NEW_PRODUCT).code == 102


@pytest.fixture(scope="module")
def all_but(world: World) -> dict[str, str]:
    """API keys with all abilities but one, by that one."""
    return {
        name: add_api_key(world.services, Terms("All but one", [each for each in ALL if each != name])) for name in ALL
    }


@pytest.fixture(scope="module")
def only(world: World) -> dict[str, str]:
    """API keys with one ability, by that one."""
    return {name: add_api_key(world.services, Terms("One", [name])) for name in ALL}


NOBODYS = Things(str(uuid4()), 10**9, 10**9)


@pytest.mark.parametrize("endpoint", ALL)
def test_an_endpoint_is_open_to_those_who_have_its_ability(
    world: World, all_but: dict[str, str], only: dict[str, str], endpoint: str
) -> None:
    fields = ROWS[endpoint](NOBODYS) if endpoint in ROWS else {}
    before = world.storage.read(rows)
    assert ask(world, all_but[endpoint], endpoint, fields).code == 102
    assert ask(world, "", endpoint, fields).code == 100
    assert ask(world, world.keys["revoked"], endpoint, fields).code == 101
    assert ask(world, world.keys["expired"], endpoint, fields).code == 101
    assert world.storage.read(rows) == before
    assert ask(world, only[endpoint], endpoint, fields).code not in (100, 101, 102, 103, 150)
    for other in ALL:
        if other != endpoint:
            assert ask(world, only[endpoint], other, {}).code == 102
