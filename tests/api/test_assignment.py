"""Assignment: of a license key by its text, with an activation, and drawn at random (protocol.md 4.5)."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from tests.api.test_create_license_keys import while_stored
from tests.api.test_register import BASES, ENCODINGS, UNUSABLE, Shop, active_identifiers, fresh, says
from tests.support.api import Answer, Encoding
from tests.support.world import (
    BLOCKED_IDENTIFIER,
    UNKNOWN_UUID,
    World,
    add_generator,
    add_weak_generator,
    nothing_stored,
)

from hanaper.issuing.formats import Recipe
from hanaper.products.models import Product

ASSIGN = "assign-license-key"
BOTH = "assign-and-activate-license-key"
RANDOM = "random-assign-license-keys"
ASSIGNED = (800, "License key assigned", "global")
TAKEN = (801, "Invalid or already assigned license key", "global")
ROW: dict[str, type] = {
    "product_id": int,
    "license_key": str,
    "activation_limit": int,
    "validity": int,
    "status": str,
    "owner_name": str,
    "owner_email": str,
    "assigned_at": str,
    "contract_id": type(None),
    "updated_at": str,
    "created_at": str,
    "id": int,
    "meta_data": list,
}
TOO_LONG = "The {} field must not be greater than 255 characters."


@pytest.fixture(scope="module")
def shop(world: World) -> Iterator[Shop]:
    """Shared by the tests of this file, for license keys that are found by their text."""
    made = Shop(world)
    yield made
    made.close()


@pytest.fixture
def new_shop(world: World) -> Iterator[Shop]:
    """For a test that counts."""
    made = Shop(world)
    yield made
    made.close()


@pytest.fixture
def closed_shop(world: World) -> Iterator[Shop]:
    def close(product: Product) -> None:
        product.status = "inactive"

    made = Shop(world, close)
    yield made
    made.close()


def stored(shop: Shop, status: str = "available", **more: Any) -> str:
    key = fresh()
    shop.store(key, status=status, **more)
    return key


# By its text.


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("status", ["available", "reserved"])
def test_a_license_key_is_assigned_once(shop: Shop, base: str, encoding: Encoding, status: str) -> None:
    key = stored(shop, status)
    fields = {"license_key": f" {key}", "email": "ada@example.com", "owner_name": "Ada"}
    assert says(shop.post(ASSIGN, fields, encoding=encoding, base=base), *ASSIGNED)
    row = shop.row(key)
    assert [row[name] for name in ("status", "owner_name", "owner_email")] == ["assigned", "Ada", "ada@example.com"]
    began = datetime.strptime(row["assigned_at"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - began) < timedelta(minutes=5)
    again = {**fields, "email": "eve@example.com", "owner_name": "Eve"}
    assert says(shop.post(ASSIGN, again, encoding=encoding, base=base), *TAKEN)
    assert shop.row(key) == row
    assert shop.post("verify", {"license_key": key, "identifier": "pc-1"}).code == 202


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({}, [None, None]),
        ({"email": "", "owner_name": " "}, [None, None]),
        ({"owner_email": "o@example.com"}, [None, "o@example.com"]),
        ({"customer_email": "c@example.com", "customer_name": "C"}, ["C", "c@example.com"]),
        ({"email": "é@example.com", "owner_email": "o@example.com", "owner_name": "日本"}, ["日本", "é@example.com"]),
    ],
)
def test_an_owner_need_not_be_named(shop: Shop, fields: dict[str, str], owner: list[str | None]) -> None:
    key = stored(shop, owner_name="before", owner_email="before@example.com")
    assert says(shop.post(ASSIGN, {"entitlement_key": key, **fields}), *ASSIGNED)
    row = shop.row(key)
    assert [row["owner_name"], row["owner_email"]] == owner


def test_what_is_not_to_be_had_is_not_assigned(shop: Shop, closed_shop: Shop) -> None:
    deleted = stored(shop)
    assert shop.post("delete-license-key", {"license_key": deleted}).code == 850
    staged = fresh()
    batch_id = shop.stage(staged)
    keys = [stored(shop, status) for status in ("assigned", "suspended", "revoked")]
    keys += [deleted, staged, stored(closed_shop), fresh(), ""]
    for key in keys:
        assert says(shop.post(ASSIGN, {"license_key": key}), *TAKEN), key
    assert [row["status"] for row in closed_shop.rows()] == ["available"]
    assert says(shop.post(ASSIGN, {"license_key": stored(shop)}, "other product"), *TAKEN)
    assert says(shop.post(ASSIGN, {"license_key": stored(shop)}, shop.own_key), *ASSIGNED)
    shop.unstage(batch_id)
    assert says(shop.post(ASSIGN, {"license_key": staged}), *ASSIGNED)


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"email": "x" * 256}, {"email": [TOO_LONG.format("email")]}),
        (
            {"email": [], "owner_name": {}},
            {"email": ["The email field must be a string."], "owner_name": ["The owner name field must be a string."]},
        ),
        ({"customer_name": "a\ud800"}, {"owner_name": ["The owner name field must be a string."]}),
        ({"owner_name": "a\x00"}, {"owner_name": ["The owner name field must be a string."]}),
    ],
)
def test_an_owner_that_cannot_be_kept_gets_nothing(
    shop: Shop, fields: dict[str, object], errors: dict[str, list[str]]
) -> None:
    key = stored(shop)
    answer = shop.post(ASSIGN, {"license_key": key, **fields}, encoding="json")
    assert says(answer, 901, "Incorrect data found", "global", "errors")
    assert answer.errors == errors
    assert shop.row(key)["status"] == "available"


def test_of_parallel_requests_for_a_license_key_one_gets_it(shop: Shop) -> None:
    key = stored(shop)
    barrier = Barrier(6)
    answers: list[tuple[str, Answer]] = []

    def ask(email: str) -> None:
        barrier.wait()
        answers.append((email, shop.post(ASSIGN, {"license_key": key, "email": email})))

    threads = [Thread(target=ask, args=(f"{number}@example.com",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(answer.code) for _, answer in answers) == ["800", *["801"] * 5]
    assert [email for email, answer in answers if answer.code == 800] == [shop.row(key)["owner_email"]]


# With an activation.


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("status", ["available", "reserved"])
def test_assigned_and_activated_at_once(shop: Shop, base: str, encoding: Encoding, status: str) -> None:
    key = stored(shop, status)
    fields = {"license_key": key, "identifier": "pc-1", "owner_email": "ada@example.com", "owner_name": "Ada"}
    answer = shop.post(BOTH, {**fields, "post_url": "http://127.0.0.1:9/"}, encoding=encoding, base=base)
    assert says(answer, 300, "License key activated", "product")
    row = shop.row(key)
    assert [row[name] for name in ("status", "owner_name", "owner_email")] == ["assigned", "Ada", "ada@example.com"]
    assert shop.post("verify", {"license_key": key, "identifier": "pc-1"}).code == 200
    assert shop.post("verify", {"license_key": key, "identifier": "pc-2"}).code == 202
    again = shop.post(BOTH, {**fields, "identifier": "pc-2"}, encoding=encoding, base=base)
    assert says(again, *TAKEN)
    assert active_identifiers(shop, key) == ["pc-1"]


@pytest.mark.parametrize("name", ["hardwareId", "hardware_id", "domain", "hwid", "server_domain"])
def test_an_identifier_by_any_of_its_names(shop: Shop, name: str) -> None:
    key = stored(shop)
    fields = {"entitlement_key": key, name: "pc-1", "customer_email": "c@example.com", "metadata": {"a": 1}}
    assert shop.post(BOTH, fields, encoding="json").code == 300
    row = shop.row(key)
    assert (row["owner_name"], row["owner_email"]) == (None, "c@example.com")
    assert active_identifiers(shop, key) == ["pc-1"]


def test_both_or_neither(shop: Shop, closed_shop: Shop) -> None:
    owner = {"owner_email": "ada@example.com", "owner_name": "Ada"}
    key = stored(shop)
    before = shop.row(key)
    for fields in ({}, {"identifier": " "}, {"identifier": "x" * 256}):
        answer = shop.post(BOTH, {"license_key": key, **owner, **fields})
        assert says(answer, 215, "Identifier is required", "product")
    blocked = shop.post(BOTH, {"license_key": key, "identifier": BLOCKED_IDENTIFIER, **owner})
    assert says(blocked, 150, "Access denied", "global")
    foreign = shop.post(BOTH, {"license_key": key, "identifier": "pc-1", **owner}, "other product")
    assert says(foreign, *TAKEN)
    assert shop.row(key) == before
    for status in ("suspended", "revoked"):
        answer = shop.post(BOTH, {"license_key": stored(shop, status), "identifier": "pc-1", **owner})
        assert says(answer, 204, "License key blocked", "product")
    answer = closed_shop.post(BOTH, {"license_key": stored(closed_shop), "identifier": "pc-1", **owner})
    message = "The product associated with this license key is not active or doesn't exist"
    assert says(answer, 203, message, "product")
    assert [row["status"] for row in closed_shop.rows()] == ["available"]
    for unknown in (fresh(), "", "x" * 256):
        assert says(shop.post(BOTH, {"license_key": unknown, "identifier": "pc-1", **owner}), *TAKEN)


@pytest.mark.parametrize(
    ("owner", "errors"),
    [
        ({}, {"owner_email": ["The owner email field is required."]}),
        ({"email": "a@example.com"}, {"owner_email": ["The owner email field is required."]}),
        (
            {"owner_email": "x" * 256, "owner_name": 1.5},
            {
                "owner_email": [TOO_LONG.format("owner email")],
                "owner_name": ["The owner name field must be a string."],
            },
        ),
    ],
)
def test_an_activation_for_nobody(shop: Shop, owner: dict[str, object], errors: dict[str, list[str]]) -> None:
    key = stored(shop)
    answer = shop.post(BOTH, {"license_key": key, "identifier": "pc-1", **owner}, encoding="json")
    assert says(answer, 901, "Incorrect data found", "global", "errors")
    assert answer.errors == errors
    assert shop.row(key)["status"] == "available"


# At random.


def drawn(answer: Answer) -> list[dict[str, Any]]:
    assert says(answer, 803, "License keys assigned", "global", "license_keys")
    rows: list[dict[str, Any]] = answer.payload["license_keys"]
    return rows


def wish(shop: Shop, quantity: object = 1, **more: object) -> dict[str, Any]:
    return {"product_id": shop.id, "owner_email": "ada@example.com", "quantity": quantity, "generate": 0, **more}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_request_of_the_woocommerce_plugin(new_shop: Shop, base: str, encoding: Encoding) -> None:
    keys = {fresh(), fresh(), fresh()}
    new_shop.store(*keys)
    fields = wish(new_shop, "2", generate="0", owner_name="Ada")
    ignored = {"identifier": "1234", "webhook_url": "http://127.0.0.1:9/?wc-api=x&order=1"}
    rows = drawn(new_shop.post(RANDOM, {**fields, **ignored}, encoding=encoding, base=base))
    assert len(rows) == 2
    assert {row["license_key"] for row in rows} < keys
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    for row in rows:
        assert list(row) == list(ROW)
        assert {name: type(value) for name, value in row.items()} == ROW
        listed = new_shop.row(row["license_key"])
        same = ("id", "product_id", "activation_limit", "validity", "status", "owner_name", "owner_email", "created_at")
        assert [row[name] for name in same] == [listed[name] for name in same]
        assert (row["status"], row["owner_name"], row["owner_email"]) == ("assigned", "Ada", "ada@example.com")
        assert row["meta_data"] == []
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row["assigned_at"])
        began = datetime.fromisoformat(row["assigned_at"])
        assert began.strftime("%Y-%m-%d %H:%M:%S") == listed["assigned_at"]
        for moment in (row["created_at"], row["updated_at"]):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000000Z", moment)
    assert new_shop.count() == 1


def test_the_moment_of_assignment_has_real_microseconds(new_shop: Shop) -> None:
    new_shop.store(*(fresh() for _ in range(3)))
    moments = [drawn(new_shop.post(RANDOM, wish(new_shop)))[0]["assigned_at"] for _ in range(3)]
    # Once in 10^18 times they are full seconds by chance.
    assert {moment[-7:-1] for moment in moments} != {"000000"}


def test_too_few_are_not_assigned_in_part(new_shop: Shop) -> None:
    new_shop.store(fresh(), fresh())
    for generate in ({}, {"generate": 0}, {"generate": "false"}):
        fields = {name: value for name, value in wish(new_shop, 3).items() if name != "generate"}
        answer = new_shop.post(RANDOM, {**fields, **generate})
        assert says(answer, 802, "Insufficient license keys", "global", "available_quantity")
        assert answer.payload["available_quantity"] == 2
        assert type(answer.payload["available_quantity"]) is int
    assert new_shop.count() == 2
    assert len(drawn(new_shop.post(RANDOM, wish(new_shop, 2)))) == 2
    assert new_shop.post(RANDOM, wish(new_shop)).payload["available_quantity"] == 0


def test_only_what_is_available_is_drawn(new_shop: Shop) -> None:
    for status in ("reserved", "assigned", "suspended", "revoked"):
        stored(new_shop, status)
    deleted = stored(new_shop)
    assert new_shop.post("delete-license-key", {"license_key": deleted}).code == 850
    staged = fresh()
    batch_id = new_shop.stage(staged)
    before = new_shop.rows()
    answer = new_shop.post(RANDOM, wish(new_shop))
    assert (answer.code, answer.payload["available_quantity"]) == (802, 0)
    assert new_shop.rows() == before
    new_shop.unstage(batch_id)
    assert [row["license_key"] for row in drawn(new_shop.post(RANDOM, wish(new_shop)))] == [staged]


def test_what_is_missing_is_generated_with_the_first_active_generator(new_shop: Shop) -> None:
    services = new_shop.world.services
    add_generator(services, new_shop.id, Recipe("uuid", "OFF-"), active=False)
    add_generator(services, new_shop.id, Recipe("uuid", "FIRST-"))
    add_generator(services, new_shop.id, Recipe("uuid", "SECOND-"))
    key = stored(new_shop)
    stored(new_shop, "reserved")
    rows = drawn(new_shop.post(RANDOM, wish(new_shop, 4, generate="1", owner_name="Ada")))
    assert sorted(row["license_key"][:6] for row in rows) == sorted([key[:6], *["FIRST-"] * 3])
    assert {(row["status"], row["owner_name"], row["owner_email"]) for row in rows} == {
        ("assigned", "Ada", "ada@example.com")
    }
    terms = {row["license_key"]: (row["activation_limit"], row["validity"]) for row in rows}
    assert terms.pop(key) == (0, 0)
    assert set(terms.values()) == {(3, 365)}
    assert new_shop.count() == 0
    assert len(new_shop.names(status="assigned")) == 4


@pytest.mark.parametrize("name", ["generator_id", "generator_uuid"])
def test_a_named_generator_fills_up_and_only_its_license_keys_are_drawn(new_shop: Shop, name: str) -> None:
    services = new_shop.world.services
    add_generator(services, new_shop.id, Recipe("uuid", "FIRST-"))
    named = add_generator(services, new_shop.id, Recipe("uuid", "NAMED-"))
    key = stored(new_shop)
    made = new_shop.post("generate", {"generator_id": named, "quantity": 2}).payload["licenseKeys"]
    fields = {"product_uuid": new_shop.slug, "count": 3, "customer_email": "c@example.com", "customer_name": "C"}
    rows = drawn(new_shop.post(RANDOM, {**fields, name: named}, encoding="json"))
    names = {row["license_key"] for row in rows}
    assert set(made) < names
    assert {name[:6] for name in names} == {"NAMED-"}
    assert {(row["owner_name"], row["owner_email"]) for row in rows} == {("C", "c@example.com")}
    assert new_shop.names(status="available") == [key]


def test_a_thousand_at_once(new_shop: Shop) -> None:
    add_generator(new_shop.world.services, new_shop.id, Recipe("uuid"))
    rows = drawn(new_shop.post(RANDOM, wish(new_shop, 1000, generate=1)))
    assert len({row["license_key"] for row in rows}) == 1000
    assert len(new_shop.names(status="assigned")) == 1000


def test_a_product_that_is_not_there_has_nothing_to_assign(shop: Shop, closed_shop: Shop) -> None:
    stored(closed_shop)
    key = stored(shop)
    add_generator(shop.world.services, shop.id, Recipe("uuid"))
    unknown = [closed_shop.id, "closed", "deleted", 10**9, 0, 2**63, UNKNOWN_UUID, "no-such-product"]
    with nothing_stored(shop.world.storage):
        for product in unknown:
            answer = shop.post(RANDOM, wish(shop, product_id=product, generate=1))
            assert says(answer, 805, "Product not found", "global"), product
        foreign = shop.post(RANDOM, wish(shop, generate=1), "other product")
    assert says(foreign, 805, "Product not found", "global")
    assert closed_shop.count() == 1
    assert shop.row(key)["status"] == "available"


def test_a_generator_that_is_not_there_makes_nothing(new_shop: Shop) -> None:
    world = new_shop.world
    not_found = (806, "Generator not found", "global")
    stored(new_shop)
    assert says(new_shop.post(RANDOM, wish(new_shop, 2, generate=1)), *not_found)
    off = add_generator(world.services, new_shop.id, Recipe("uuid"), active=False)
    assert says(new_shop.post(RANDOM, wish(new_shop, 2, generate=1)), *not_found)
    named = [off, 10**9, 0, UNKNOWN_UUID, *(world.generators[name] for name in ("demo", "other", "closed", "deleted"))]
    for generator in named:
        for generate in (0, 1):
            answer = new_shop.post(RANDOM, wish(new_shop, generate=generate, generator_uuid=generator))
            assert says(answer, *not_found), generator
    assert new_shop.count() == 1
    # Without a need there is no need for a generator.
    assert len(drawn(new_shop.post(RANDOM, wish(new_shop, 1, generate=1)))) == 1


def test_what_cannot_be_generated_leaves_the_rest_available(new_shop: Shop) -> None:
    add_weak_generator(new_shop.world.services, new_shop.id, Recipe("custom", function_name="not-there"))
    stored(new_shop)
    with nothing_stored(new_shop.world.storage):
        answer = new_shop.post(RANDOM, wish(new_shop, 2, generate=1))
    assert says(answer, 902, "No license keys created", "product")
    assert new_shop.count() == 1


def test_what_is_generated_at_the_same_moment_by_another_request_is_drawn_again(new_shop: Shop) -> None:
    recipe = Recipe("chunk-system", fresh("C"), "", "", 1, 3, "01234567")
    generator = add_weak_generator(new_shop.world.services, new_shop.id, recipe)
    taken = [f"{recipe.prefix}{number:03o}" for number in range(0, 512, 8)]
    fields = wish(new_shop, 40, generator_id=generator)
    rows = drawn(while_stored(new_shop, taken, lambda: new_shop.post(RANDOM, fields)))
    names = {row["license_key"] for row in rows}
    assert len(names) == 40
    assert names.isdisjoint(taken)
    assert new_shop.count() == len(taken)


def test_parallel_requests_never_get_the_same_license_key(new_shop: Shop) -> None:
    new_shop.store(*(fresh() for _ in range(24)))
    barrier = Barrier(8)
    answers: list[Answer] = []

    def ask() -> None:
        barrier.wait()
        answers.append(new_shop.post(RANDOM, wish(new_shop, 3)))

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [row["license_key"] for answer in answers if answer.code == 803 for row in drawn(answer)]
    assert len(names) == len(set(names))
    assert len(names) + new_shop.count() == 24
    assert len(answers) == 8


BAD: list[tuple[dict[str, object], dict[str, list[str]]]] = [
    ({"quantity": None}, {"quantity": ["The quantity field is required."]}),
    ({"quantity": 0}, {"quantity": ["The quantity field must be at least 1."]}),
    ({"quantity": -1}, {"quantity": ["The quantity field must be at least 1."]}),
    ({"quantity": 1001}, {"quantity": ["The quantity field must not be greater than 1000."]}),
    ({"quantity": "9" * 5000}, {"quantity": ["The quantity field must not be greater than 1000."]}),
    ({"quantity": "abc"}, {"quantity": ["The quantity field must be an integer."]}),
    ({"quantity": 1.0}, {"quantity": ["The quantity field must be an integer."]}),
    ({"quantity": True}, {"quantity": ["The quantity field must be an integer."]}),
    ({"quantity": None, "count": "x"}, {"quantity": ["The quantity field must be an integer."]}),
    ({"product_id": None}, {"product_id": ["The product id field is required."]}),
    ({"product_id": "a b"}, {"product_id": ["The product id field must be an integer or a UUID."]}),
    ({"owner_email": None}, {"owner_email": ["The owner email field is required."]}),
    ({"owner_email": "x" * 256}, {"owner_email": [TOO_LONG.format("owner email")]}),
    ({"owner_name": ["a"]}, {"owner_name": ["The owner name field must be a string."]}),
    ({"generate": 2}, {"generate": ["The selected generate is invalid."]}),
    ({"generate": "yes"}, {"generate": ["The selected generate is invalid."]}),
    ({"generate": [1]}, {"generate": ["The selected generate is invalid."]}),
    ({"generator_id": "x"}, {"generator_id": ["The generator id field must be an integer or a UUID."]}),
    (
        {
            "product_id": None,
            "owner_email": None,
            "owner_name": {},
            "quantity": "x",
            "generate": "x",
            "generator_id": [],
        },
        {
            "product_id": ["The product id field is required."],
            "owner_email": ["The owner email field is required."],
            "owner_name": ["The owner name field must be a string."],
            "quantity": ["The quantity field must be an integer."],
            "generate": ["The selected generate is invalid."],
            "generator_id": ["The generator id field must be an integer or a UUID."],
        },
    ),
]


@pytest.mark.parametrize(("change", "errors"), BAD, ids=lambda value: ascii(value)[:40])
def test_a_wish_that_cannot_be_meant(shop: Shop, change: dict[str, object], errors: dict[str, list[str]]) -> None:
    key = stored(shop)
    answer = shop.post(RANDOM, {**wish(shop), **change}, encoding="json")
    assert says(answer, 901, "Incorrect data found", "global", "errors")
    assert answer.errors == errors
    assert shop.row(key)["status"] == "available"


# Who may, and what nobody means.


@pytest.mark.parametrize("path", [ASSIGN, BOTH, RANDOM])
def test_each_endpoint_wants_its_ability(shop: Shop, path: str) -> None:
    key = stored(shop)
    answer = shop.post(path, {"license_key": key, "identifier": "pc-1", **wish(shop)}, "only generating")
    assert says(answer, 102, "The used API key doesn't have the required capability to access this endpoint", "global")
    assert shop.row(key)["status"] == "available"


def test_a_limited_key_assigns_what_is_its_own(new_shop: Shop) -> None:
    new_shop.store(fresh(), fresh())
    assert len(drawn(new_shop.post(RANDOM, wish(new_shop), new_shop.own_key))) == 1
    fields = {"license_key": new_shop.names(status="available")[0], "identifier": "pc-1", "owner_email": "a@b.example"}
    assert new_shop.post(BOTH, fields, new_shop.own_key).code == 300


def test_unusable_input_is_refused_and_assigns_nothing(new_shop: Shop) -> None:
    new_shop.store(key := fresh())
    before = new_shop.row(key)
    for value in UNUSABLE:
        for name in ("product_id", "quantity", "generate", "generator_id"):
            if (name, value) == ("generate", True):
                continue
            answer = new_shop.post(RANDOM, wish(new_shop, **{name: value}), encoding="json")
            assert answer.code in (805, 806, 901), (name, value)
        both = {"license_key": key, "identifier": value, "owner_email": "a@example.com"}
        if not isinstance(value, str | int) or isinstance(value, bool):
            assert new_shop.post(BOTH, both, encoding="json").code == 215, value
        assert new_shop.post(BOTH, {**both, "identifier": "a", "license_key": value}, encoding="json").code == 801
        assert new_shop.post(ASSIGN, {"license_key": value}, encoding="json").code == 801
        odd = json.loads(json.dumps({"license_key": "", "\ud800": value}))
        assert new_shop.post(ASSIGN, odd, encoding="json").code == 801
    assert new_shop.row(key) == before
