"""What POST /generate refuses: 901, 806, 805 and 902 (protocol.md 4.1)."""

from typing import Any

import pytest
from sqlalchemy import update
from tests.conftest import Installation, client_of
from tests.support.api import Answer, Encoding, serving
from tests.support.world import (
    UNKNOWN_UUID,
    World,
    add_weak_generator,
    execute,
    nothing_stored,
    populate,
)

from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.issuing.formats import Recipe
from hanaper.issuing.models import Generator
from hanaper.licenses import store as licenses
from hanaper.products.models import Product
from hanaper.storage.scope import EVERYTHING

GENERATE = "/api/v1/generate"
ENCODINGS: tuple[Encoding, ...] = ("form", "multipart", "json")
LARGEST = 2**63 - 1


def ask(world: World, fields: dict[str, Any], encoding: Encoding = "form", key: str = "good") -> Answer:
    return world.api.post(GENERATE, {"api_key": world.keys[key], **fields}, encoding=encoding)


def refused(world: World, fields: dict[str, Any], encoding: Encoding = "form", key: str = "good") -> Answer:
    with nothing_stored(world.storage):
        answer = ask(world, fields, encoding, key)
    assert answer.status == 200
    return answer


REQUIRED = "The {} field is required."
INTEGER = "The {} field must be an integer."
REFERENCE = "The {} field must be an integer or a UUID."

# Fields beside a good generator_id and quantity (None takes one away), and the errors.
BAD_FIELDS: list[tuple[dict[str, str | None], dict[str, list[str]]]] = [
    ({"quantity": None}, {"quantity": [REQUIRED.format("quantity")]}),
    ({"quantity": ""}, {"quantity": [REQUIRED.format("quantity")]}),
    ({"quantity": "  "}, {"quantity": [REQUIRED.format("quantity")]}),
    ({"quantity": "abc"}, {"quantity": [INTEGER.format("quantity")]}),
    ({"quantity": "1.5"}, {"quantity": [INTEGER.format("quantity")]}),
    ({"quantity": "true"}, {"quantity": [INTEGER.format("quantity")]}),
    ({"quantity": "0"}, {"quantity": ["The quantity field must be at least 1."]}),
    ({"quantity": "-1"}, {"quantity": ["The quantity field must be at least 1."]}),
    ({"quantity": "1001"}, {"quantity": ["The quantity field must not be greater than 1000."]}),
    ({"generator_id": None}, {"generator_id": [REQUIRED.format("generator id")]}),
    ({"generator_id": ""}, {"generator_id": [REQUIRED.format("generator id")]}),
    ({"generator_id": "abc"}, {"generator_id": [REFERENCE.format("generator id")]}),
    ({"generator_id": "1.0"}, {"generator_id": [REFERENCE.format("generator id")]}),
    ({"generator_id": "-1"}, {"generator_id": [REFERENCE.format("generator id")]}),
    ({"generator_id": None, "generator_uuid": "demo"}, {"generator_id": [REFERENCE.format("generator id")]}),
    ({"quantity": None, "count": "x"}, {"quantity": [INTEGER.format("quantity")]}),
    ({"quantity": None, "count": "1001"}, {"quantity": ["The quantity field must not be greater than 1000."]}),
    ({"activation_limit": "x"}, {"activation_limit": [INTEGER.format("activation limit")]}),
    ({"activation_limit": "-2"}, {"activation_limit": ["The activation limit field must be at least 0."]}),
    (
        {"activation_limit": "2147483648"},
        {"activation_limit": ["The activation limit field must not be greater than 2147483647."]},
    ),
    ({"validity_days": "x"}, {"validity_days": [INTEGER.format("validity days")]}),
    ({"validity_days": "-1"}, {"validity_days": ["The validity days field must be at least 0."]}),
    (
        {"validity_days": "1000001"},
        {"validity_days": ["The validity days field must not be greater than 1000000."]},
    ),
    ({"validity": "-1"}, {"validity_days": ["The validity days field must be at least 0."]}),
    (
        {"generator_id": None, "quantity": "abc", "activation_limit": "-2", "validity_days": "x"},
        {
            "generator_id": [REQUIRED.format("generator id")],
            "quantity": [INTEGER.format("quantity")],
            "activation_limit": ["The activation limit field must be at least 0."],
            "validity_days": [INTEGER.format("validity days")],
        },
    ),
    (
        {"generator_id": None, "quantity": None},
        {"generator_id": [REQUIRED.format("generator id")], "quantity": [REQUIRED.format("quantity")]},
    ),
]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("fields", "errors"), BAD_FIELDS)
def test_every_bad_field_is_named_at_once(
    world: World, encoding: Encoding, fields: dict[str, str | None], errors: dict[str, list[str]]
) -> None:
    given = {"generator_id": "1", "quantity": "1", **fields}
    asked = {name: value for name, value in given.items() if value is not None}
    answer = refused(world, asked, encoding)
    assert (answer.code, answer.payload["message"], answer.signed_by) == (901, "Incorrect data found", "global")
    assert list(answer.payload) == ["code", "message", "errors", "timestamp"]
    assert answer.errors == errors
    assert list(answer.errors) == list(errors)


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (None, REQUIRED),
        (True, INTEGER),
        (False, INTEGER),
        (1.5, INTEGER),
        (1.0, INTEGER),
        ([], INTEGER),
        ([1], INTEGER),
        ({}, INTEGER),
        ({"a": 1}, INTEGER),
        ("ten", INTEGER),
        (0, "The {} field must be at least 1."),
        (-1, "The {} field must be at least 1."),
        (1001, "The {} field must not be greater than 1000."),
        (10**30, "The {} field must not be greater than 1000."),
        (-(10**30), "The {} field must be at least 1."),
    ],
)
def test_json_values_that_are_no_quantity(world: World, quantity: Any, text: str) -> None:
    answer = refused(world, {"generator_id": 1, "quantity": quantity}, "json")
    assert answer.code == 901
    assert answer.errors == {"quantity": [text.format("quantity")]}


@pytest.mark.parametrize("generator", [True, 1.0, [1], {"id": 1}, "abc", "é"])
def test_json_values_that_are_no_generator(world: World, generator: Any) -> None:
    answer = refused(world, {"generator_id": generator, "quantity": 1}, "json")
    assert answer.code == 901
    assert answer.errors == {"generator_id": [REFERENCE.format("generator id")]}


def test_nobody_learns_what_is_wrong_with_his_fields_before_he_is_known(world: World) -> None:
    with nothing_stored(world.storage):
        answer = world.api.post(GENERATE, {"api_key": "wrong", "quantity": "abc"})
    assert answer.code == 100
    assert "errors" not in answer.payload


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("key", "generator"),
    [
        ("good", "999999"),
        ("good", "0"),
        ("good", UNKNOWN_UUID),
        ("good", UNKNOWN_UUID.upper()),
        ("good", str(LARGEST)),
        ("good", str(LARGEST + 1)),
        ("good", "9" * 60),
        ("good", "inactive"),
        ("good", "uuid of inactive"),
        ("demo product", "other"),
        ("demo product", "uuid of other"),
        ("demo product", "closed"),
        ("demo product", "deleted"),
        ("other product", "demo"),
        ("other product", "999999"),
    ],
)
def test_a_generator_that_is_not_there_for_the_caller_is_not_found(
    world: World, encoding: Encoding, key: str, generator: str
) -> None:
    answer = refused(world, {"generator_id": reference(world, generator), "quantity": "1"}, encoding, key)
    assert (answer.code, answer.payload["message"], answer.signed_by) == (806, "Generator not found", "global")
    assert list(answer.payload) == ["code", "message", "timestamp"]


def reference(world: World, generator: str) -> str:
    if generator.startswith("uuid of "):
        return world.uuid_of(generator.removeprefix("uuid of "))
    return str(world.generators.get(generator, generator))


def test_unknown_inactive_and_foreign_generators_are_answered_by_the_same_bytes(installation: Installation) -> None:
    """Within one second, that is: so here the clock stands still."""
    noon = utc_now()
    services = open_services(installation.settings, lambda: noon)
    with serving(create_app(services)) as base_url:
        client = client_of(base_url, installation.installed)
        world = populate(services, client)
        seen = set()
        for generator in ("999999", UNKNOWN_UUID, "inactive", "other", "uuid of other", "closed", "deleted"):
            asked = {"generator_id": reference(world, generator), "quantity": "1"}
            response = refused(world, asked, key="demo product").http
            varying = ("date", "x-request-id")
            headers = [header for header in response.headers.multi_items() if header[0] not in varying]
            seen.add((response.status_code, response.content, tuple(headers)))
        world.close()
    assert len(seen) == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("generator", ["closed", "deleted", "uuid of closed", "uuid of deleted"])
def test_a_product_that_is_not_sold_any_more_is_not_found(world: World, encoding: Encoding, generator: str) -> None:
    answer = refused(world, {"generator_id": reference(world, generator), "quantity": "1"}, encoding)
    assert (answer.code, answer.payload["message"], answer.signed_by) == (805, "Product not found", "global")
    assert list(answer.payload) == ["code", "message", "timestamp"]


def no_keys(answer: Answer) -> None:
    assert (answer.code, answer.payload["message"], answer.signed_by) == (902, "No license keys created", "product")
    assert list(answer.payload) == ["code", "message", "timestamp"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_key_space_that_is_too_small_gives_no_keys_at_all(world: World, encoding: Encoding) -> None:
    no_keys(refused(world, {"generator_id": world.generators["tiny"], "quantity": 9}, encoding))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_custom_function_that_is_not_installed_gives_no_keys(world: World, encoding: Encoding) -> None:
    no_keys(refused(world, {"generator_id": world.generators["missing function"], "quantity": 1}, encoding))


def test_a_key_space_that_is_used_up_gives_no_keys(world: World) -> None:
    tiny = add_weak_generator(world.services, world.products["demo"], Recipe("chunk-system", "Z", "", "", 1, 1, "01"))
    common: licenses.NewLicenseKeys = {
        "product_id": world.products["other"],
        "generator_id": None,
        "batch_id": None,
        "source": "manual",
        "activation_limit": 0,
        "validity": 0,
        "status": "blocked",
        "created_at": utc_now(),
        "updated_at": utc_now(),
    }
    world.storage.write(lambda session: licenses.add(session, ["Z0", "Z1"], common, scope=EVERYTHING))
    for quantity in (1, 2):
        no_keys(refused(world, {"generator_id": tiny, "quantity": quantity}))


def test_only_what_is_left_of_a_key_space_is_given(world: World) -> None:
    tiny = add_weak_generator(world.services, world.products["demo"], Recipe("chunk-system", "Q", "", "", 1, 2, "01"))
    given: set[str] = set()
    refusals = 0
    while len(given) < 4 and refusals < 100:
        answer = ask(world, {"generator_id": tiny, "quantity": 1})
        if answer.code == 902:
            refusals += 1  # With one key left, nine draws may miss it.
            continue
        assert given.isdisjoint(answer.payload["licenseKeys"])
        given.update(answer.payload["licenseKeys"])
    assert given == {"Q00", "Q01", "Q10", "Q11"}
    no_keys(refused(world, {"generator_id": tiny, "quantity": 1}))


def test_a_generator_that_is_switched_on_again_works_again(world: World) -> None:
    generator = add_weak_generator(world.services, world.products["demo"], Recipe("uuid"))
    for status, code in ((0, 806), (1, 815)):
        execute(world.storage, update(Generator).where(Generator.id == generator).values(status=status))
        assert ask(world, {"generator_id": generator, "quantity": 1}).code == code


def test_a_product_that_is_opened_again_works_again(world: World) -> None:
    closed = world.products["closed"]
    for status, code in (("active", 815), ("inactive", 805)):
        execute(world.storage, update(Product).where(Product.id == closed).values(status=status))
        response = world.api.http.post(
            GENERATE,
            data={"api_key": world.keys["good"], "generator_id": world.generators["closed"], "quantity": 1},
        )
        assert response.json()["response"]["code"] == code
