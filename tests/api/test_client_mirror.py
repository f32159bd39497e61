"""The unsigned fifth key that the PHP and JS clients read (protocol.md 9.5)."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.support.api import Answer
from tests.support.registry import (
    CLOSED,
    DEMO,
    ENDPOINTS,
    META,
    STRICT,
    WORDS,
    SetClock,
    Stock,
    another_server,
    code_of,
    stocked,
)
from tests.support.world import BLOCKED_IDENTIFIER, World

from hanaper.clock import utc_now

PHP = "GetKeyManager-PHP-SDK/2.0.0"
JS = "GetKeyManager-JS-SDK/2.0.0"
KEYS = ["response", "response_base64", "private_key_used", "signature"]
MIRRORED = ("verify", "activate", "deactivate")
GOOD = (200, 300, 301, 400, 401)
FEBRUARY = datetime(2024, 2, 27, 3, 5, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def stock(world: World) -> Iterator[Stock]:
    """The clock stands, so that the same answer has the same bytes."""
    with stocked(world) as stock, another_server(stock, SetClock(utc_now())) as other:
        yield other


def posted(
    stock: Stock, endpoint: str, fields: dict[str, Any], user_agent: str, *, product: str = DEMO, api_key: str = ""
) -> httpx.Response:
    desk = stock.desks[product]
    body = json.dumps({"api_key": api_key or desk.api_key, "key": "k", "value": "v", **fields})
    headers = {"Content-Type": "application/json", "User-Agent": user_agent}
    return desk.api.http.post(f"/v1/{endpoint}", content=body, headers=headers)


def is_mirrored(response: httpx.Response) -> bool:
    outer = list(response.json())
    assert outer in (KEYS, [*KEYS, "data"])
    return len(outer) == 5


def mirror(
    stock: Stock, endpoint: str, fields: dict[str, Any], user_agent: str = PHP, *, product: str = DEMO
) -> tuple[Answer, dict[str, Any]]:
    """An answer without its mirror, which is as good as any other, and the mirror."""
    response = posted(stock, endpoint, fields, user_agent, product=product)
    assert is_mirrored(response)
    data: dict[str, Any] = response.json()["data"]
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    signed = httpx.Response(response.status_code, headers=headers, content=without_mirror(response))
    answer = stock.desks[product].api.check(signed)
    assert code_of(answer) == answer.code
    # What holds for every mirror.
    assert type(data["code"]) is int
    assert data["code"] == int(answer.code)
    assert data["message"] == answer.payload["message"] == WORDS[answer.code][0]
    good = data["code"] in GOOD
    assert data["success"] is good
    assert data["valid"] is good
    shown = data["license"]
    assert list(shown) == ["license_key", "status", "expires_at", "features"]
    assert shown["license_key"] == fields.get("license_key", fields.get("entitlement_key", ""))
    assert shown["status"] == ("active" if good else "revoked")
    assert shown["features"] == []
    assert data["data"] == {"valid": good, "license": shown}
    assert list(data["data"]) == ["valid", "license"]
    assert list(data["data"]["license"]) == list(shown)
    shape = ["code", "message", "success", "valid", "license", "activation", "data"]
    assert list(data) == [name for name in shape if name != "activation" or "activation" in data]
    return answer, data


def without_mirror(response: httpx.Response) -> bytes:
    head, cut, _ = response.content.partition(b',"data":{')
    assert cut
    return head + b"}"


# --- its content ---


def test_the_mirror_of_a_valid_license_key(stock: Stock) -> None:
    key = stock.license_key(active=["laptop", "pc"], assigned_at=FEBRUARY, validity=2)
    answer, data = mirror(stock, "verify", {"license_key": key, "identifier": "pc"})
    activation = stock.activations(key)["pc"]
    assert answer.code == 200
    license_ = {"license_key": key, "status": "active", "expires_at": "2024-02-29 03:05:31", "features": []}
    assert data == {
        "code": 200,
        "message": "Valid license key",
        "success": True,
        "valid": True,
        "license": license_,
        "activation": {
            "id": str(activation.id),
            "identifier": "pc",
            "activated_at": activation.activated_at.strftime("%Y-%m-%d %H:%M:%S"),
        },
        "data": {"valid": True, "license": license_},
    }
    assert list(data["activation"]) == ["id", "identifier", "activated_at"]


def test_the_mirror_of_a_license_key_for_ever_has_no_end(stock: Stock) -> None:
    key = stock.license_key(active=["pc"])
    assert mirror(stock, "verify", {"license_key": key, "identifier": "pc"})[1]["license"]["expires_at"] is None


def test_the_mirror_from_the_first_activation_to_the_last_deactivation(stock: Stock) -> None:
    key = stock.license_key(assigned_at=utc_now() - timedelta(days=1), validity=30)
    used = {"license_key": key, "hardwareId": "pc"}
    seen = []
    for endpoint in ("activate", "activate", "verify", "deactivate", "deactivate"):
        answer, data = mirror(stock, endpoint, used, JS)
        activation = stock.activations(key)["pc"]
        assert data["activation"] == {
            "id": str(activation.id),
            "identifier": "pc",
            "activated_at": activation.activated_at.strftime("%Y-%m-%d %H:%M:%S"),
        }
        assert isinstance(data["license"]["expires_at"], str)
        seen.append((answer.code, data["code"]))
    assert seen == [(300, 300), (301, 301), (200, 200), ("400", 400), (401, 401)]


def test_the_mirror_has_no_activation_where_there_never_was_one(stock: Stock) -> None:
    key = stock.license_key()
    answer, data = mirror(stock, "deactivate", {"license_key": key, "identifier": "never"})
    assert answer.code == 401
    assert "activation" not in data


def test_the_mirror_of_a_refusal_shows_a_revoked_license(stock: Stock) -> None:
    """The JS client takes a license that is missing for a valid one."""
    terms: dict[str, Any] = {"assigned_at": utc_now() - timedelta(days=30), "validity": 60}
    expired = {**terms, "validity": 20}
    cases: list[tuple[str, str, dict[str, Any], dict[str, Any], int]] = [
        ("verify", STRICT, {"status": "available", **terms}, {"identifier": "pc"}, 201),
        ("verify", STRICT, terms, {"identifier": "elsewhere"}, 202),
        ("verify", CLOSED, terms, {"identifier": "pc"}, 203),
        ("verify", STRICT, {"status": "blocked", **terms}, {"identifier": "pc"}, 204),
        ("verify", STRICT, expired, {"identifier": "pc"}, 205),
        ("verify", STRICT, {"deleted_at": utc_now(), **terms}, {"identifier": "pc"}, 210),
        ("verify", STRICT, terms, {}, 215),
        ("activate", STRICT, {"status": "reserved", **terms}, {"identifier": "pc"}, 201),
        ("activate", CLOSED, terms, {"identifier": "pc"}, 203),
        ("activate", STRICT, {"status": "blocked", **terms}, {"identifier": "pc"}, 204),
        ("activate", STRICT, expired, {"identifier": "pc"}, 205),
        ("activate", STRICT, {"deleted_at": utc_now(), **terms}, {"identifier": "pc"}, 210),
        ("activate", STRICT, terms, {}, 215),
        ("activate", STRICT, {"activation_limit": 1, **terms}, {"identifier": "elsewhere"}, 302),
        ("deactivate", STRICT, {"deleted_at": utc_now(), **terms}, {"identifier": "pc"}, 210),
        ("deactivate", STRICT, terms, {}, 215),
    ]
    for endpoint, product, columns, fields, code in cases:
        key = stock.license_key(product, active=["pc"], **columns)
        answer, data = mirror(stock, endpoint, {"license_key": key, **fields}, JS, product=product)
        assert (answer.code, data["code"], data["valid"]) == (code, code, False), (endpoint, code)
        assert data["license"]["status"] == "revoked"
        assert data["license"]["expires_at"] is None
        assert "activation" not in data


@pytest.mark.parametrize("name", ["unknown", "é/😀\"'<&>\\", '","data":{"valid":true}', "x" * 255])
def test_the_mirror_shows_the_license_key_that_was_asked_for(stock: Stock, name: str) -> None:
    _, data = mirror(stock, "verify", {"entitlement_key": name, "identifier": "pc"})
    assert data["license"]["license_key"] == name


@pytest.mark.parametrize("value", [[], {}, True, 1.5, None, "", "x" * 300, "a\0", "\ud800"])
def test_the_mirror_of_what_is_no_license_key_names_none(stock: Stock, value: Any) -> None:
    response = posted(stock, "verify", {"license_key": value, "identifier": "pc"}, PHP)
    assert is_mirrored(response)
    assert response.json()["data"]["license"] == {
        "license_key": "",
        "status": "revoked",
        "expires_at": None,
        "features": [],
    }


# --- what is signed ---


@pytest.mark.parametrize("endpoint", MIRRORED)
def test_the_four_signed_keys_are_the_same_byte_for_byte(stock: Stock, endpoint: str) -> None:
    for fields in ({"identifier": "pc"}, {"identifier": "elsewhere"}, {}):
        plain, other = (
            posted(stock, endpoint, {"license_key": stock.license_key(active=["pc"]), **fields}, user_agent)
            for user_agent in ("curl/8", PHP)
        )
        assert not is_mirrored(plain)
        assert is_mirrored(other)
        assert without_mirror(other) == plain.content
        assert other.headers["x-signing-key-id"] == plain.headers["x-signing-key-id"]
        assert (other.status_code, plain.status_code) == (200, 200)


# --- who gets it, and where ---


def test_only_the_clients_that_read_the_mirror_get_it(stock: Stock) -> None:
    fields = {"license_key": stock.license_key(active=["pc"]), "identifier": "pc"}
    known = [PHP, JS, "GetKeyManager-PHP-SDK/3.1.0 (linux)", "GetKeyManager-JS-SDK/", f"{JS} " + "x" * 400]
    unknown = [
        *("", "curl/8.5.0", "python-httpx/0.28", "getkeymanager-php-sdk/2.0.0", "GetKeyManager-PHP-SDK"),
        *(f"Mozilla/5.0 {PHP}", "GetKeyManager-Laravel-SDK/3.2.0", "GetKeyManager-PHP-SDKs/1"),
    ]
    for endpoint in ("verify", "activate"):
        assert [is_mirrored(posted(stock, endpoint, fields, name)) for name in known] == [True] * len(known)
        assert [is_mirrored(posted(stock, endpoint, fields, name)) for name in unknown] == [False] * len(unknown)


def test_only_the_endpoints_whose_answers_the_clients_interpret_have_it(stock: Stock) -> None:
    seen = set()
    for endpoint in ENDPOINTS:
        key = stock.license_key(active=["pc"], meta={} if endpoint == META[0] else {"k": "old"})
        response = posted(stock, endpoint, {"license_key": key, "identifier": "pc"}, PHP)
        assert response.status_code == 200
        if is_mirrored(response):
            seen.add(endpoint)
        # The same where it is refused.
        refused = posted(stock, endpoint, {"license_key": "unknown", "identifier": "pc"}, PHP)
        assert is_mirrored(refused) == (endpoint in seen)
    assert seen == set(MIRRORED)


def test_lists_and_orders_do_not_have_it(stock: Stock) -> None:
    desk = stock.desks[DEMO]
    headers = {"User-Agent": PHP}
    order = {"api_key": desk.api_key, "generator_id": 1, "quantity": 1}
    assert desk.api.check(desk.api.http.post("/v1/generate", json=order, headers=headers)).code == 815
    query = {"api_key": desk.api_key}
    for name, code in (("get-all-generators", 820), ("get-all-products", 810), ("get-license-keys", 730)):
        assert desk.api.get(f"/v1/{name}", query, headers=headers).code == code


@pytest.mark.parametrize("endpoint", MIRRORED)
def test_callers_that_are_refused_get_no_mirror(stock: Stock, world: World, endpoint: str) -> None:
    key = stock.license_key(active=["pc"])
    for api_key, identifier, code in (
        ("nobody", "pc", 100),
        (world.keys["revoked"], "pc", 101),
        (world.keys["only listing"], "pc", 102),
        (world.keys["office"], "pc", 103),
        (world.keys["good"], BLOCKED_IDENTIFIER, 150),
    ):
        fields = {"license_key": key, "identifier": identifier}
        response = posted(stock, endpoint, fields, PHP, api_key=api_key)
        assert code_of(stock.desks[DEMO].api.check(response)) == code


def test_the_operator_can_give_it_to_everybody_or_to_nobody(stock: Stock, world: World) -> None:
    used = {"license_key": stock.license_key(active=["pc"]), "identifier": "pc"}
    for rule, wanted in (("always", True), ("never", False)):
        with another_server(stock, sdk_mirror=rule) as other:
            for user_agent in ("curl/8", "", PHP, JS):
                for endpoint in ("activate", "verify", "deactivate", "deactivate"):
                    assert is_mirrored(posted(other, endpoint, used, user_agent)) is wanted
            for endpoint in ("get-license-key-details", "update-license-key-meta"):
                assert not is_mirrored(posted(other, endpoint, used, PHP))
            refused = posted(other, "verify", used, PHP, api_key=world.keys["revoked"])
            assert code_of(other.desks[DEMO].api.check(refused)) == 101
