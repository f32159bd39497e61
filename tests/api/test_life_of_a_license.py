"""The life of one license key, from its making to its end, as a vendor and a customer see it (protocol.md 4, 6)."""

from typing import Any

import pytest
from tests.conftest import SAMPLE_KEY
from tests.support.api import Answer, Api
from tests.support.world import add_api_key

from hanaper.web.services import Services


class Vendor:
    """Calls endpoints with an API key."""

    def __init__(self, api: Api, api_key: str = SAMPLE_KEY) -> None:
        self.api = api
        self.api_key = api_key

    def post(self, endpoint: str, /, **fields: Any) -> Answer:
        answer = self.api.post(f"/api/v1/{endpoint}", {"api_key": self.api_key, **fields})
        assert answer.status == 200, answer.payload
        return answer

    def get(self, endpoint: str, /, **query: Any) -> Answer:
        answer = self.api.get(f"/api/v1/{endpoint}", {"api_key": self.api_key, **query})
        assert answer.status == 200, answer.payload
        return answer


def seen(answer: Answer) -> tuple[int | str, str]:
    return answer.code, answer.signed_by


@pytest.mark.also_in_token
def test_the_life_of_a_license_key(api: Api) -> None:
    vendor = Vendor(api)
    key = vendor.post("generate", generator_id=1, quantity=1).payload["licenseKeys"][0]
    used = {"license_key": key, "identifier": "shop.example"}

    assert seen(vendor.post("verify", **used)) == (201, "product")
    assert seen(vendor.post("activate", **used)) == (201, "product")
    assert vendor.get("get-available-license-keys-count", product_id=1).payload["count"] == 1

    assert seen(vendor.post("assign-license-key", license_key=key, email="a@example.com")) == (800, "global")
    assert seen(vendor.post("assign-license-key", license_key=key)) == (801, "global")
    assert vendor.get("get-available-license-keys-count", product_id=1).payload["count"] == 0
    assert seen(vendor.post("verify", **used)) == (202, "product")
    assert seen(vendor.post("verify", license_key=key)) == (215, "product")
    assert seen(vendor.post("deactivate", **used)) == (401, "product")

    assert seen(vendor.post("activate", **used)) == (300, "product")
    assert seen(vendor.post("activate", **used)) == (301, "product")
    assert seen(vendor.post("verify", **used)) == (200, "product")
    assert seen(vendor.post("verify", license_key="no such key", identifier="x")) == (210, "global")

    created = vendor.post("create-license-key-meta", license_key=key, key="seats", value="5")
    assert seen(created) == (453, "product")
    updated = vendor.post("update-license-key-meta", license_key=key, key="seats", value="6")
    assert updated.payload["meta_id"] == created.payload["meta_id"]
    details = vendor.post("get-license-key-details", **used)
    assert seen(details) == (500, "product")
    assert details.payload["licenseKey"]["meta_data"] == [{"key": "seats", "value": "6"}]
    assert details.payload["licenseKey"]["expires_at"] is False
    assert details.payload["product"]["id"] == 1
    assert seen(vendor.post("delete-license-key-meta", license_key=key, key="seats")) == (252, "product")

    assert seen(vendor.post("update-license-key", license_key=key, status="blocked")) == (950, "product")
    assert seen(vendor.post("verify", **used)) == (204, "product")
    assert seen(vendor.post("update-license-key", license_key=key, status="assigned", validity=30)) == (950, "product")
    assert seen(vendor.post("verify", **used)) == (200, "product")

    assert seen(vendor.post("deactivate", **used)) == ("400", "global")
    assert seen(vendor.post("verify", **used)) == (202, "product")
    assert seen(vendor.post("update-license-key", license_key=key, status="revoked")) == (950, "product")
    assert vendor.post("update-license-key", license_key=key, status="assigned").errors == {
        "status": ["The selected status is invalid."]
    }
    listed = vendor.get("get-license-keys", product_id=1).payload["license_keys"]
    assert [row["license_key"] for row in listed] == [key]
    assert seen(vendor.post("delete-license-key", license_key=key)) == (850, "product")
    assert seen(vendor.post("delete-license-key", license_key=key)) == (851, "global")
    assert seen(vendor.post("verify", **used)) == (210, "global")


@pytest.mark.also_in_token
def test_the_life_of_a_product(api: Api, services: Services) -> None:
    vendor = Vendor(api, add_api_key(services))
    created = vendor.post(
        "create-product", source="internal", name="Deski", description="d", require_non_expired=1, status="active"
    )
    assert seen(created) == (750, "global")
    product_id = created.payload["product_id"]
    public_key = vendor.get("get-product-public-key", product_id=product_id).payload["public_key"]
    vendor = Vendor(api.for_product(public_key), vendor.api_key)
    assert seen(vendor.post("update-product", product_id=product_id, name="Deski 2")) == (650, "global")
    assert vendor.post("create-product-meta", product_id=product_id, key="k", value="v").code == 273
    row = vendor.get("get-all-products").payload["products"][-1]
    assert (row["name"], row["meta_data"]) == ("Deski 2", [{"key": "k", "value": "v"}])
    assert vendor.get("get-product", product_id=product_id).payload["product"]["slug"] == "deski"
    stored = vendor.post(
        "create-license-keys",
        license_keys='["a","b","a"]',
        product_id=product_id,
        activation_limit=1,
        validity=0,
        status="available",
    )
    assert (stored.code, stored.payload["created"], stored.payload["duplicate"]) == (900, 2, 1)
    drawn = vendor.post("random-assign-license-keys", product_id=product_id, owner_email="a@example.com", quantity=2)
    assert seen(drawn) == (803, "global")
    assert [row["license_key"] for row in drawn.payload["license_keys"]] == ["a", "b"]
    short = vendor.post("random-assign-license-keys", product_id=product_id, owner_email="a@example.com", quantity=2)
    assert (short.code, short.payload["available_quantity"]) == (802, 0)
    assert vendor.post("delete-product", product_id=product_id).code == 550
    assert vendor.post("delete-product", product_id=product_id).code == 551
    assert vendor.post("verify", license_key="a", identifier="x").code == 210
    vendor.api.http.close()


def test_what_is_missing_is_generated(api: Api) -> None:
    vendor = Vendor(api)
    drawn = vendor.post("random-assign-license-keys", product_id=1, owner_email="a@example.com", quantity=3, generate=1)
    assert drawn.code == 803
    keys = [row["license_key"] for row in drawn.payload["license_keys"]]
    assert len(set(keys)) == 3
    both = vendor.post(
        "create-license-keys",
        licenses="not a list",
    )
    assert both.code == 901
    answer = api.post(
        "/api/v1/create-license-keys",
        {
            "api_key": SAMPLE_KEY,
            "licenses": [{"generator_uuid": 1, "customer_email": "b@example.com"}, {"generator_uuid": "1"}],
        },
        encoding="json",
    )
    assert (answer.code, answer.payload["created"], len(set(answer.payload["license_keys"]))) == (900, 2, 2)
    fresh = answer.payload["license_keys"][1]
    assert (
        vendor.post(
            "assign-and-activate-license-key",
            license_key=fresh,
            identifier="pc-1",
            owner_email="c@example.com",
            owner_name="C",
        ).code
        == 300
    )
    assert vendor.post("verify", license_key=fresh, hardwareId="pc-1").code == 200
