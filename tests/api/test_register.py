"""The register of license keys: update, delete, list, count (protocol.md 4.4, 6)."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete
from tests.support.api import Answer, Encoding
from tests.support.world import UNKNOWN_UUID, World, add_api_key, add_generator, add_product, execute

from hanaper.access import manage
from hanaper.clock import utc_now
from hanaper.issuing.formats import Recipe
from hanaper.licenses import activation_store, store
from hanaper.licenses.models import StagedBatch
from hanaper.outbound.models import OutgoingCall
from hanaper.products.models import Product
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session

BASES = ("/api/v1", "/v1")
ENCODINGS: tuple[Encoding, ...] = ("form", "multipart", "json")
REFUSED = {100: 401, 102: 401, 150: 403, 1703: 400}
ROW: dict[str, type] = {
    "id": int,
    "product_id": int,
    "license_key": str,
    "owner_name": str,
    "owner_email": str,
    "activation_limit": int,
    "validity": int,
    "assigned_at": str,
    "status": str,
    "created_at": str,
    "updated_at": str,
}
MAY_BE_NULL = ("owner_name", "owner_email", "assigned_at")
STATES = ("available", "reserved", "assigned", "suspended", "revoked")
ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000000Z"

# What no field of these endpoints means.
UNUSABLE: tuple[object, ...] = (
    True,
    -1,
    1.5,
    10**30,
    -(2**63) - 1,
    "9" * 5000,
    "\x00",
    "a\x00b",
    "\ud800",
    "x" * 300,
    "2024-02-30 00:00:00",
    "\u202e\u200b",
    [],
    [[[[1]]]],
    {},
    {"a": "\ud800"},
    {"\ud800": "a"},
    json.loads("[" * 60 + "]" * 60),
)


class Shop:
    """A product of its own, and a client that knows its key."""

    def __init__(self, world: World, change: Callable[[Product], None] | None = None) -> None:
        self.world = world
        self.slug = f"shop-{uuid4().hex[:12]}"
        self.id, self.pem = add_product(world.services, self.slug, change)
        self.api = world.api.for_product(self.pem)
        # It sees this product only, whatever the others have.
        self.own_key = add_api_key(world.services, manage.Terms("Shop", product_ids=[self.id]))

    def post(
        self, path: str, fields: dict[str, Any], key: str = "good", encoding: Encoding = "form", base: str = BASES[0]
    ) -> Answer:
        sent = {"api_key": self.world.keys.get(key, key), **fields}
        if encoding == "json":
            # As ASCII, so that a lone surrogate can be said.
            headers = {"Content-Type": "application/json"}
            answer = self.api.check(self.api.http.post(f"{base}/{path}", content=json.dumps(sent), headers=headers))
        else:
            answer = self.api.post(f"{base}/{path}", sent, encoding=encoding)
        return self._checked(answer)

    def get(self, path: str, query: dict[str, Any], key: str = "good", base: str = BASES[0]) -> Answer:
        return self._checked(self.api.get(f"{base}/{path}", {"api_key": self.world.keys.get(key, key), **query}))

    def _checked(self, answer: Answer) -> Answer:
        assert answer.status == (REFUSED.get(answer.code, 200) if isinstance(answer.code, int) else 200)
        return answer

    def store(self, *license_keys: str, status: str = "available", **more: Any) -> None:
        """Store license keys by hand."""
        fields = {"license_keys": json.dumps(license_keys), "product_id": self.id, "activation_limit": 0}
        answer = self.post("create-license-keys", {**fields, "validity": 0, "status": status, **more})
        assert (answer.code, answer.payload["created"]) == (900, len(license_keys))

    def rows(self, **query: Any) -> list[dict[str, Any]]:
        """The license keys of the product, at most 1000."""
        answer = self.get("get-license-keys", {"product_id": self.id, "per_page": 1000, **query})
        rows: list[dict[str, Any]] = answer.payload["license_keys"]
        return rows

    def row(self, license_key: str) -> dict[str, Any]:
        return next(row for row in self.rows() if row["license_key"] == license_key)

    def names(self, **query: Any) -> list[str]:
        return [row["license_key"] for row in self.rows(**query)]

    def count(self, **query: Any) -> int:
        answer = self.get("get-available-license-keys-count", {"product_id": self.id, **query})
        assert says(answer, 741, "Available license keys count", "global", "count")
        count: int = answer.payload["count"]
        assert type(count) is int
        return count

    def stage(self, license_key: str) -> int:
        """Store a license key of a batch that is still being stored; returns the batch's id."""
        batch_id = uuid4().int % 2**60 + 2**61
        now = utc_now()
        common: store.NewLicenseKeys = {
            "product_id": self.id,
            "generator_id": None,
            "batch_id": batch_id,
            "source": "generator",
            "activation_limit": 0,
            "validity": 0,
            "status": "available",
            "created_at": now,
            "updated_at": now,
        }

        def add(session: Session) -> None:
            session.add(StagedBatch(batch_id=batch_id, abandoned=0, touched_at=now))
            store.add(session, [license_key], common, scope=EVERYTHING)

        self.world.storage.write(add)
        return batch_id

    def unstage(self, batch_id: int) -> None:
        execute(self.world.storage, delete(StagedBatch).where(StagedBatch.batch_id == batch_id))

    def close(self) -> None:
        self.api.http.close()


def says(answer: Answer, code: int, message: str, signed_by: str, *names: str) -> bool:
    """Whether an answer is this one, with exactly these fields."""
    got = (answer.code, answer.payload["message"], answer.signed_by, list(answer.payload))
    assert got == (code, message, signed_by, ["code", "message", *names, "timestamp"])
    return True


def fresh(name: str = "key") -> str:
    """A license key that nobody has."""
    return f"{name}-{uuid4().hex}"


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


# Update.


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_all_documented_fields_of_a_license_key_can_be_changed(shop: Shop, base: str, encoding: Encoding) -> None:
    key = fresh()
    shop.store(key)
    before = shop.row(key)
    fields = {
        "license_key": f" {key} ",
        "product_id": shop.id,
        "activation_limit": 7,
        "validity": 30,
        "status": "assigned",
        "owner_name": "Ada",
        "owner_email": "ada@example.com",
        "assigned_at": "2024-02-27 03:05:31",
    }
    assert says(
        shop.post("update-license-key", fields, encoding=encoding, base=base), 950, "License keys updated", "product"
    )
    after = shop.row(key)
    assert after == {
        "id": before["id"],
        **{name: value for name, value in fields.items() if name != "license_key"},
        "license_key": key,
        "created_at": before["created_at"],
        "updated_at": after["updated_at"],
    }


@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        ({"activation_limit": "9"}, "activation_limit", 9),
        ({"activation_limit": "-1"}, "activation_limit", 0),
        ({"validity": "3"}, "validity", 3),
        ({"validity_days": "4"}, "validity", 4),
        ({"owner_name": "é/日本😀"}, "owner_name", "é/日本😀"),
        ({"customer_name": "C"}, "owner_name", "C"),
        ({"owner_email": "o@example.com"}, "owner_email", "o@example.com"),
        ({"customer_email": "c@example.com"}, "owner_email", "c@example.com"),
        ({"assigned_at": "2000-02-29 23:59:59"}, "assigned_at", "2000-02-29 23:59:59"),
        ({"status": "blocked"}, "status", "blocked"),
        ({"status": "", "owner_name": " ", "validity": ""}, "status", "assigned"),
    ],
)
def test_what_is_absent_stays_as_it_is(shop: Shop, change: dict[str, str], name: str, value: object) -> None:
    key = fresh()
    terms = {"activation_limit": 2, "validity": 10, "assigned_at": "2024-01-01 00:00:00"}
    shop.store(key, status="assigned", owner_name="N", owner_email="e@example.com", **terms)
    before = shop.row(key)
    assert shop.post("update-license-key", {"entitlement_key": key, **change}).code == 950
    after = shop.row(key)
    assert after == {**before, name: value, "updated_at": after["updated_at"]}


@pytest.mark.parametrize("origin", STATES)
@pytest.mark.parametrize("target", STATES)
def test_a_license_key_moves_from_every_state_to_every_other_save_from_revoked(
    shop: Shop, origin: str, target: str
) -> None:
    key = fresh()
    shop.store(key, status=origin)
    answer = shop.post("update-license-key", {"license_key": key, "status": target, "validity": 5})
    if origin == target or origin != "revoked":
        assert says(answer, 950, "License keys updated", "product")
        now, validity = target, 5
    else:
        assert says(answer, 951, "Incorrect data found", "global", "errors")
        assert answer.errors == {"status": ["The selected status is invalid."]}
        now, validity = origin, 0
    assert [state for state in STATES if key in shop.names(status=state)] == [now]
    row = shop.row(key)
    assert row["status"] == ("blocked" if now in ("suspended", "revoked") else now)
    assert row["validity"] == validity
    assert (row["assigned_at"] is not None) == (
        now == "assigned" or (origin == "assigned" and row["status"] == "blocked")
    )


def test_a_block_that_is_asked_for_again_does_not_lift_a_revocation(shop: Shop) -> None:
    key = fresh()
    shop.store(key, status="revoked")
    assert shop.post("update-license-key", {"license_key": key, "status": "blocked"}).code == 950
    assert key in shop.names(status="revoked")
    refused = shop.post("update-license-key", {"license_key": key, "status": "suspended"})
    assert (refused.code, list(refused.errors)) == (951, ["status"])
    assert shop.post("update-license-key", {"license_key": key, "owner_name": "still editable"}).code == 950
    assert key in shop.names(status="revoked")


def in_use(shop: Shop, **terms: Any) -> str:
    """A license key that is assigned, and active on `pc-1`."""
    key = fresh()
    shop.store(key, status="assigned", owner_name="Ada", owner_email="ada@example.com", **terms)
    assert shop.post("activate", {"license_key": key, "identifier": "pc-1"}).code == 300
    return key


def verified(shop: Shop, key: str) -> int | str:
    return shop.post("verify", {"license_key": key, "identifier": "pc-1"}).code


@pytest.mark.parametrize("status", ["available", "reserved"])
def test_what_is_nobodys_again_forgets_its_owner_and_its_activations(shop: Shop, status: str) -> None:
    key = in_use(shop)
    assert verified(shop, key) == 200
    assert shop.post("update-license-key", {"license_key": key, "status": status}).code == 950
    row = shop.row(key)
    assert [row[name] for name in ("status", "owner_name", "owner_email", "assigned_at")] == [status, None, None, None]
    assert verified(shop, key) == 201
    assert shop.post("assign-license-key", {"license_key": key}).code == 800
    assert verified(shop, key) == 202


def test_a_suspension_ends_no_activation_a_revocation_does(shop: Shop) -> None:
    key = in_use(shop)
    start = shop.row(key)["assigned_at"]
    for status, code in (("suspended", 204), ("assigned", 200), ("blocked", 204), ("assigned", 200)):
        assert shop.post("update-license-key", {"license_key": key, "status": status}).code == 950
        assert verified(shop, key) == code
    row = shop.row(key)
    assert (row["assigned_at"], row["owner_name"]) == (start, "Ada")
    assert active_identifiers(shop, key) == ["pc-1"]
    assert shop.post("update-license-key", {"license_key": key, "status": "revoked"}).code == 950
    assert verified(shop, key) == 204
    assert active_identifiers(shop, key) == []


def active_identifiers(shop: Shop, key: str) -> list[str]:
    def read(session: Session) -> list[str]:
        row = store.find(session, key, scope=EVERYTHING)
        assert row is not None
        return [activation.identifier for activation in activation_store.active(session, row.id, scope=EVERYTHING)]

    return shop.world.storage.read(read)


def test_ended_activations_are_told_to_who_asked_for_it(shop: Shop) -> None:
    key = fresh()
    shop.store(key, status="assigned")
    place = {"license_key": key, "identifier": "pc-1", "post_url": f"http://127.0.0.1:9/{key}"}
    assert shop.post("activate", place).code == 300
    assert calls(shop, key) == []
    assert shop.post("update-license-key", {"license_key": key, "status": "available"}).code == 950
    assert calls(shop, key) == [f"license_key={key}&identifier=pc-1"]


def calls(shop: Shop, key: str) -> list[str]:
    def read(session: Session) -> list[str]:
        url = f"http://127.0.0.1:9/{key}"
        return [call.body for call in session.query(OutgoingCall).filter(OutgoingCall.url == url)]

    return shop.world.storage.read(read)


def test_a_longer_validity_renews_what_has_expired(new_shop: Shop) -> None:
    key = in_use(new_shop, validity=1, assigned_at="2020-01-01 00:00:00")
    assert verified(new_shop, key) == 200
    assert new_shop.post("update-product", {"product_id": new_shop.id, "require_non_expired": 1}).code == 650
    assert verified(new_shop, key) == 205
    for validity, code in ((100_000, 200), (2, 205), (0, 200)):
        assert new_shop.post("update-license-key", {"license_key": key, "validity_days": validity}).code == 950
        assert verified(new_shop, key) == code
    assert new_shop.row(key)["assigned_at"] == "2020-01-01 00:00:00"


def test_fewer_activations_than_there_are_end_none(shop: Shop) -> None:
    key = in_use(shop)
    assert shop.post("activate", {"license_key": key, "identifier": "pc-2"}).code == 300
    assert shop.post("update-license-key", {"license_key": key, "activation_limit": 1}).code == 950
    assert active_identifiers(shop, key) == ["pc-1", "pc-2"]
    assert shop.post("activate", {"license_key": key, "identifier": "pc-3"}).code == 302


def test_a_start_of_validity_is_only_kept_where_there_is_an_owner(shop: Shop) -> None:
    key = fresh()
    shop.store(key)
    moment = "2024-02-27 03:05:31"
    assert shop.post("update-license-key", {"license_key": key, "assigned_at": moment}).code == 950
    assert shop.row(key)["assigned_at"] is None
    change = {"license_key": key, "assigned_at": moment, "status": "assigned"}
    assert shop.post("update-license-key", change).code == 950
    assert shop.row(key)["assigned_at"] == moment


def test_metadata_of_any_json_type_is_attached_and_replaced(shop: Shop) -> None:
    key = in_use(shop)
    first = {"text": "é", "int": 5, "float": 1.5, "yes": True, "null": None, "list": [1, "b"], "map": {"x": {}}}
    for metadata in (first, {"text": "new", "more": "/"}):
        answer = shop.post("update-license-key", {"license_key": key, "metadata": metadata}, encoding="json")
        assert says(answer, 950, "License keys updated", "product")
    details = shop.post("get-license-key-details", {"license_key": key, "identifier": "pc-1"})
    assert details.payload["licenseKey"]["meta_data"] == [
        {"key": "text", "value": "new"},
        {"key": "int", "value": "5"},
        {"key": "float", "value": "1.5"},
        {"key": "yes", "value": "true"},
        {"key": "null", "value": "null"},
        {"key": "list", "value": '[1,"b"]'},
        {"key": "map", "value": '{"x":{}}'},
        {"key": "more", "value": "/"},
    ]


def test_a_license_key_moves_to_another_product_whose_key_signs_from_then_on(world: World, new_shop: Shop) -> None:
    other = Shop(world)
    key = fresh()
    new_shop.store(key)
    change = {"license_key": key, "product_uuid": other.slug}
    assert says(other.post("update-license-key", change), 950, "License keys updated", "product")
    assert (new_shop.names(), other.names()) == ([], [key])
    assert (new_shop.count(), other.count()) == (0, 1)
    assert says(other.post("delete-license-key", {"license_key": key}), 850, "License key deleted", "product")
    other.close()


INTEGER = "The {} field must be an integer."
TOO_LONG = "The {} field must not be greater than 255 characters."
BAD_CHANGES: list[tuple[dict[str, object], dict[str, list[str]]]] = [
    ({"license_key": ""}, {"license_key": ["The license key field is required."]}),
    ({"license_key": "x" * 256}, {"license_key": [TOO_LONG.format("license key")]}),
    ({"license_key": []}, {"license_key": ["The license key field must be a string."]}),
    ({"status": "active"}, {"status": ["The selected status is invalid."]}),
    ({"status": "Assigned"}, {"status": ["The selected status is invalid."]}),
    ({"status": ["assigned"]}, {"status": ["The selected status is invalid."]}),
    ({"product_id": 10**9}, {"product_id": ["The selected product id is invalid."]}),
    ({"product_id": UNKNOWN_UUID}, {"product_id": ["The selected product id is invalid."]}),
    ({"product_id": "deleted"}, {"product_id": ["The selected product id is invalid."]}),
    ({"product_uuid": "a b"}, {"product_id": ["The product id field must be an integer or a UUID."]}),
    ({"activation_limit": "1.5"}, {"activation_limit": [INTEGER.format("activation limit")]}),
    ({"activation_limit": -2}, {"activation_limit": ["The activation limit field must be at least 0."]}),
    (
        {"activation_limit": 2**31},
        {"activation_limit": ["The activation limit field must not be greater than 2147483647."]},
    ),
    ({"validity_days": True}, {"validity": [INTEGER.format("validity")]}),
    ({"validity": -1}, {"validity": ["The validity field must be at least 0."]}),
    ({"validity": 1_000_001}, {"validity": ["The validity field must not be greater than 1000000."]}),
    ({"owner_name": "x" * 256}, {"owner_name": [TOO_LONG.format("owner name")]}),
    ({"owner_email": {}}, {"owner_email": ["The owner email field must be a string."]}),
    ({"owner_email": "a\ud800"}, {"owner_email": ["The owner email field must be a string."]}),
    (
        {"assigned_at": "2024-02-30 00:00:00"},
        {"assigned_at": ["The assigned at field must match the format Y-m-d H:i:s."]},
    ),
    ({"assigned_at": "2024-02-27"}, {"assigned_at": ["The assigned at field must match the format Y-m-d H:i:s."]}),
    ({"metadata": "text"}, {"metadata": ["The metadata field must be an array."]}),
    ({"metadata": {"": "x"}}, {"metadata": ["The selected metadata is invalid."]}),
    ({"metadata": {"a": ""}}, {"metadata": ["The selected metadata is invalid."]}),
    ({"metadata": {"a\ud800": "x"}}, {"metadata": ["The selected metadata is invalid."]}),
    ({"metadata": {"a": {"b": "\ud800"}}}, {"metadata": ["The selected metadata is invalid."]}),
    ({"metadata": {"x" * 256: "x"}}, {"metadata": ["The selected metadata is invalid."]}),
    (
        {"license_key": None, "status": "x", "validity": "y", "product_id": "/", "activation_limit": "z"},
        {
            "license_key": ["The license key field is required."],
            "product_id": ["The product id field must be an integer or a UUID."],
            "activation_limit": [INTEGER.format("activation limit")],
            "validity": [INTEGER.format("validity")],
            "status": ["The selected status is invalid."],
        },
    ),
]


@pytest.mark.parametrize(("change", "errors"), BAD_CHANGES, ids=lambda value: ascii(value)[:40])
def test_a_bad_change_changes_nothing(shop: Shop, change: dict[str, object], errors: dict[str, list[str]]) -> None:
    key = fresh()
    shop.store(key)
    before = shop.row(key)
    answer = shop.post("update-license-key", {"license_key": key, "owner_name": "new", **change}, encoding="json")
    assert says(answer, 951, "Incorrect data found", "global", "errors")
    assert answer.errors == errors
    assert shop.row(key) == before


def test_a_license_key_that_is_not_there_cannot_be_changed_or_deleted(shop: Shop) -> None:
    staged = fresh()
    batch_id = shop.stage(staged)
    for key in (fresh(), staged):
        unknown = shop.post("update-license-key", {"license_key": key, "status": "assigned"})
        assert says(unknown, 952, "License key not found", "global")
        assert says(shop.post("delete-license-key", {"license_key": key}), 851, "License key not found", "global")
    shop.unstage(batch_id)
    assert shop.post("update-license-key", {"license_key": staged, "status": "assigned"}).code == 950


# Delete.


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_deleted_license_key_is_gone_but_its_text_stays_taken(shop: Shop, base: str, encoding: Encoding) -> None:
    key = in_use(shop)
    kept = fresh()
    shop.store(kept)
    deleted = shop.post("delete-license-key", {"license_key": key}, encoding=encoding, base=base)
    assert says(deleted, 850, "License key deleted", "product")
    again = shop.post("delete-license-key", {"entitlement_key": key}, encoding=encoding, base=base)
    assert says(again, 851, "License key not found", "global")
    names = shop.names()
    assert kept in names
    assert key not in names
    assert verified(shop, key) == 210
    assert shop.post("update-license-key", {"license_key": key, "status": "available"}).code == 952
    assert shop.post("assign-license-key", {"license_key": key}).code == 801
    fields = {"license_keys": json.dumps([key]), "product_id": shop.id, "activation_limit": 0, "validity": 0}
    stored = shop.post("create-license-keys", {**fields, "status": "available"})
    assert (stored.code, stored.payload["created"], stored.payload["duplicate"]) == (900, 0, 1)


def test_deleting_ends_activations_and_has_them_told(shop: Shop) -> None:
    key = fresh()
    shop.store(key, status="assigned")
    place = {"license_key": key, "identifier": "pc-1", "post_url": f"http://127.0.0.1:9/{key}"}
    assert shop.post("activate", place).code == 300
    assert shop.post("delete-license-key", {"license_key": key}).code == 850
    assert calls(shop, key) == [f"license_key={key}&identifier=pc-1"]


@pytest.mark.parametrize("fields", [{}, {"license_key": ""}, {"license_key": []}, {"license_key": "x" * 256}])
def test_a_license_key_that_is_not_named_is_not_found(shop: Shop, fields: dict[str, object]) -> None:
    answer = shop.post("delete-license-key", fields, encoding="json")
    assert says(answer, 851, "License key not found", "global")


# List.


@pytest.mark.parametrize("base", BASES)
def test_the_list_has_the_documented_fields_in_the_documented_order(new_shop: Shop, base: str) -> None:
    new_shop.store(fresh(), status="reserved")
    new_shop.store(
        fresh(), status="assigned", owner_name="N", owner_email="e@example.com", assigned_at="2024-02-27 03:05:31"
    )
    answer = new_shop.get("get-license-keys", {"product_id": new_shop.id}, base=base)
    assert says(answer, 730, "License keys", "global", "license_keys")
    owned, unowned = sorted(answer.payload["license_keys"], key=lambda row: str(row["status"]))
    for row in (unowned, owned):
        assert list(row) == list(ROW)
        assert re.fullmatch(ISO, row["created_at"])
        assert re.fullmatch(ISO, row["updated_at"])
    assert {name: type(value) for name, value in owned.items()} == ROW
    assert {name: value for name, value in unowned.items() if value is None} == dict.fromkeys(MAY_BE_NULL)
    assert owned["assigned_at"] == "2024-02-27 03:05:31"


def test_a_list_comes_in_pages_of_ten_and_in_a_stable_order(new_shop: Shop) -> None:
    new_shop.store(*(fresh() for _ in range(25)))
    rows = new_shop.rows()
    ids = [row["id"] for row in rows]
    assert (len(set(ids)), ids) == (25, sorted(ids))
    touched = {"license_key": rows[3]["license_key"], "owner_name": "touched"}
    assert new_shop.post("update-license-key", touched).code == 950
    query = {"product_id": new_shop.id}
    pages = [new_shop.get("get-license-keys", {**query, "page": page}).payload["license_keys"] for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    assert [row["id"] for page in pages for row in page] == ids
    assert new_shop.get("get-license-keys", query).payload["license_keys"] == pages[0]
    assert [row["id"] for row in new_shop.rows(per_page=1, page=7)] == [ids[6]]
    assert [row["id"] for row in new_shop.rows(per_page=" 020 ", page="2")] == ids[20:]
    assert new_shop.rows(page=2**31 - 1) == []


@pytest.mark.parametrize("name", ["product_id", "product_uuid", "productId", "product_slug"])
def test_a_list_can_be_narrowed(new_shop: Shop, name: str) -> None:
    by_status = {status: fresh(status) for status in ("available", "assigned", "reserved", "suspended", "revoked")}
    for status, key in by_status.items():
        new_shop.store(key, status=status, owner_email=f"{status}@example.com")
    product = new_shop.world.product(new_shop.slug)
    for reference in (product.id, product.uuid, product.uuid.upper(), product.slug):
        answer = new_shop.get("get-license-keys", {name: reference})
        assert {row["license_key"] for row in answer.payload["license_keys"]} == set(by_status.values())
    for status, key in by_status.items():
        assert new_shop.names(status=status) == [key]
        assert new_shop.names(owner_email=f"{status}@example.com") == [key]
    assert set(new_shop.names(status="blocked")) == {by_status["suspended"], by_status["revoked"]}
    assert new_shop.names(customer_email="reserved@example.com", status="reserved") == [by_status["reserved"]]
    assert new_shop.names(customer_email="reserved@example.com", status="assigned") == []
    assert new_shop.names(owner_email="nobody@example.com") == []


def test_an_owner_is_found_in_all_products(shop: Shop) -> None:
    key, email = fresh(), f"{uuid4().hex}@example.com"
    shop.store(key, status="assigned", owner_email=email)
    rows = shop.get("get-license-keys", {"owner_email": email}).payload["license_keys"]
    assert [row["license_key"] for row in rows] == [key]


@pytest.mark.parametrize("product", ["999999", "0", UNKNOWN_UUID, "no-such-product", "deleted", str(2**63), "9" * 40])
def test_an_unknown_product_has_no_license_keys(shop: Shop, product: str) -> None:
    answer = shop.get("get-license-keys", {"product_id": product})
    assert says(answer, 730, "License keys", "global", "license_keys")
    assert answer.payload["license_keys"] == []


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ({"status": "active"}, {"status": ["The selected status is invalid."]}),
        ({"product_id": "a b"}, {"product_id": ["The product id field must be an integer or a UUID."]}),
        ({"page": "0"}, {"page": ["The page field must be at least 1."]}),
        ({"page": "one"}, {"page": ["The page field must be an integer."]}),
        ({"page": "9" * 30}, {"page": ["The page field must not be greater than 2147483647."]}),
        ({"per_page": "0"}, {"per_page": ["The per page field must be at least 1."]}),
        ({"per_page": "1001"}, {"per_page": ["The per page field must not be greater than 1000."]}),
        ({"owner_email": "a\x00"}, {"owner_email": ["The owner email field must be a string."]}),
        ({"owner_email": "x" * 256}, {"owner_email": [TOO_LONG.format("owner email")]}),
        (
            {"per_page": "x", "page": "-1", "status": "none"},
            {
                "status": ["The selected status is invalid."],
                "page": ["The page field must be at least 1."],
                "per_page": ["The per page field must be an integer."],
            },
        ),
    ],
)
def test_a_list_that_cannot_be_meant(shop: Shop, query: dict[str, str], errors: dict[str, list[str]]) -> None:
    answer = shop.get("get-license-keys", query)
    assert says(answer, 901, "Incorrect data found", "global", "errors")
    assert answer.errors == errors


# Count.


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", ["product_id", "product_uuid", "productId", "product_slug"])
def test_the_count_leaves_out_what_cannot_be_had(new_shop: Shop, base: str, name: str) -> None:
    deleted, staged = fresh(), fresh()
    new_shop.store(fresh(), fresh(), fresh(), deleted)
    for status in ("assigned", "reserved", "suspended", "revoked"):
        new_shop.store(fresh(), status=status)
    batch_id = new_shop.stage(staged)
    assert new_shop.post("delete-license-key", {"license_key": deleted}).code == 850
    product = new_shop.world.product(new_shop.slug)
    for reference in (product.id, product.uuid, product.slug):
        answer = new_shop.get("get-available-license-keys-count", {name: reference}, base=base)
        assert says(answer, 741, "Available license keys count", "global", "count")
        assert answer.payload["count"] == 3
    assert staged not in new_shop.names()
    new_shop.unstage(batch_id)
    assert new_shop.count() == 4
    assert staged in new_shop.names()


def test_the_count_can_be_narrowed_to_a_generator(new_shop: Shop) -> None:
    mine = add_generator(new_shop.world.services, new_shop.id, Recipe("uuid"))
    add_generator(new_shop.world.services, new_shop.id, Recipe("uuid"))
    new_shop.store(fresh())
    assert new_shop.post("generate", {"generator_id": mine, "quantity": 2}).code == 815
    assert new_shop.count() == 3
    assert new_shop.count(generator_uuid=mine) == new_shop.count(generator_id=mine) == 2
    for unknown in (mine + 1, 10**9, UNKNOWN_UUID, new_shop.world.generators["other"]):
        assert new_shop.count(generator_id=unknown) == 0


@pytest.mark.parametrize("product", ["999999", "0", UNKNOWN_UUID, "no-such-product", "deleted", str(2**63)])
def test_an_unknown_product_is_not_counted(shop: Shop, product: str) -> None:
    answer = shop.get("get-available-license-keys-count", {"product_id": product})
    assert says(answer, 740, "Product doesn't exist", "global")


@pytest.mark.parametrize("query", [{}, {"product_id": ""}, {"product_id": "a b"}, {"product_id": "1.0"}])
def test_a_product_that_is_not_named_is_not_counted(shop: Shop, query: dict[str, str]) -> None:
    answer = shop.get("get-available-license-keys-count", query)
    assert says(answer, 740, "Product doesn't exist", "global", "errors")
    assert list(answer.errors) == ["product_id"]


# Who may.


def test_a_limited_key_acts_on_its_products_only(new_shop: Shop) -> None:
    key = fresh()
    new_shop.store(key)
    foreign, own = "other product", new_shop.own_key
    assert new_shop.post("update-license-key", {"license_key": key, "status": "revoked"}, foreign).code == 952
    assert new_shop.post("delete-license-key", {"license_key": key}, foreign).code == 851
    assert new_shop.get("get-license-keys", {"product_id": new_shop.id}, foreign).payload["license_keys"] == []
    assert new_shop.get("get-available-license-keys-count", {"product_id": new_shop.id}, foreign).code == 740
    rows = new_shop.get("get-license-keys", {"per_page": 1000}, own).payload["license_keys"]
    assert [(row["license_key"], row["status"]) for row in rows] == [(key, "available")]
    away = new_shop.post("update-license-key", {"license_key": key, "product_id": "other"}, own)
    assert (away.code, away.errors) == (951, {"product_id": ["The selected product id is invalid."]})
    assert new_shop.get("get-available-license-keys-count", {"product_id": new_shop.id}, own).payload["count"] == 1
    assert new_shop.post("update-license-key", {"license_key": key, "status": "reserved"}, own).code == 950
    assert new_shop.post("delete-license-key", {"license_key": key}, own).code == 850


def test_each_endpoint_wants_its_ability(new_shop: Shop) -> None:
    key = fresh()
    new_shop.store(key)
    message = "The used API key doesn't have the required capability to access this endpoint"
    fields = {"license_key": key, "product_id": new_shop.id}
    for path in ("update-license-key", "delete-license-key"):
        assert says(new_shop.post(path, fields, "only listing"), 102, message, "global")
    for path in ("get-license-keys", "get-available-license-keys-count"):
        assert says(new_shop.get(path, fields, "only listing"), 102, message, "global")
    assert new_shop.count() == 1


def test_unusable_input_is_refused_and_changes_nothing(shop: Shop) -> None:
    key = fresh()
    shop.store(key)
    before = shop.row(key)
    for value in UNUSABLE:
        for name in ("license_key", "product_id", "status", "assigned_at", "metadata"):
            if (name, value) == ("metadata", {}):
                continue
            answer = shop.post("update-license-key", {"license_key": key, name: value}, encoding="json")
            assert answer.code in ((951, 952) if name == "license_key" else (951,)), (name, value)
        assert shop.post("delete-license-key", {"license_key": value}, encoding="json").code == 851
        assert shop.post("delete-license-key", {"license_key": "", "\ud800": value}, encoding="json").code == 851
    assert shop.row(key) == before
