"""Products over HTTP, with their metadata (protocol.md 4.7)."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.api.test_register import BASES, ENCODINGS, UNUSABLE, Shop, fresh, says
from tests.conftest import IN_THIS_PROCESS
from tests.support.api import Answer, Encoding
from tests.support.world import UNKNOWN_UUID, World, add_api_key, add_generator

from hanaper.access import manage
from hanaper.issuing.formats import Recipe

ROW: dict[str, type] = {
    "id": int,
    "external_reference": str,
    "source": str,
    "name": str,
    "post_url": str,
    "description": str,
    "status": str,
    "require_non_expired": int,
    "created_at": str,
    "updated_at": str,
    "meta_data": list,
}
NAMES = ("product_id", "product_uuid", "productId", "product_slug")
NO_PERMISSION = (102, "The used API key doesn't have the required capability to access this endpoint", "global")
REQUIRED = "The {} field is required."
INVALID = "The selected {} is invalid."
TEXT = "The {} field must be a string."
TOO_LONG = "The {} field must not be greater than 255 characters."
NO_PRODUCT = (10**9, 0, 2**63, UNKNOWN_UUID, "no-such-product", "deleted")


@pytest.fixture(scope="module")
def shop(world: World) -> Iterator[Shop]:
    """Shared by the tests of this file."""
    made = Shop(world)
    yield made
    made.close()


@pytest.fixture
def new_shop(world: World) -> Iterator[Shop]:
    """For a test that changes it."""
    made = Shop(world)
    yield made
    made.close()


def documented(**more: object) -> dict[str, Any]:
    fields = {"source": "internal", "name": "HelpDesk & Support", "description": "it's / é日本😀", "status": "active"}
    return {**fields, "require_non_expired": 1, **more}


def created(answer: Answer) -> int:
    assert says(answer, 750, "Product created", "global", "product_id")
    product_id: int = answer.payload["product_id"]
    assert type(product_id) is int
    return product_id


def product(shop: Shop, product_id: object, key: str = "good") -> dict[str, Any]:
    answer = shop.get("get-product", {"product_id": product_id}, key)
    assert says(answer, 631, "Product information retrieved successfully", "global", "product")
    found: dict[str, Any] = answer.payload["product"]
    return found


def listed(shop: Shop, key: str = "good", base: str = BASES[0]) -> list[dict[str, Any]]:
    answer = shop.get("get-all-products", {}, key, base)
    assert says(answer, 810, "All products", "global", "products")
    rows: list[dict[str, Any]] = answer.payload["products"]
    return rows


# Create.


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_documented_request_makes_a_product(shop: Shop, base: str, encoding: Encoding) -> None:
    fields = documented(external_reference="51", name=f"HelpDesk & Support {uuid4()}")
    product_id = created(shop.post("create-product", fields, encoding=encoding, base=base))
    row = next(row for row in listed(shop, base=base) if row["id"] == product_id)
    assert list(row) == list(ROW)
    assert {name: type(value) for name, value in row.items()} == ROW
    assert row == {
        "id": product_id,
        **fields,
        "post_url": "",
        "created_at": row["created_at"],
        "updated_at": row["created_at"],
        "meta_data": [],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000000Z", row["created_at"])


def test_a_product_signs_with_a_key_pair_of_its_own(shop: Shop) -> None:
    name = f"Own Key {uuid4().hex}"
    product_id = created(shop.post("create-product", documented(name=name)))
    found = shop.get("get-product-public-key", {"product_id": product_id})
    assert says(found, 632, "Public key retrieved successfully", "global", "public_key", "product")
    pem = found.payload["public_key"]
    assert pem not in (shop.pem, shop.api.global_pem)
    client = shop.api.for_product(pem)
    fields = {"api_key": shop.world.keys["good"], "product_id": product_id, "activation_limit": 0, "validity": 0}
    stored = {**fields, "license_keys": json.dumps([key := fresh()]), "status": "available"}
    for path, sent, code in (
        ("create-license-keys", stored, 900),
        ("verify", {**fields, "license_key": key, "identifier": "pc-1"}, 201),
        ("create-product-meta", {**fields, "key": "k", "value": "v"}, 273),
        ("update-license-key", {**fields, "license_key": key, "status": "reserved"}, 950),
        ("delete-license-key", {**fields, "license_key": key}, 850),
    ):
        answer = client.post(f"/api/v1/{path}", sent)
        assert (answer.code, answer.signed_by) == (code, "product")
    client.http.close()


def test_the_sdks_send_a_name_and_little_else(shop: Shop) -> None:
    name = f"Sdk {uuid4().hex}"
    product_id = created(shop.post("create-product", {"name": name}, encoding="json"))
    found = product(shop, product_id)
    assert [found[field] for field in ("source", "name", "description", "require_non_expired", "status", "slug")] == [
        *("internal", name, "", 0, "active", name.lower().replace(" ", "-")),
    ]
    slug = f"s-{uuid4().hex}"
    more = {"name": name, "slug": slug, "status": "inactive", "features": [1], "changelog_enabled": True, "image": None}
    found = product(shop, created(shop.post("create-product", more, encoding="json")))
    assert (found["slug"], found["status"]) == (slug, "inactive")
    # With a source it is the documented request, which has to be complete.
    answer = shop.post("create-product", {"name": name, "source": "internal"}, encoding="json")
    assert (answer.code, list(answer.errors)) == (751, ["description", "require_non_expired", "status"])


@pytest.mark.parametrize("encoding", ["form", "multipart"])
def test_the_documented_example_of_a_form_without_name_and_description(shop: Shop, encoding: Encoding) -> None:
    answer = shop.post("create-product", documented(name="", description=""), encoding=encoding)
    assert says(answer, 751, "Incorrect data found", "global", "errors")
    assert answer.errors == {"name": [REQUIRED.format("name")], "description": [REQUIRED.format("description")]}
    bare = shop.post("create-product", {"name": "only a name"}, encoding=encoding)
    assert (bare.code, list(bare.errors)) == (751, ["source", "description", "require_non_expired", "status"])


def test_the_slug_is_made_of_the_name_and_unique(shop: Shop) -> None:
    mark = uuid4().hex[:12]
    names = {
        f"Héllo, Wörld {mark}!": f"hello-world-{mark}",
        f"hello world {mark}": f"hello-world-{mark}-2",
        f"HELLO--WORLD {mark}": f"hello-world-{mark}-3",
    }
    ids = [created(shop.post("create-product", documented(name=name))) for name in names]
    assert [product(shop, product_id)["slug"] for product_id in ids] == list(names.values())
    for product_id, slug in zip(ids, names.values(), strict=True):
        assert product(shop, slug)["id"] == product_id
    assert shop.post("delete-product", {"product_id": ids[0]}).code == 550
    again = created(shop.post("create-product", documented(name=next(iter(names)))))
    assert product(shop, again)["slug"] == f"hello-world-{mark}-4"
    for name in ("日本", "12345", UNKNOWN_UUID):
        slug = product(shop, created(shop.post("create-product", documented(name=name))))["slug"]
        assert slug.startswith("product")
    long = f"{'x' * 200}{mark}"
    slugs = [product(shop, created(shop.post("create-product", documented(name=long))))["slug"] for _ in range(2)]
    assert len(set(slugs)) == 2
    assert max(map(len, slugs)) <= 100


@IN_THIS_PROCESS  # A token makes one key after the other, and signs nothing meanwhile.
def test_products_of_one_name_that_are_made_at_the_same_moment_all_get_a_slug(shop: Shop) -> None:
    name = f"at once {uuid4().hex[:12]}"
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: shop.post("create-product", documented(name=name)), range(8)))
    slugs = {product(shop, created(answer))["slug"] for answer in answers}
    slug = name.replace(" ", "-")
    assert slugs == {slug, *(f"{slug}-{number}" for number in range(2, 9))}


def test_a_slug_that_was_asked_for_has_to_be_free_and_a_slug(shop: Shop) -> None:
    for slug in (shop.slug, "deleted", "Upper", "a b", "a--b", "-a", "123", UNKNOWN_UUID, "x" * 101, "é"):
        answer = shop.post("create-product", documented(slug=slug))
        assert says(answer, 751, "Incorrect data found", "global", "errors"), slug
        assert answer.errors == {"slug": [INVALID.format("slug")]}


BAD: list[tuple[dict[str, object], dict[str, list[str]]]] = [
    ({"source": "other"}, {"source": [INVALID.format("source")]}),
    ({"source": []}, {"source": [INVALID.format("source")]}),
    ({"name": "x" * 256}, {"name": [TOO_LONG.format("name")]}),
    ({"name": "a\nb"}, {"name": [INVALID.format("name")]}),
    ({"name": "a\x00b"}, {"name": [TEXT.format("name")]}),
    ({"name": "\ud800"}, {"name": [TEXT.format("name")]}),
    ({"name": ["a"]}, {"name": [TEXT.format("name")]}),
    ({"description": "a\x00b"}, {"description": [TEXT.format("description")]}),
    ({"description": {"a": 1}}, {"description": [TEXT.format("description")]}),
    ({"require_non_expired": 2}, {"require_non_expired": [INVALID.format("require non expired")]}),
    ({"require_non_expired": "yes"}, {"require_non_expired": [INVALID.format("require non expired")]}),
    ({"require_non_expired": [1]}, {"require_non_expired": [INVALID.format("require non expired")]}),
    ({"status": "open"}, {"status": [INVALID.format("status")]}),
    ({"status": 1}, {"status": [INVALID.format("status")]}),
    ({"external_reference": "x" * 256}, {"external_reference": [TOO_LONG.format("external reference")]}),
    ({"external_reference": True}, {"external_reference": [TEXT.format("external reference")]}),
    ({"post_url": "ftp://example.com"}, {"post_url": [INVALID.format("post url")]}),
    ({"post_url": "https://example.com/" + "x" * 2048}, {"post_url": [INVALID.format("post url")]}),
    (
        {
            "source": "x",
            "name": [],
            "description": {},
            "require_non_expired": "x",
            "status": "x",
            "external_reference": [],
        },
        {
            "source": [INVALID.format("source")],
            "name": [TEXT.format("name")],
            "description": [TEXT.format("description")],
            "require_non_expired": [INVALID.format("require non expired")],
            "status": [INVALID.format("status")],
            "external_reference": [TEXT.format("external reference")],
        },
    ),
]


@pytest.mark.parametrize(("change", "errors"), BAD, ids=lambda value: ascii(value)[:40])
def test_bad_fields_are_told_all_at_once(shop: Shop, change: dict[str, object], errors: dict[str, list[str]]) -> None:
    before = listed(shop)
    answer = shop.post("create-product", documented(**change), encoding="json")
    assert says(answer, 751, "Incorrect data found", "global", "errors")
    assert answer.errors == errors
    answer = shop.post("update-product", {"product_id": shop.id, "name": "new", **change}, encoding="json")
    assert says(answer, 651, "Incorrect data found", "global", "errors")
    assert answer.errors == errors
    assert listed(shop) == before


# Update.


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_all_documented_fields_of_a_product_can_be_changed(new_shop: Shop, base: str, encoding: Encoding) -> None:
    fields = {
        "external_reference": "77",
        "source": "envato",
        "name": "New / Name",
        "post_url": "https://example.com/gone?x=1",
        "description": "new\nlines",
        "status": "inactive",
        "require_non_expired": 1,
    }
    before = product(new_shop, new_shop.id)
    answer = new_shop.post("update-product", {"product_id": new_shop.id, **fields}, encoding=encoding, base=base)
    assert says(answer, 650, "Product updated", "global")
    after = product(new_shop, new_shop.id)
    assert after == {**before, **fields, "updated_at": after["updated_at"]}


@pytest.mark.parametrize("reference", NAMES)
def test_what_is_absent_stays_as_it_is(new_shop: Shop, reference: str) -> None:
    changes: dict[str, object] = {
        "external_reference": "78",
        "source": "envato",
        "name": "Another",
        "description": "other",
        "status": "inactive",
        "require_non_expired": "true",
        "post_url": "http://example.com",
    }
    stored = new_shop.world.product(new_shop.slug)
    named = {
        "product_id": stored.id,
        "product_uuid": stored.uuid,
        "productId": stored.uuid,
        "product_slug": stored.slug,
    }
    now = product(new_shop, new_shop.id)
    for name, value in changes.items():
        answer = new_shop.post("update-product", {reference: named[reference], name: value, "slug": "ignored"})
        assert answer.code == 650
        after = product(new_shop, new_shop.id)
        assert after == {**now, name: 1 if value == "true" else value, "updated_at": after["updated_at"]}
        now = after


def test_an_inactive_product_gives_its_license_keys_no_use(new_shop: Shop) -> None:
    new_shop.store(key := fresh(), status="assigned")
    use = {"license_key": key, "identifier": "pc-1"}
    assert new_shop.post("activate", use).code == 300
    for status, code in (("inactive", 203), ("active", 200)):
        assert new_shop.post("update-product", {"product_id": new_shop.id, "status": status}).code == 650
        assert new_shop.post("verify", use).code == code


def test_a_product_that_is_not_there_is_an_incorrect_field(shop: Shop) -> None:
    for reference in NO_PRODUCT:
        answer = shop.post("update-product", documented(product_id=reference))
        assert says(answer, 651, "Incorrect data found", "global", "errors"), reference
        assert answer.errors == {"product_id": [INVALID.format("product id")]}
    answer = shop.post("update-product", documented(status="x"))
    assert answer.errors == {"product_id": [REQUIRED.format("product id")], "status": [INVALID.format("status")]}


# Delete.


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_deleted_product_takes_everything_with_it(new_shop: Shop, base: str, encoding: Encoding) -> None:
    generator = add_generator(new_shop.world.services, new_shop.id, Recipe("uuid"))
    available, used = fresh(), fresh()
    new_shop.store(available)
    new_shop.store(used, status="assigned", owner_email=f"{used}@example.com")
    use = {"license_key": used, "identifier": "pc-1"}
    product_id = {"product_id": new_shop.id}
    assert new_shop.post("activate", use).code == 300
    assert new_shop.post("create-product-meta", {**product_id, "key": "k", "value": "v"}).code == 273

    answer = new_shop.post("delete-product", product_id, encoding=encoding, base=base)
    assert says(answer, 550, "Product deleted", "global")
    again = new_shop.post("delete-product", product_id, encoding=encoding, base=base)
    assert says(again, 551, "Product not found", "global")

    assert says(new_shop.get("get-product", product_id), 551, "Product not found", "global")
    assert new_shop.id not in [row["id"] for row in listed(new_shop)]
    unavailable = new_shop.get("get-product-public-key", product_id)
    assert says(unavailable, 633, "Public key not available for product", "global")
    assert new_shop.rows() == []
    assert new_shop.get("get-license-keys", {"owner_email": f"{used}@example.com"}).payload["license_keys"] == []
    assert new_shop.get("get-available-license-keys-count", product_id).code == 740
    assert new_shop.get("get-all-generators", product_id).payload["products"] == []
    wish = {**product_id, "owner_email": "a@example.com", "quantity": 1, "generate": 1}
    terms = {"activation_limit": 1, "validity": 1, "status": "available"}
    expected: list[tuple[str, dict[str, Any], int]] = [
        ("generate", {"generator_id": generator, "quantity": 1}, 805),
        ("verify", use, 210),
        ("activate", use, 210),
        ("deactivate", use, 210),
        ("get-license-key-details", use, 210),
        ("assign-license-key", {"license_key": available}, 801),
        ("assign-and-activate-license-key", {**use, "license_key": available, "owner_email": "a@example.com"}, 801),
        ("random-assign-license-keys", wish, 805),
        ("update-license-key", {"license_key": available, "status": "assigned"}, 952),
        ("delete-license-key", {"license_key": available}, 851),
        ("create-license-key-meta", {"license_key": used, "key": "k", "value": "v"}, 210),
        ("create-license-keys", {**product_id, **terms, "license_keys": '["x"]'}, 901),
        ("update-product", {**product_id, "name": "back"}, 651),
        ("create-product-meta", {**product_id, "key": "k2", "value": "v"}, 274),
        ("update-product-meta", {**product_id, "key": "k", "value": "v"}, 374),
        ("delete-product-meta", {**product_id, "key": "k"}, 483),
    ]
    for path, fields, code in expected:
        answer = new_shop.post(path, fields)
        assert (path, answer.code, answer.signed_by) == (path, code, "global")


@pytest.mark.parametrize("path", ["delete-product", "get-product"])
def test_a_product_that_is_not_there_is_not_found(shop: Shop, path: str) -> None:
    def ask(fields: dict[str, Any]) -> Answer:
        return shop.post(path, fields) if path == "delete-product" else shop.get(path, fields)

    for reference in NO_PRODUCT:
        assert says(ask({"product_id": reference}), 551, "Product not found", "global")
    for fields in ({}, {"product_id": ""}, {"product_id": "a b"}, {"product_id": "1.0"}):
        answer = ask(fields)
        assert says(answer, 551, "Product not found", "global", "errors")
        assert list(answer.errors) == ["product_id"]


# Look up.


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", NAMES)
def test_one_product_by_any_of_its_names(shop: Shop, base: str, name: str) -> None:
    stored = shop.world.product(shop.slug)
    for reference in (stored.id, stored.uuid, stored.uuid.upper(), stored.slug):
        answer = shop.get("get-product", {name: reference}, base=base)
        assert says(answer, 631, "Product information retrieved successfully", "global", "product")
        found = answer.payload["product"]
        assert list(found) == [*ROW, "uuid", "slug"]
        assert (found["id"], found["slug"], str(UUID(found["uuid"]))) == (shop.id, shop.slug, stored.uuid)
        row = next(row for row in listed(shop) if row["id"] == shop.id)
        assert {name: found[name] for name in ROW} == row


def test_all_products_are_listed_in_order_of_id_the_deleted_ones_are_not(shop: Shop) -> None:
    ids = [row["id"] for row in listed(shop)]
    assert ids == sorted(ids)
    products = shop.world.products
    assert {products["demo"], products["other"], products["closed"], shop.id} <= set(ids)
    assert products["deleted"] not in ids


# Metadata.


@pytest.mark.parametrize(
    ("base", "encoding", "names"),
    [
        (BASES[0], "form", ("key", "value")),
        (BASES[1], "multipart", ("key", "value")),
        (BASES[0], "json", ("meta_key", "meta_value")),
    ],
)
def test_the_life_of_a_value(new_shop: Shop, base: str, encoding: Encoding, names: tuple[str, str]) -> None:
    def ask(action: str, *values: str) -> Answer:
        fields = {"product_id": new_shop.id, **dict(zip(names, values, strict=False))}
        return new_shop.post(f"{action}-product-meta", fields, encoding=encoding, base=base)

    def attached() -> list[dict[str, str]]:
        found = product(new_shop, new_shop.id)["meta_data"]
        assert found == next(row["meta_data"] for row in listed(new_shop) if row["id"] == new_shop.id)
        rows: list[dict[str, str]] = found
        return rows

    assert says(ask("update", "a", "1"), 372, "Meta key doesn't exists", "product")
    assert says(ask("delete", "a"), 481, "Meta key doesn't exist", "product")
    assert attached() == []
    assert says(ask("create", "a", "é/日本😀"), 273, "Product meta created", "product")
    assert says(ask("create", "b", "2"), 273, "Product meta created", "product")
    assert says(ask("create", "a", "other"), 272, "Meta key already exists", "product")
    assert attached() == [{"key": "a", "value": "é/日本😀"}, {"key": "b", "value": "2"}]
    assert says(ask("update", "a", "3"), 373, "Product meta updated", "product")
    assert attached() == [{"key": "a", "value": "3"}, {"key": "b", "value": "2"}]
    for action, code in (("create", 270), ("update", 370), ("delete", 480)):
        assert says(ask(action), code, "Meta key is required", "product")
        assert says(ask(action, " ", "1"), code, "Meta key is required", "product")
        assert says(ask(action, "x" * 256, "1"), code, "Meta key is required", "product")
    for action, code in (("create", 271), ("update", 371)):
        assert says(ask(action, "a"), code, "Meta value is required", "product")
        assert says(ask(action, "a", " "), code, "Meta value is required", "product")
    assert says(ask("delete", "a"), 482, "Product meta deleted", "product")
    assert says(ask("delete", "a"), 481, "Meta key doesn't exist", "product")
    assert attached() == [{"key": "b", "value": "2"}]


def test_a_value_may_be_of_any_json_type(new_shop: Shop) -> None:
    values: list[tuple[object, str]] = [
        (5, "5"),
        (-1.5, "-1.5"),
        (True, "true"),
        (False, "false"),
        ([], "[]"),
        ({}, "{}"),
        ([1, {"é": [None]}], '[1,{"é":[null]}]'),
        ("x" * 5000, "x" * 5000),
        ("9" * 5000, "9" * 5000),
        ("a\nb\u202e", "a\nb\u202e"),
        (["\x00"], '["\\u0000"]'),
    ]
    for number, (value, _) in enumerate(values):
        fields = {"product_id": new_shop.id, "key": f"k{number:02}", "value": value}
        assert new_shop.post("create-product-meta", fields, encoding="json").code == 273, value
        assert new_shop.post("update-product-meta", fields, encoding="json").code == 373, value
    kept = {row["key"]: row["value"] for row in product(new_shop, new_shop.id)["meta_data"]}
    assert kept == {f"k{number:02}": text for number, (_, text) in enumerate(values)}
    for unusable in (None, "", "\x00", "a\x00b", "\ud800", ["\ud800"], {"\ud800": 1}):
        fields = {"product_id": new_shop.id, "key": "k00", "value": unusable}
        assert new_shop.post("create-product-meta", {**fields, "key": "new"}, encoding="json").code == 271
        assert new_shop.post("update-product-meta", fields, encoding="json").code == 371
    assert {row["key"]: row["value"] for row in product(new_shop, new_shop.id)["meta_data"]} == kept


def test_metadata_belongs_to_a_product(world: World, shop: Shop) -> None:
    other = Shop(world)
    key = fresh()
    assert shop.post("create-product-meta", {"product_id": shop.id, "key": key, "value": "1"}).code == 273
    fields = {"product_id": other.id, "key": key, "value": "2"}
    assert other.post("update-product-meta", fields).code == 372
    assert other.post("delete-product-meta", fields).code == 481
    assert other.post("create-product-meta", fields).code == 273
    assert {"key": key, "value": "1"} in product(shop, shop.id)["meta_data"]
    other.close()
    for path, code in (("create", 274), ("update", 374), ("delete", 483)):
        for reference in NO_PRODUCT:
            answer = shop.post(f"{path}-product-meta", {**fields, "product_id": reference})
            assert says(answer, code, "Product not found", "global")
        answer = shop.post(f"{path}-product-meta", {"key": key, "value": "2"})
        assert (answer.code, answer.payload["message"], answer.signed_by) == (code, "Product not found", "global")


# Who may, and what nobody means.


def test_a_limited_key_has_its_products_only_and_makes_none(new_shop: Shop) -> None:
    foreign, own = "other product", new_shop.own_key
    before = product(new_shop, new_shop.id)
    fields: dict[str, Any] = {"product_id": new_shop.id, "name": "theirs", "key": "k", "value": "v"}
    for path, code in (
        ("update-product", 651),
        ("delete-product", 551),
        ("create-product-meta", 274),
        ("update-product-meta", 374),
        ("delete-product-meta", 483),
    ):
        assert new_shop.post(path, fields, foreign).code == code
    assert new_shop.get("get-product", fields, foreign).code == 551
    assert [row["id"] for row in listed(new_shop, foreign)] == [new_shop.world.products["other"]]
    assert product(new_shop, new_shop.id) == before
    number = len(listed(new_shop))
    assert says(new_shop.post("create-product", documented(), own), *NO_PERMISSION)
    assert len(listed(new_shop)) == number
    assert [row["id"] for row in listed(new_shop, own)] == [new_shop.id]
    assert product(new_shop, new_shop.id, own) == before
    for path, code in (
        ("update-product", 650),
        ("create-product-meta", 273),
        ("update-product-meta", 373),
        ("delete-product-meta", 482),
        ("delete-product", 550),
    ):
        assert new_shop.post(path, fields, own).code == code
    assert listed(new_shop, own) == []


def test_each_endpoint_wants_its_ability(shop: Shop) -> None:
    paths = ("create-product", "update-product", "delete-product")
    metas = ("create-product-meta", "update-product-meta", "delete-product-meta")
    gets = ("get-all-products", "get-product")
    before = product(shop, shop.id)
    fields = documented(product_id=shop.id, key="ability", value="v")
    for path in (*paths, *metas):
        others = [name for name in (*paths, *metas, *gets) if name != path]
        key = add_api_key(shop.world.services, manage.Terms("All but one", others))
        assert says(shop.post(path, fields, key), *NO_PERMISSION), path
        assert says(shop.post(path, fields, "only listing"), *NO_PERMISSION), path
    for path in gets:
        assert says(shop.get(path, fields, "only listing"), *NO_PERMISSION), path
    assert product(shop, shop.id) == before


def test_unusable_input_is_refused_and_changes_nothing(shop: Shop) -> None:
    before = listed(shop)
    for value in UNUSABLE:
        for name in ("source", "status", "require_non_expired", "post_url"):
            if (name, value) == ("require_non_expired", True):
                continue
            assert shop.post("create-product", documented(**{name: value}), encoding="json").code == 751, (name, value)
            change = {"product_id": shop.id, "name": "new", name: value}
            assert shop.post("update-product", change, encoding="json").code == 651, (name, value)
        fields = {"product_id": value, "name": "new", "key": "k", "value": "v", "\ud800": value}
        for path, code in (
            ("update-product", 651),
            ("delete-product", 551),
            ("create-product-meta", 274),
            ("update-product-meta", 374),
            ("delete-product-meta", 483),
        ):
            assert shop.post(path, fields, encoding="json").code == code, (path, value)
        if not isinstance(value, str | int) or isinstance(value, bool):
            meta = {"product_id": shop.id, "key": value, "value": "v"}
            assert shop.post("create-product-meta", meta, encoding="json").code == 270, value
    assert listed(shop) == before
