"""GET /get-all-generators and GET /get-product-public-key (protocol.md 4.2, 4.7)."""

import re
from typing import Any

import pytest
from tests.support.api import Answer
from tests.support.world import UNKNOWN_UUID, World

from hanaper.keystore import store as keys
from hanaper.storage.scope import EVERYTHING

BASES = ("/api/v1", "/v1")
FIELDS = {
    "id": int,
    "product_id": int,
    "method": str,
    "prefix": str,
    "suffix": str,
    "function_name": str,
    "number_of_chunks": int,
    "chunk_length": int,
    "activation_limit": int,
    "validity": int,
    "status": int,
    "charset": str,
    "created_at": str,
    "updated_at": str,
}
NAMES = ("product_id", "product_uuid", "productId", "product_slug")


def listed(world: World, query: dict[str, Any] | None = None, key: str = "good", base: str = "/api/v1") -> Answer:
    answer = world.api.get(f"{base}/get-all-generators", {"api_key": world.keys[key], **(query or {})})
    assert (answer.status, answer.signed_by) == (200, "global")
    return answer


@pytest.mark.parametrize("base", BASES)
def test_all_generators_with_the_documented_fields_in_the_documented_order(world: World, base: str) -> None:
    answer = listed(world, base=base)
    assert list(answer.payload) == ["code", "message", "products", "timestamp"]
    assert (answer.code, answer.payload["message"]) == (820, "All generators")
    rows = answer.payload["products"]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    for row in rows:
        assert {name: type(value) for name, value in row.items()} == FIELDS
        assert list(row) == list(FIELDS)
        for moment in (row["created_at"], row["updated_at"]):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", moment)


def test_the_values_are_those_of_the_generator(world: World) -> None:
    rows = {row["id"]: row for row in listed(world).payload["products"]}
    row = rows[world.generators["chunks"]]
    assert [row[name] for name in list(FIELDS)[1:12]] == [
        *(world.products["demo"], "chunk-system", "PRO-", "-X", "", 4, 4, 3, 365, 1, "0123456789ABCDEF"),
    ]
    assert rows[world.generators["inactive"]]["status"] == 0
    assert rows[world.generators["exotic"]]["prefix"] == "é/日本\\\"'<&😀-"
    assert rows[world.generators["missing function"]]["function_name"] == "not-there"


def test_generators_of_products_that_are_deleted_are_not_listed_those_of_closed_ones_are(world: World) -> None:
    ids = {row["id"] for row in listed(world).payload["products"]}
    assert world.generators["deleted"] not in ids
    assert world.generators["closed"] in ids


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["id", "uuid", "upper-case uuid", "slug"])
def test_the_list_can_be_narrowed_to_a_product(world: World, name: str, form: str) -> None:
    rows = listed(world, {name: reference(world, "other", form)}).payload["products"]
    assert [row["id"] for row in rows] == [world.generators["other"]]


def reference(world: World, slug: str, form: str) -> str:
    product = world.product(slug)
    return {
        "id": str(product.id),
        "uuid": product.uuid,
        "upper-case uuid": product.uuid.upper(),
        "slug": product.slug,
    }[form]


@pytest.mark.parametrize("product", ["999999", "0", UNKNOWN_UUID, "no-such-product", "deleted", str(2**63), "9" * 40])
def test_an_unknown_product_has_no_generators(world: World, product: str) -> None:
    answer = listed(world, {"product_id": product})
    assert (answer.code, answer.payload["products"]) == (820, [])


@pytest.mark.parametrize("query", [{}, {"product_id": ""}, {"product_id": " "}])
def test_an_empty_filter_is_no_filter(world: World, query: dict[str, str]) -> None:
    products = {row["product_id"] for row in listed(world, query).payload["products"]}
    assert {world.products["demo"], world.products["other"]} <= products


@pytest.mark.parametrize("product", ["Other", "a b", "other;", "x" * 101, "é", "1.5", "-"])
def test_a_filter_that_cannot_name_a_product(world: World, product: str) -> None:
    answer = listed(world, {"product_id": product})
    if product == "-":
        assert (answer.code, answer.payload["products"]) == (820, [])
    else:
        assert answer.code == 901
        assert list(answer.errors) == ["product_id"]


@pytest.mark.parametrize("key", ["other product", "demo product"])
def test_a_limited_key_sees_only_its_products(world: World, key: str) -> None:
    own = world.products[key.removesuffix(" product")]
    rows = listed(world, key=key).payload["products"]
    assert {row["product_id"] for row in rows} == {own}
    foreign = "demo" if key == "other product" else "other"
    for form in ("id", "uuid", "slug"):
        assert listed(world, {"product_id": reference(world, foreign, form)}, key).payload["products"] == []


def public_key(world: World, query: dict[str, Any], key: str = "good", base: str = "/api/v1") -> Answer:
    answer = world.api.get(f"{base}/get-product-public-key", {"api_key": world.keys[key], **query})
    assert (answer.status, answer.signed_by) == (200, "global")
    return answer


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["id", "uuid", "upper-case uuid", "slug"])
def test_the_public_key_of_a_product(world: World, base: str, name: str, form: str) -> None:
    answer = public_key(world, {name: reference(world, "demo", form)}, base=base)
    product = world.product("demo")
    assert list(answer.payload) == ["code", "message", "public_key", "product", "timestamp"]
    assert (answer.code, answer.payload["message"]) == (632, "Public key retrieved successfully")
    assert answer.payload["product"] == {"uuid": product.uuid}
    pem = world.storage.read(lambda session: keys.public_pem(session, product.id, scope=EVERYTHING))
    assert answer.payload["public_key"] == pem
    assert answer.payload["public_key"].startswith("-----BEGIN PUBLIC KEY-----\n")


def test_the_public_key_given_out_checks_the_answers_of_that_product(world: World) -> None:
    pem = public_key(world, {"product_slug": "other"}).payload["public_key"]
    client = world.api.for_product(pem)
    fields = {"api_key": world.keys["good"], "generator_id": world.generators["other"], "quantity": 1}
    answer = client.post("/api/v1/generate", fields)
    client.http.close()
    assert (answer.code, answer.signed_by) == (815, "product")


@pytest.mark.parametrize(
    ("key", "query"),
    [
        ("good", {"product_id": "999999"}),
        ("good", {"product_id": "0"}),
        ("good", {"product_uuid": UNKNOWN_UUID}),
        ("good", {"product_slug": "no-such-product"}),
        ("good", {"product_slug": "deleted"}),
        ("good", {"product_id": str(2**63)}),
        ("demo product", {"product_slug": "other"}),
        ("other product", {"product_slug": "demo"}),
    ],
)
def test_a_product_that_is_not_there_for_the_caller_has_no_public_key(
    world: World, key: str, query: dict[str, str]
) -> None:
    answer = public_key(world, query, key)
    assert list(answer.payload) == ["code", "message", "timestamp"]
    assert (answer.code, answer.payload["message"]) == (633, "Public key not available for product")


@pytest.mark.parametrize("query", [{}, {"product_id": ""}, {"product_id": "a b"}, {"product_id": "é"}])
def test_a_product_that_is_not_named_has_no_public_key(world: World, query: dict[str, str]) -> None:
    answer = public_key(world, query)
    assert answer.code == 633
    assert list(answer.errors) == ["product_id"]
