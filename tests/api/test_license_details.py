"""POST /get-license-key-details: code 500 and its payload (protocol.md 4.3); the refusals stand in license checks."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from tests.support.api import Answer, Encoding
from tests.support.registry import DEMO, STRICT, SetClock, Stock, another_server, code_of, stocked
from tests.support.world import World

from hanaper.clock import utc_now
from hanaper.products.models import ProductMeta
from hanaper.storage.transactions import Storage

DETAILS = "get-license-key-details"
LICENSE_KEY = {
    "id": int,
    "license_key": str,
    "owner_name": str,
    "owner_email": str,
    "activation_limit": int,
    "validity": int,
    "assigned_at": str,
    "meta_data": list,
    "expires_at": str,
}
PRODUCT = {
    "id": int,
    "external_reference": str,
    "source": str,
    "name": str,
    "post_url": str,
    "description": str,
    "meta_data": list,
}
FEBRUARY = datetime(2024, 2, 27, 3, 5, 31, 999_999, tzinfo=UTC)


@pytest.fixture(scope="module")
def stock(world: World) -> Iterator[Stock]:
    with stocked(world) as stock:
        yield stock


def details(stock: Stock, license_key: str, product: str = DEMO, **how: Any) -> Answer:
    answer = stock.desks[product].ask(DETAILS, {"license_key": license_key, "identifier": "pc"}, **how)
    assert code_of(answer, "licenseKey", "product") == 500
    return answer


@pytest.mark.parametrize("encoding", ["form", "multipart", "json"])
@pytest.mark.parametrize("base", ["/api/v1", "/v1"])
def test_the_details_have_the_documented_fields_in_the_documented_order(
    stock: Stock, encoding: Encoding, base: str
) -> None:
    key = stock.license_key(
        active=["laptop", "pc"],
        ended=["former"],
        meta={"seats": "5", "a": "b/é"},
        owner_name="Ann O'Nym",
        owner_email="ann@example.com",
        activation_limit=3,
        validity=366,
        assigned_at=FEBRUARY,
    )
    payload = details(stock, key, encoding=encoding, base=base).payload
    row = payload["licenseKey"]
    assert {name: type(value) for name, value in row.items()} == LICENSE_KEY
    assert list(row) == list(LICENSE_KEY)
    (stored,) = stock.everything_of(key)[0]
    assert row == {
        "id": stored.id,
        "license_key": key,
        "owner_name": "Ann O'Nym",
        "owner_email": "ann@example.com",
        "activation_limit": 3,
        "validity": 366,
        "assigned_at": "2024-02-27 03:05:31",
        "meta_data": [{"key": "seats", "value": "5"}, {"key": "a", "value": "b/é"}],
        "expires_at": "2025-02-27 03:05:31",
    }
    assert [list(pair) for pair in row["meta_data"]] == [["key", "value"]] * 2
    assert {name: type(value) for name, value in payload["product"].items()} == PRODUCT
    assert list(payload["product"]) == list(PRODUCT)


def test_what_there_is_not_is_null_false_or_empty(stock: Stock) -> None:
    row = details(stock, stock.license_key(active=["pc"], assigned_at=FEBRUARY)).payload["licenseKey"]
    assert row["owner_name"] is None
    assert row["owner_email"] is None
    assert row["expires_at"] is False
    assert row["meta_data"] == []
    assert type(row["activation_limit"]) is type(row["validity"]) is int
    assert (row["activation_limit"], row["validity"]) == (0, 0)
    assert row["assigned_at"] == "2024-02-27 03:05:31"


@pytest.mark.parametrize(
    ("validity", "expires_at"),
    [(1, "2024-02-28 03:05:31"), (3, "2024-03-01 03:05:31"), (1_000_000, "4762-01-24 03:05:31"), (2**31 - 1, False)],
)
def test_the_end_of_the_validity_is_days_of_24_hours_after_the_assignment(
    stock: Stock, validity: int, expires_at: object
) -> None:
    key = stock.license_key(active=["pc"], assigned_at=FEBRUARY, validity=validity)
    assert details(stock, key).payload["licenseKey"]["expires_at"] == expires_at


def test_a_license_key_without_a_moment_of_assignment_never_expires(stock: Stock) -> None:
    row = details(stock, stock.license_key(active=["pc"], assigned_at=None, validity=5)).payload["licenseKey"]
    assert row["assigned_at"] is None
    assert row["expires_at"] is False


def test_the_moments_are_in_utc_wherever_they_were_written(stock: Stock) -> None:
    from_elsewhere = datetime.fromisoformat("2024-02-27T05:05:31+02:00")
    row = details(stock, stock.license_key(active=["pc"], assigned_at=from_elsewhere, validity=1)).payload["licenseKey"]
    assert (row["assigned_at"], row["expires_at"]) == ("2024-02-27 03:05:31", "2024-02-28 03:05:31")


def test_the_product_is_described_as_it_is(stock: Stock) -> None:
    def attach(*pairs: tuple[str, str]) -> None:
        stock.storage.write(
            lambda session: session.add_all(
                ProductMeta(
                    product_id=stock.products[STRICT], key=key, value=value, created_at=utc_now(), updated_at=utc_now()
                )
                for key, value in pairs
            )
        )

    key = stock.license_key(STRICT, active=["pc"])
    product = details(stock, key, STRICT).payload["product"]
    assert product["id"] == stock.products[STRICT]
    assert product["name"].startswith("Strict-")
    assert [product[name] for name in list(PRODUCT) if name not in ("id", "name")] == ["", "internal", "", "", []]

    columns = {
        "external_reference": "12345",
        "source": "envato",
        "name": "Größe <b>",
        "post_url": "https://vendor.example/ended",
        "description": "first\nsecond",
    }
    stock.change_product(STRICT, **columns)
    attach(("z", "1"), ("a", ""))
    assert details(stock, key, STRICT).payload["product"] == {
        "id": stock.products[STRICT],
        **columns,
        "meta_data": [{"key": "z", "value": "1"}, {"key": "a", "value": ""}],
    }


def test_the_metadata_are_those_of_the_license_key(stock: Stock) -> None:
    stock.license_key(active=["pc"], meta={"other": "x"})
    key = stock.license_key(active=["pc"], meta={"own": "y"})
    assert details(stock, key).payload["licenseKey"]["meta_data"] == [{"key": "own", "value": "y"}]


def test_looking_changes_nothing(stock: Stock) -> None:
    key = stock.license_key(active=["pc"], ended=["former"], meta={"k": "v"})
    before = stock.everything_of(key)
    details(stock, key)
    for fields in ({"identifier": "former"}, {"identifier": "never"}, {}):
        code = 202 if fields else 215
        assert code_of(stock.desks[DEMO].ask(DETAILS, {"license_key": key, **fields})) == code
    assert stock.everything_of(key) == before


@pytest.mark.parametrize("name", ["hardwareId", "hardware_id", "domain", "hwid", "server_domain"])
def test_the_other_names_of_the_fields_are_understood(stock: Stock, name: str) -> None:
    key = stock.license_key(active=["pc"])
    answer = stock.desks[DEMO].ask(DETAILS, {"entitlement_key": key, name: "pc"})
    assert code_of(answer, "licenseKey", "product") == 500
    assert answer.payload["licenseKey"]["license_key"] == key


def test_the_timestamp_is_the_moment_of_the_answer(stock: Stock) -> None:
    clock = SetClock(utc_now() - timedelta(seconds=100))
    with another_server(stock, clock) as other:
        key = other.license_key(active=["pc"])
        assert details(other, key).payload["timestamp"] == int(clock.now.timestamp())


def test_a_product_that_is_deleted_meanwhile_takes_its_license_keys_along(stock: Stock) -> None:
    """Between two statements of one request: PostgreSQL shows the second what was committed since the first."""
    with another_server(stock) as other, Storage.open(stock.services.settings) as elsewhere:
        key = other.license_key(STRICT, active=["pc"])
        from_elsewhere = replace(other, services=replace(other.services, storage=elsewhere))
        deleted: list[str] = []

        def delete(*arguments: Any) -> None:
            if re.search(r"\bFROM activations\b", arguments[2]) and not deleted:
                deleted.append(arguments[2])
                from_elsewhere.change_product(STRICT, deleted_at=utc_now())

        event.listen(other.storage.engine, "after_cursor_execute", delete)
        try:
            answer = other.desks[STRICT].ask(DETAILS, {"license_key": key, "identifier": "pc"})
        finally:
            stock.change_product(STRICT, deleted_at=None)
        assert deleted
        # SQLite reads all of it before, or none.
        assert answer.code in (210, 500)
        assert code_of(answer, *(["licenseKey", "product"] if answer.code == 500 else []))
