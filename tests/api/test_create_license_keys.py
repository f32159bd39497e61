"""POST /create-license-keys, in the documented form and in that of the SDKs (protocol.md 4.4)."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text
from tests.api.test_register import ENCODINGS, UNUSABLE, Shop, fresh, says
from tests.support.api import Answer, Encoding
from tests.support.world import UNKNOWN_UUID, World, add_generator, add_weak_generator, counts, nothing_stored

from hanaper.clock import utc_now
from hanaper.issuing.formats import Recipe
from hanaper.licenses import store
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session

CREATE = "create-license-keys"
RESULT = (900, "License keys creation result", "product", "created", "duplicate")
REQUIRED = "The {} field is required."
INTEGER = "The {} field must be an integer."
REFERENCE = "The {} field must be an integer or a UUID."
MOMENT = "The assigned at field must match the format Y-m-d H:i:s."
TOO_LONG = "The {} field must not be greater than 255 characters."
INVALID = "The selected {} is invalid."


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


def good(shop: Shop, *license_keys: object, **more: object) -> dict[str, Any]:
    """The documented request, as a form has it."""
    terms = {"product_id": shop.id, "activation_limit": 3, "validity": 30, "status": "available"}
    return {"license_keys": json.dumps(license_keys), **terms, **more}


def numbers(answer: Answer) -> tuple[int, int]:
    """Created, duplicate."""
    assert says(answer, *RESULT)
    created, duplicate = answer.payload["created"], answer.payload["duplicate"]
    assert (type(created), type(duplicate)) == (int, int)
    return created, duplicate


# The documented form.


@pytest.mark.parametrize("base", ["/api/v1", "/v1"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_documented_request(new_shop: Shop, base: str, encoding: Encoding) -> None:
    first, second = fresh("é/日本😀"), fresh("b")
    assert numbers(new_shop.post(CREATE, good(new_shop, first, second, first), encoding=encoding, base=base)) == (2, 1)
    rows = {row["license_key"]: row for row in new_shop.rows()}
    assert rows.keys() == {first, second}
    for key, row in rows.items():
        assert row == {
            "id": row["id"],
            "product_id": new_shop.id,
            "license_key": key,
            "owner_name": None,
            "owner_email": None,
            "activation_limit": 3,
            "validity": 30,
            "assigned_at": None,
            "status": "available",
            "created_at": row["created_at"],
            "updated_at": row["created_at"],
        }


def test_an_array_of_json_is_as_good_as_its_text(shop: Shop) -> None:
    first, second = fresh(), fresh()
    answer = shop.post(CREATE, good(shop, license_keys=[first, second, first]), encoding="json")
    assert numbers(answer) == (2, 1)
    assert shop.row(second)["validity"] == 30


@pytest.mark.parametrize(
    ("status", "shown", "code"),
    [
        ("available", "available", 201),
        ("assigned", "assigned", 202),
        ("reserved", "reserved", 201),
        ("blocked", "blocked", 204),
        ("suspended", "blocked", 204),
        ("revoked", "blocked", 204),
    ],
)
def test_each_status(shop: Shop, status: str, shown: str, code: int) -> None:
    key = fresh()
    assert numbers(shop.post(CREATE, good(shop, key, status=status))) == (1, 0)
    row = shop.row(key)
    assert (row["status"], row["assigned_at"] is not None) == (shown, status == "assigned")
    assert shop.post("verify", {"license_key": key, "identifier": "pc-1"}).code == code


@pytest.mark.parametrize(
    "names", [("owner_name", "owner_email", "validity"), ("customer_name", "customer_email", "validity_days")]
)
def test_an_owner_and_the_start_of_the_validity(shop: Shop, names: tuple[str, str, str]) -> None:
    key = fresh()
    fields = good(shop, key, status="assigned", assigned_at="2024-02-27 03:05:31")
    fields.pop("validity")
    fields.update(zip(names, ("Ada", "ada@example.com", "0040"), strict=True))
    assert numbers(shop.post(CREATE, fields)) == (1, 0)
    row = shop.row(key)
    assert [row[name] for name in ("owner_name", "owner_email", "validity", "assigned_at")] == [
        *("Ada", "ada@example.com", 40, "2024-02-27 03:05:31"),
    ]


@pytest.mark.parametrize("name", ["product_id", "product_uuid", "productId", "product_slug"])
def test_a_product_by_any_of_its_names(shop: Shop, name: str) -> None:
    product = shop.world.product(shop.slug)
    for reference in (product.id, product.uuid, product.uuid.upper(), product.slug):
        fields = good(shop, fresh())
        fields.pop("product_id")
        assert numbers(shop.post(CREATE, {**fields, name: reference})) == (1, 0)


def test_minus_one_is_unlimited_too(shop: Shop) -> None:
    key = fresh()
    assert numbers(shop.post(CREATE, good(shop, key, activation_limit="-1", validity="0"))) == (1, 0)
    assert shop.row(key)["activation_limit"] == 0


def test_what_is_stored_already_is_passed_over_and_stays_as_it_is(world: World, shop: Shop) -> None:
    elsewhere, mine, new = fresh(), fresh(), fresh()
    other = Shop(world)
    other.store(elsewhere)
    shop.store(mine, owner_name="first")
    before = shop.row(mine)
    answer = shop.post(CREATE, good(shop, elsewhere, mine, new, mine, owner_name="second"))
    assert numbers(answer) == (1, 3)
    assert shop.row(mine) == before
    assert (other.names(), elsewhere in shop.names()) == ([elsewhere], False)
    assert other.post("delete-product", {"product_id": other.id}).code == 550
    assert numbers(shop.post(CREATE, good(shop, elsewhere))) == (0, 1)
    other.close()


def test_what_cannot_be_a_license_key_is_left_out(new_shop: Shop) -> None:
    key, longest, number = fresh(), fresh().ljust(255, "y"), time.time_ns()
    unusable: list[object] = ["", " ", "x" * 256, "a\nb", None, True, 1.5, [], {}, [key], "\x00", "a\ud800", "\u200b"]
    answer = new_shop.post(CREATE, good(new_shop, *unusable, f" \t{key}\u00a0", number, longest))
    assert numbers(answer) == (3, 0)
    assert set(new_shop.names()) == {key, str(number), longest}


@pytest.mark.parametrize("license_keys", ["[]", '[""]', "[null, 1.5, true, [], {}]", '["\\u0000", "\\ud800"]'])
def test_no_usable_license_key(shop: Shop, license_keys: str) -> None:
    with nothing_stored(shop.world.storage):
        answer = shop.post(CREATE, good(shop, license_keys=license_keys))
    assert says(answer, 902, "No license keys created", "product")


# A change of the good request (None takes a field away), and its errors.
BAD: list[tuple[dict[str, object], dict[str, list[str]]]] = [
    ({"license_keys": None}, {"license_keys": [REQUIRED.format("license keys")]}),
    ({"license_keys": "a,b"}, {"license_keys": ["The license keys field must be an array."]}),
    ({"license_keys": '{"a":"b"}'}, {"license_keys": ["The license keys field must be an array."]}),
    ({"license_keys": '"a"'}, {"license_keys": ["The license keys field must be an array."]}),
    ({"license_keys": "[" * 20_000}, {"license_keys": ["The license keys field must be an array."]}),
    ({"license_keys": "[" + "9" * 5000 + "]"}, {"license_keys": ["The license keys field must be an array."]}),
    ({"license_keys": 7}, {"license_keys": ["The license keys field must be an array."]}),
    ({"license_keys": {"0": "a"}}, {"license_keys": ["The license keys field must be an array."]}),
    ({"product_id": None}, {"product_id": [REQUIRED.format("product id")]}),
    ({"product_id": "a b"}, {"product_id": [REFERENCE.format("product id")]}),
    ({"product_id": 1.0}, {"product_id": [REFERENCE.format("product id")]}),
    ({"product_id": 10**9}, {"product_id": [INVALID.format("product id")]}),
    ({"product_id": 0}, {"product_id": [INVALID.format("product id")]}),
    ({"product_id": 2**63}, {"product_id": [INVALID.format("product id")]}),
    ({"product_id": UNKNOWN_UUID}, {"product_id": [INVALID.format("product id")]}),
    ({"product_id": "deleted"}, {"product_id": [INVALID.format("product id")]}),
    ({"activation_limit": None}, {"activation_limit": [REQUIRED.format("activation limit")]}),
    ({"activation_limit": "1e1"}, {"activation_limit": [INTEGER.format("activation limit")]}),
    ({"activation_limit": -2}, {"activation_limit": ["The activation limit field must be at least 0."]}),
    ({"validity": None}, {"validity": [REQUIRED.format("validity")]}),
    ({"validity": True}, {"validity": [INTEGER.format("validity")]}),
    ({"validity": 1_000_001}, {"validity": ["The validity field must not be greater than 1000000."]}),
    ({"status": None}, {"status": [REQUIRED.format("status")]}),
    ({"status": "active"}, {"status": [INVALID.format("status")]}),
    ({"status": {}}, {"status": [INVALID.format("status")]}),
    ({"owner_name": "x" * 256}, {"owner_name": [TOO_LONG.format("owner name")]}),
    ({"owner_email": "a\x00"}, {"owner_email": ["The owner email field must be a string."]}),
    ({"owner_email": ["a"]}, {"owner_email": ["The owner email field must be a string."]}),
    ({"assigned_at": "2024-02-30 00:00:00"}, {"assigned_at": [MOMENT]}),
    ({"assigned_at": "0000-01-01 00:00:00"}, {"assigned_at": [MOMENT]}),
    ({"assigned_at": "2024-02-27T03:05:31Z"}, {"assigned_at": [MOMENT]}),
    ({"assigned_at": 1709003131}, {"assigned_at": [MOMENT]}),
    (
        {
            "license_keys": None,
            "product_id": None,
            "activation_limit": None,
            "validity": None,
            "status": "x",
            "owner_name": [],
            "owner_email": {},
            "assigned_at": "now",
        },
        {
            "license_keys": [REQUIRED.format("license keys")],
            "product_id": [REQUIRED.format("product id")],
            "activation_limit": [REQUIRED.format("activation limit")],
            "validity": [REQUIRED.format("validity")],
            "status": [INVALID.format("status")],
            "owner_name": ["The owner name field must be a string."],
            "owner_email": ["The owner email field must be a string."],
            "assigned_at": [MOMENT],
        },
    ),
]


@pytest.mark.parametrize(("change", "errors"), BAD, ids=lambda value: ascii(value)[:40])
def test_bad_fields_are_told_all_at_once(shop: Shop, change: dict[str, object], errors: dict[str, list[str]]) -> None:
    with nothing_stored(shop.world.storage):
        answer = shop.post(CREATE, {**good(shop, fresh()), **change}, encoding="json")
    assert says(answer, 901, "Incorrect data found", "global", "errors")
    assert answer.errors == errors


def test_the_names_of_unknown_fields_do_not_matter(shop: Shop) -> None:
    odd = {"\ud800": "x", "\x00": [], "": 1, "x" * 300: {}, "webhook_url": "ignored"}
    assert numbers(shop.post(CREATE, {**good(shop, fresh()), **odd}, encoding="json")) == (1, 0)


def test_an_api_key_stores_for_its_products_and_with_its_abilities_only(shop: Shop) -> None:
    with nothing_stored(shop.world.storage):
        foreign = shop.post(CREATE, good(shop, fresh()), "other product")
        unable = shop.post(CREATE, good(shop, fresh()), "only generating")
        nobody = shop.post(CREATE, good(shop, fresh()), "no such key")
    assert says(foreign, 901, "Incorrect data found", "global", "errors")
    assert foreign.errors == {"product_id": [INVALID.format("product id")]}
    message = "The used API key doesn't have the required capability to access this endpoint"
    assert says(unable, 102, message, "global")
    assert says(nobody, 100, "Invalid API Key", "global")
    assert numbers(shop.post(CREATE, good(shop, fresh()), shop.own_key)) == (1, 0)


# At the same moment as another request.


def test_a_license_key_that_another_request_stores_at_the_same_moment_is_a_duplicate(shop: Shop) -> None:
    taken, free = fresh(), fresh()
    answer = while_stored(shop, [taken], lambda: shop.post(CREATE, good(shop, taken, free)))
    assert numbers(answer) == (1, 1)
    assert shop.row(taken)["activation_limit"] == 77
    assert shop.row(free)["activation_limit"] == 3


def test_those_that_are_generated_at_the_same_moment_are_drawn_again(new_shop: Shop) -> None:
    recipe = Recipe("chunk-system", fresh("C"), "", "", 1, 3, "01234567")
    generator = add_weak_generator(new_shop.world.services, new_shop.id, recipe)
    # One of eight is taken: 40 drawn at once collide with one of them but for once in 200 times.
    taken = [f"{recipe.prefix}{number:03o}" for number in range(0, 512, 8)]
    wanted = {"licenses": [{"generator_uuid": generator}] * 40}
    rows = made(new_shop, while_stored(new_shop, taken, lambda: new_shop.post(CREATE, wanted, encoding="json")))
    assert len(rows) == 40
    assert sorted(new_shop.names()) == sorted([*taken, *(row["license_key"] for row in rows)])


def while_stored(shop: Shop, license_keys: list[str], request: Callable[[], Answer]) -> Answer:
    """The answer to a request that comes while another transaction is storing license keys.

    On PostgreSQL that transaction goes on until somebody waits for it, or the request is answered; on SQLite the
    request cannot begin before.
    """
    storage = shop.world.storage
    now = utc_now()
    common: store.NewLicenseKeys = {
        "product_id": shop.id,
        "generator_id": None,
        "batch_id": None,
        "source": "manual",
        "activation_limit": 77,
        "validity": 0,
        "status": "available",
        "created_at": now,
        "updated_at": now,
    }
    stored, go_on = Event(), Event()

    def hold(session: Session) -> None:
        store.add(session, license_keys, common, scope=EVERYTHING)
        stored.set()
        assert go_on.wait(30)

    with ThreadPoolExecutor(2) as threads:
        holding = threads.submit(storage.write, hold)
        assert stored.wait(30)
        asking = threads.submit(request)
        while storage.database.file is None and not asking.done() and not somebody_waits(shop):
            time.sleep(0.01)
        time.sleep(0.05)
        assert not asking.done() or storage.database.file is None
        go_on.set()
        holding.result(30)
        return asking.result(30)


def somebody_waits(shop: Shop) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    waiting: int = shop.world.storage.read(lambda session: session.execute(text(query)).scalar_one())
    return waiting > 0


# The form of the SDKs.


def generate(shop: Shop, *elements: object, key: str = "good") -> Answer:
    return shop.post(CREATE, {"licenses": list(elements)}, key, "json")


def made(shop: Shop, answer: Answer) -> list[dict[str, Any]]:
    """The rows of what was generated, in order of the answer."""
    assert says(answer, *RESULT, "license_keys")
    keys = answer.payload["license_keys"]
    assert (answer.payload["created"], answer.payload["duplicate"], len(set(keys))) == (len(keys), 0, len(keys))
    rows = {row["license_key"]: row for row in shop.rows()}
    return [rows[key] for key in keys]


@pytest.fixture
def generators(new_shop: Shop) -> tuple[int, int]:
    """Two of the shop, whose license keys begin with A and B; both with limit 3 and validity 365."""
    services = new_shop.world.services
    first = add_generator(services, new_shop.id, Recipe("uuid", "A-"))
    return first, add_generator(services, new_shop.id, Recipe("uuid", "B-"))


def test_one_license_key_for_each_element_in_their_order(new_shop: Shop, generators: tuple[int, int]) -> None:
    a, b = generators
    answer = generate(
        new_shop,
        {"generator_uuid": a},
        {"generator_id": str(b), "product_uuid": new_shop.slug, "activation_limit": -1, "validity_days": 7},
        {"generator_uuid": a, "customer_email": "c@example.com", "customer_name": "C", "features": ["ignored"]},
        {"generator_uuid": a},
        {"generator_uuid": b, "owner_email": "o@example.com", "validity": 0},
        {"generator_uuid": a, "customer_name": "nobody without an address"},
    )
    rows = made(new_shop, answer)
    assert [row["license_key"][:2] for row in rows] == ["A-", "B-", "A-", "A-", "B-", "A-"]
    names = ("activation_limit", "validity", "status", "owner_name", "owner_email")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (3, 365, "available", None, None),
        (0, 7, "available", None, None),
        (3, 365, "assigned", "C", "c@example.com"),
        (3, 365, "available", None, None),
        (3, 0, "assigned", None, "o@example.com"),
        (3, 365, "available", None, None),
    ]
    assert [row["assigned_at"] is not None for row in rows] == [row["status"] == "assigned" for row in rows]
    assert new_shop.count(generator_id=a) == 3


def test_as_many_as_a_request_may_ask_for(new_shop: Shop, generators: tuple[int, int]) -> None:
    with nothing_stored(new_shop.world.storage):
        refused = generate(new_shop, *[{"generator_id": generators[0]}] * 1001)
    assert says(refused, 901, "Incorrect data found", "global", "errors")
    assert refused.errors == {"licenses": ["The licenses field must not be greater than 1000."]}
    assert len(made(new_shop, generate(new_shop, *[{"generator_id": generators[0]}] * 1000))) == 1000


def test_license_keys_of_several_products_have_the_global_key_in_common(
    new_shop: Shop, generators: tuple[int, int]
) -> None:
    answer = generate(new_shop, {"generator_id": generators[0]}, {"generator_id": 1})
    assert says(answer, 900, RESULT[1], "global", "created", "duplicate", "license_keys")
    assert answer.payload["created"] == 2


def test_there_is_nothing_to_generate(shop: Shop) -> None:
    assert says(generate(shop), 902, "No license keys created", "global")


BAD_ELEMENTS: list[tuple[object, dict[str, list[str]]]] = [
    ("text", {"licenses": ["The licenses field must be an array."]}),
    ({}, {"licenses": ["The licenses field must be an array."]}),
    (7, {"licenses": ["The licenses field must be an array."]}),
    (["GOOD", "text"], {"licenses.1": ["The licenses.1 field must be an array."]}),
    (["GOOD", None], {"licenses.1": ["The licenses.1 field must be an array."]}),
    ([[]], {"licenses.0": ["The licenses.0 field must be an array."]}),
    ([{}], {"licenses.0.generator_id": [REQUIRED.format("generator id")]}),
    ([{"generator_id": " "}], {"licenses.0.generator_id": [REQUIRED.format("generator id")]}),
    ([{"generator_id": "x"}], {"licenses.0.generator_id": [REFERENCE.format("generator id")]}),
    (
        ["GOOD", {"generator_id": 1, "activation_limit": "x", "validity_days": -1, "owner_email": "x" * 256}, {}],
        {
            "licenses.1.activation_limit": [INTEGER.format("activation limit")],
            "licenses.1.validity": ["The validity field must be at least 0."],
            "licenses.1.owner_email": [TOO_LONG.format("owner email")],
            "licenses.2.generator_id": [REQUIRED.format("generator id")],
        },
    ),
]


@pytest.mark.parametrize(("licenses", "errors"), BAD_ELEMENTS, ids=lambda value: ascii(value)[:40])
def test_bad_elements_are_told_all_at_once(shop: Shop, licenses: object, errors: dict[str, list[str]]) -> None:
    if isinstance(licenses, list):
        licenses = [{"generator_id": 1} if element == "GOOD" else element for element in licenses]
    with nothing_stored(shop.world.storage):
        answer = shop.post(CREATE, {"licenses": licenses}, encoding="json")
    assert says(answer, 901, "Incorrect data found", "global", "errors")
    assert answer.errors == errors


def test_one_element_that_is_not_to_be_had_spoils_them_all(new_shop: Shop, generators: tuple[int, int]) -> None:
    world = new_shop.world
    bad: list[tuple[dict[str, object], str]] = [
        ({"generator_id": 10**9}, "generator_id"),
        ({"generator_id": UNKNOWN_UUID}, "generator_id"),
        ({"generator_id": world.generators["inactive"]}, "generator_id"),
        ({"generator_id": world.generators["closed"]}, "generator_id"),
        ({"generator_id": world.generators["deleted"]}, "generator_id"),
        ({"generator_id": generators[0], "product_id": "other"}, "product_id"),
        ({"generator_id": generators[0], "product_id": 10**9}, "product_id"),
    ]
    for element, name in bad:
        with nothing_stored(world.storage):
            answer = generate(new_shop, {"generator_id": generators[0]}, element)
        assert says(answer, 901, "Incorrect data found", "global", "errors"), element
        assert list(answer.errors) == [f"licenses.1.{name}"]
    assert new_shop.count() == 0


def test_a_limited_key_generates_with_its_generators_only(new_shop: Shop, generators: tuple[int, int]) -> None:
    with nothing_stored(new_shop.world.storage):
        foreign = generate(new_shop, {"generator_id": generators[0]}, key="other product")
    assert (foreign.code, list(foreign.errors)) == (901, ["licenses.0.generator_id"])
    assert len(made(new_shop, generate(new_shop, {"generator_id": generators[0]}, key=new_shop.own_key))) == 1


def test_more_than_there_are_are_not_generated_in_part(new_shop: Shop) -> None:
    services = new_shop.world.services
    tiny = add_weak_generator(services, new_shop.id, Recipe("chunk-system", fresh("T"), "", "", 1, 3, "01"))
    failing = add_weak_generator(services, new_shop.id, Recipe("custom", function_name="not-there"))
    for generator in (tiny, failing):
        with nothing_stored(services.storage):
            answer = generate(new_shop, *[{"generator_id": generator}] * 9)
        assert says(answer, 902, "No license keys created", "product")
    assert len(made(new_shop, generate(new_shop, {"generator_id": tiny}))) == 1


def test_unusable_input_is_refused(shop: Shop) -> None:
    before = counts(shop.world.storage)
    for value in UNUSABLE:
        for name in ("product_id", "activation_limit", "status", "assigned_at", "licenses"):
            if (name, value) == ("activation_limit", -1):
                continue
            answer = shop.post(CREATE, good(shop, fresh(), **{name: value}), encoding="json")
            assert answer.code in ((901, 902) if name == "licenses" else (901,)), (name, value)
        for element in (value, {"generator_id": value}, {"generator_id": 1, "product_id": value}):
            assert generate(shop, element).code == 901, element
    assert counts(shop.world.storage) == before
