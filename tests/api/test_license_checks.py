"""POST /verify, /activate and /deactivate, and what all endpoints for one license key check (protocol.md 4.3, 6)."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import chain, combinations
from typing import Any
from uuid import uuid4

import pytest
from tests.support.api import Encoding
from tests.support.registry import (
    CLOSED,
    DEMO,
    ENDPOINTS,
    META,
    STRICT,
    SetClock,
    Stock,
    Wanted,
    another_server,
    code_of,
    stocked,
)
from tests.support.world import BLOCKED_IDENTIFIER, ONCE_BLOCKED_IDENTIFIER, World, add_api_key, revoke

from hanaper.access import abilities, manage
from hanaper.access.models import BlockedEntry
from hanaper.clock import utc_now
from hanaper.storage import configuration
from hanaper.storage.session import Session

ENCODINGS: tuple[Encoding, ...] = ("form", "multipart", "json")
IDENTIFIERS = ("identifier", "hardwareId", "hardware_id", "domain", "hwid", "server_domain")
LONG_AGO = datetime(2020, 2, 29, 12, tzinfo=UTC)
PAIR = {"key": "k", "value": "v"}
SUCCESS: dict[str, int | str] = {
    "verify": 200,
    "activate": 301,
    "deactivate": "400",
    "get-license-key-details": 500,
    "create-license-key-meta": 453,
    "update-license-key-meta": 353,
    "delete-license-key-meta": 252,
}
PAYLOAD: dict[int | str, tuple[str, ...]] = {500: ("licenseKey", "product"), 453: ("meta_id",), 353: ("meta_id",)}


@pytest.fixture(scope="module")
def stock(world: World) -> Iterator[Stock]:
    with stocked(world) as stock:
        yield stock


def asked(stock: Stock, endpoint: str, fields: dict[str, Any], *, product: str = DEMO, **how: Any) -> int | str:
    """The code of an answer, all of which is as documented."""
    answer = stock.desks[product].ask(endpoint, {**PAIR, **fields}, **how)
    return code_of(answer, *PAYLOAD.get(answer.code, ()))


def in_order(stock: Stock, endpoint: str, product: str | int = DEMO, **columns: Any) -> str:
    """A license key for which the endpoint answers with success, on the identifier "pc"."""
    meta = {} if endpoint == "create-license-key-meta" else {"k": "old"}
    return stock.license_key(product, active=["pc"], meta=meta, **columns)


# --- what is documented ---


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("base", ["/api/v1", "/v1"])
def test_a_license_key_is_activated_verified_and_deactivated(stock: Stock, encoding: Encoding, base: str) -> None:
    used = {"license_key": stock.license_key(), "identifier": "shop.example"}
    seen = [
        asked(stock, endpoint, used, encoding=encoding, base=base)
        for endpoint in ("verify", "activate", "activate", "verify", "deactivate", "deactivate", "verify")
    ]
    assert seen == [202, 300, 301, 200, "400", 401, 202]


def test_a_body_may_come_in_chunks(stock: Stock) -> None:
    for endpoint in ENDPOINTS:
        desk = stock.desks[DEMO]
        fields = {"api_key": desk.api_key, "license_key": in_order(stock, endpoint), "identifier": "pc", **PAIR}
        body = json.dumps(fields).encode()
        chunks = iter([body[:10], body[10:11], body[11:]])
        response = desk.api.http.post(f"/v1/{endpoint}", content=chunks, headers={"Content-Type": "application/json"})
        assert response.request.headers["transfer-encoding"] == "chunked"
        assert desk.api.check(response).code == SUCCESS[endpoint]


def test_each_product_signs_for_its_own_license_keys(stock: Stock) -> None:
    for product in (DEMO, STRICT):
        used = {"license_key": stock.license_key(product), "identifier": "pc"}
        assert [asked(stock, name, used, product=product) for name in ("activate", "verify")] == [300, 200]
    closed = {"license_key": stock.license_key(CLOSED), "identifier": "pc"}
    assert asked(stock, "verify", closed, product=CLOSED) == 203


def test_the_license_key_is_compared_letter_by_letter(stock: Stock) -> None:
    key = stock.license_key(active=["pc"])
    for other in (key.lower(), key + "x", key[:-1], key.replace("-", "_"), key[:5] + "%", key + ".0"):
        assert asked(stock, "verify", {"license_key": other, "identifier": "pc"}) == 210
    assert asked(stock, "verify", {"license_key": f"  {key}\n", "identifier": " pc\t"}) == 200
    assert asked(stock, "verify", {"license_key": key, "identifier": "PC"}) == 202


@pytest.mark.parametrize(
    "text", ["Straße", "日本語-😀", "a'b\"c\\d", "%_*?", "a/b&c=d+e", "\u2028x\uffff", "[1]", "null"]
)
def test_any_text_can_be_a_license_key_and_an_identifier(stock: Stock, text: str) -> None:
    key = stock.license_key(license_key=f"{text}{uuid4()}")
    for encoding in ENCODINGS:
        used = {"license_key": key, "identifier": text + encoding}
        codes = [asked(stock, name, used, encoding=encoding) for name in ("activate", "verify", "deactivate")]
        assert codes == [300, 200, "400"]
        assert stock.activations(key)[text + encoding].status == "inactive"


def test_license_keys_and_identifiers_may_be_json_numbers(stock: Stock) -> None:
    number = uuid4().int % 10**15
    key = stock.license_key(license_key=str(number))
    assert asked(stock, "activate", {"license_key": number, "identifier": 42}) == 300
    assert list(stock.activations(key)) == ["42"]
    assert asked(stock, "verify", {"license_key": str(number), "identifier": "42"}) == 200
    assert asked(stock, "verify", {"license_key": number, "identifier": 42.0}) == 215


# --- the order of the checks ---

ORDER = {
    "unknown": 210,
    "closed": 203,
    "blocked": 204,
    "unassigned": 201,
    "nameless": 215,
    "expired": 205,
    "elsewhere": 202,
}
"""What can be wrong, in the order of protocol.md 4.3."""

KNOWN = [fault for fault in ORDER if fault != "unknown"]
EVERY_MIX = [
    *chain.from_iterable(combinations(KNOWN, size) for size in range(len(KNOWN) + 1)),
    ("unknown",),
    tuple(ORDER),
]


def expected(endpoint: str, mix: tuple[str, ...]) -> int | str:
    counts = dict(ORDER)
    success = SUCCESS[endpoint]
    if endpoint == "activate":
        del counts["elsewhere"]
        success = 300 if "elsewhere" in mix else 301
    elif endpoint == "deactivate":
        counts = {"unknown": 210, "nameless": 215, "elsewhere": 401}
    elif endpoint in META:
        del counts["nameless"]
        if "nameless" in mix:
            del counts["elsewhere"]
    return next((code for fault, code in counts.items() if fault in mix), success)


def mixed(stock: Stock, endpoint: str, mix: tuple[str, ...], number: int) -> Wanted:
    unassigned = ("available", "reserved")[number % 2]
    reason = ("suspended", "revoked")[number // 2 % 2]
    status = "blocked" if "blocked" in mix else unassigned if "unassigned" in mix else "assigned"
    assigned_at = LONG_AGO if "expired" in mix else None if "unassigned" in mix else utc_now() - timedelta(days=1)
    return Wanted(
        {
            "product_id": stock.products[CLOSED if "closed" in mix else STRICT],
            "status": status,
            "block_reason": reason if status == "blocked" else None,
            "assigned_at": assigned_at,
            "validity": 30,
        },
        {"another": "active", "former": "inactive"} if "elsewhere" in mix else {"pc": "active"},
        {} if endpoint == "create-license-key-meta" else {"k": "old"},
    )


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_first_check_that_fails_is_the_answer_whatever_else_is_wrong(stock: Stock, endpoint: str) -> None:
    keys = stock.license_keys([mixed(stock, endpoint, mix, number) for number, mix in enumerate(EVERY_MIX)])
    before = stock.everything_of(*keys)
    done = []
    for mix, key in zip(EVERY_MIX, keys, strict=True):
        fields = {"license_key": "unknown" if "unknown" in mix else key}
        if "nameless" not in mix:
            fields["identifier"] = "former" if "elsewhere" in mix and "expired" in mix else "pc"
        product = CLOSED if "closed" in mix else STRICT
        code = asked(stock, endpoint, fields, product=product)
        assert code == expected(endpoint, mix), mix
        if code in (300, "400", 453, 353, 252):
            done.append(key)
    # What is refused changes nothing.
    assert len(done) < len(keys)
    rest = [key for key in keys if key not in done]
    ids = {row.id for row in before[0] if row.license_key in rest}
    assert stock.everything_of(*rest) == (
        [row for row in before[0] if row.id in ids],
        *([row for row in rows if row.license_key_id in ids] for rows in before[1:]),
    )


# --- expiry ---


@pytest.fixture(scope="module", params=["product", "always", "never"])
def ruled(request: pytest.FixtureRequest, stock: Stock) -> Iterator[tuple[str, Stock]]:
    with another_server(stock, expiry=request.param) as other:
        yield request.param, other


@pytest.mark.parametrize("product", [DEMO, STRICT])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_who_is_refused_after_the_end_is_up_to_the_product_or_to_the_server(
    ruled: tuple[str, Stock], endpoint: str, product: str
) -> None:
    rule, stock = ruled
    refused = rule == "always" or (rule == "product" and product == STRICT)
    expired = in_order(stock, endpoint, product, assigned_at=LONG_AGO, validity=365)
    code = asked(stock, endpoint, {"license_key": expired, "identifier": "pc"}, product=product)
    assert code == (205 if refused and endpoint != "deactivate" else SUCCESS[endpoint])
    for terms in (
        {"assigned_at": LONG_AGO, "validity": 0},
        {"assigned_at": LONG_AGO, "validity": 1_000_000},
        {"assigned_at": LONG_AGO, "validity": 2**31 - 1},
        {"assigned_at": None, "validity": 1},
    ):
        key = in_order(stock, endpoint, product, **terms)
        code = asked(stock, endpoint, {"license_key": key, "identifier": "pc"}, product=product)
        assert code == SUCCESS[endpoint], terms


def test_the_last_second_of_the_validity_still_counts(stock: Stock) -> None:
    end = utc_now().replace(microsecond=0)
    clock = SetClock(end)
    with another_server(stock, clock) as other:
        for endpoint in ENDPOINTS:
            for off, refused in ((timedelta(seconds=-1), False), (timedelta(0), False), (timedelta(seconds=1), True)):
                clock.now = end + off
                # A validity of days is one of 24 hours each.
                key = in_order(other, endpoint, STRICT, assigned_at=end - timedelta(hours=30 * 24), validity=30)
                code = asked(other, endpoint, {"license_key": key, "identifier": "pc"}, product=STRICT)
                assert code == (205 if refused and endpoint != "deactivate" else SUCCESS[endpoint]), (endpoint, off)


def test_a_longer_validity_brings_an_expired_license_key_back(stock: Stock) -> None:
    key = stock.license_key(STRICT, active=["pc"], assigned_at=utc_now() - timedelta(days=31), validity=30)
    used = {"license_key": key, "identifier": "pc"}
    assert asked(stock, "verify", used, product=STRICT) == 205
    stock.change(key, validity=60)
    assert asked(stock, "verify", used, product=STRICT) == 200


# --- limits ---


def test_a_license_key_can_be_activated_as_often_as_its_limit_says(stock: Stock) -> None:
    key = stock.license_key(activation_limit=2, ended=["old-1", "old-2", "old-3"])
    codes = [asked(stock, "activate", {"license_key": key, "identifier": name}) for name in ("a", "b", "c", "b")]
    assert codes == [300, 300, 302, 301]
    assert "c" not in stock.activations(key)
    assert asked(stock, "verify", {"license_key": key, "identifier": "c"}) == 202
    assert asked(stock, "activate", {"license_key": key, "identifier": "old-1"}) == 302
    assert stock.activations(key)["old-1"].status == "inactive"

    assert asked(stock, "deactivate", {"license_key": key, "identifier": "a"}) == "400"
    assert asked(stock, "activate", {"license_key": key, "identifier": "old-1"}) == 300
    assert asked(stock, "activate", {"license_key": key, "identifier": "a"}) == 302


def test_a_limit_of_0_is_none(stock: Stock) -> None:
    key = stock.license_key(activation_limit=0)
    assert {asked(stock, "activate", {"license_key": key, "identifier": f"pc-{n}"}) for n in range(12)} == {300}
    assert len(stock.activations(key)) == 12


def test_a_lower_limit_ends_nothing(stock: Stock) -> None:
    key = stock.license_key(activation_limit=3, active=["a", "b"])
    stock.change(key, activation_limit=1)
    codes = [asked(stock, "verify", {"license_key": key, "identifier": name}) for name in ("a", "b")]
    assert codes == [200, 200]
    assert asked(stock, "activate", {"license_key": key, "identifier": "a"}) == 301
    assert asked(stock, "deactivate", {"license_key": key, "identifier": "a"}) == "400"
    assert asked(stock, "activate", {"license_key": key, "identifier": "a"}) == 302


def test_the_limit_counts_the_activations_of_this_license_key_only(stock: Stock) -> None:
    stock.license_key(activation_limit=1, active=["pc"])
    key = stock.license_key(activation_limit=1)
    assert asked(stock, "activate", {"license_key": key, "identifier": "pc"}) == 300


def test_calls_at_the_same_time_do_not_overshoot_the_limit(stock: Stock) -> None:
    key = stock.license_key(activation_limit=3)
    with ThreadPoolExecutor(8) as pool:
        codes = list(
            pool.map(lambda n: asked(stock, "activate", {"license_key": key, "identifier": f"pc-{n}"}), range(12))
        )
    assert sorted(codes) == [300] * 3 + [302] * 9
    assert len(stock.activations(key)) == 3


# --- what an activation leaves behind ---


def test_an_activation_remembers_who_asked(stock: Stock) -> None:
    key = stock.license_key()
    used = {"license_key": key, "identifier": "pc", "post_url": "https://shop.example/ended?x=1"}
    headers = {"User-Agent": "Program/1.0", "X-Forwarded-For": "198.51.100.7"}
    began = utc_now()
    assert asked(stock, "activate", used, headers=headers) == 300
    row = stock.activations(key)["pc"]
    assert (row.identifier, row.status, row.post_url) == ("pc", "active", "https://shop.example/ended?x=1")
    assert (row.ip, row.user_agent) == ("198.51.100.7", "Program/1.0")
    assert row.created_at == row.updated_at == row.activated_at
    assert began <= row.activated_at <= utc_now()


def test_activating_what_is_active_changes_nothing(stock: Stock) -> None:
    key = stock.license_key(activation_limit=1, active=["pc"])
    before = stock.everything_of(key)
    used = {"license_key": key, "identifier": "pc", "post_url": "https://other.example/"}
    for encoding in ENCODINGS:
        assert asked(stock, "activate", used, encoding=encoding, headers={"User-Agent": "Other/2"}) == 301
    assert stock.everything_of(key) == before


def test_an_identifier_that_was_deactivated_is_activated_again_in_its_old_row(stock: Stock) -> None:
    key = stock.license_key(activation_limit=1)
    first = {"license_key": key, "identifier": "pc", "post_url": "https://first.example/"}
    assert asked(stock, "activate", first, headers={"User-Agent": "First/1"}) == 300
    old = stock.activations(key)["pc"]
    assert asked(stock, "deactivate", {"license_key": key, "identifier": "pc"}) == "400"
    ended = stock.activations(key)["pc"]
    assert (ended.id, ended.status, ended.activated_at) == (old.id, "inactive", old.activated_at)
    assert ended.updated_at > old.updated_at

    assert asked(stock, "activate", {"license_key": key, "identifier": "pc"}, headers={"User-Agent": "Next/2"}) == 300
    (again,) = stock.activations(key).values()
    assert (again.id, again.status, again.created_at) == (old.id, "active", old.created_at)
    assert (again.post_url, again.user_agent) == ("", "Next/2")
    assert again.activated_at > old.activated_at
    assert asked(stock, "verify", {"license_key": key, "identifier": "pc"}) == 200


@pytest.mark.parametrize(
    "post_url",
    [
        *("nonsense", "javascript:alert(1)", "ftp://shop.example/", "//shop.example/", "https", "HTTPS//x"),
        *("https://shop.example/\0", "https://shop.example/\ud800", "https://shop.example/\n", "http://" + "x" * 2042),
        *(["https://shop.example/"], {"url": "https://shop.example/"}, 5, 1.5, True, None, ""),
    ],
)
def test_an_address_that_is_none_does_not_keep_a_customer_from_activating(stock: Stock, post_url: Any) -> None:
    key = stock.license_key()
    assert asked(stock, "activate", {"license_key": key, "identifier": "pc", "post_url": post_url}) == 300
    assert stock.activations(key)["pc"].post_url == (
        "https://shop.example/" if post_url == "https://shop.example/\n" else ""
    )


# --- deactivating ---


@pytest.mark.parametrize(
    ("product", "columns"),
    [
        (STRICT, {"assigned_at": LONG_AGO, "validity": 1}),
        (STRICT, {"status": "blocked", "block_reason": "suspended"}),
        (STRICT, {"status": "blocked", "block_reason": "revoked"}),
        (STRICT, {"status": "available", "assigned_at": None}),
        (CLOSED, {}),
    ],
)
def test_a_license_key_that_is_good_for_nothing_else_can_be_deactivated(
    stock: Stock, product: str, columns: dict[str, Any]
) -> None:
    key = stock.license_key(product, active=["pc", "laptop"], **columns)
    codes = [asked(stock, "deactivate", {"license_key": key, "identifier": "pc"}, product=product) for _ in range(2)]
    assert codes == ["400", 401]
    assert {name: row.status for name, row in stock.activations(key).items()} == {"pc": "inactive", "laptop": "active"}


def test_deactivating_what_was_never_active_stores_nothing(stock: Stock) -> None:
    key = stock.license_key(active=["pc"])
    before = stock.everything_of(key)
    assert asked(stock, "deactivate", {"license_key": key, "identifier": "laptop"}) == 401
    assert asked(stock, "deactivate", {"license_key": key}) == 215
    assert stock.everything_of(key) == before


# --- license keys that are not there ---


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_is_deleted_staged_or_somebody_elses_is_an_invalid_license_key(
    stock: Stock, world: World, endpoint: str
) -> None:
    batch = uuid4().int % 10**12
    stock.stage(batch, staged=True)
    gone = {
        "deleted": in_order(stock, endpoint, deleted_at=utc_now()),
        "of a deleted product": in_order(stock, endpoint, world.products["deleted"]),
        "of no product": in_order(stock, endpoint, 10**9),
        "staged": in_order(stock, endpoint, batch_id=batch),
        "deleted and blocked": in_order(stock, endpoint, deleted_at=utc_now(), status="blocked"),
    }
    before = stock.everything_of(*gone.values())
    for name, key in gone.items():
        assert asked(stock, endpoint, {"license_key": key, "identifier": "pc"}) == 210, name
        assert asked(stock, endpoint, {"license_key": key}) == 210, name
    assert stock.everything_of(*gone.values()) == before
    other = in_order(stock, endpoint, world.products["other"])
    limited = stock.desks[DEMO].with_key(world.keys["demo product"])
    assert limited.ask(endpoint, {"license_key": other, "identifier": "pc", **PAIR}).code == 210

    # As soon as they are there, they are there for everybody.
    stock.stage(batch, staged=False)
    assert asked(stock, endpoint, {"license_key": gone["staged"], "identifier": "pc"}) == SUCCESS[endpoint]
    own = in_order(stock, endpoint)
    assert limited.ask(endpoint, {"license_key": own, "identifier": "pc", **PAIR}).code == SUCCESS[endpoint]
    somebody = world.other_api.post(
        f"/api/v1/{endpoint}",
        {"api_key": world.keys["other product"], "license_key": other, "identifier": "pc", **PAIR},
    )
    assert somebody.code == SUCCESS[endpoint]


def test_a_batch_that_is_staged_hides_no_other_license_key(stock: Stock) -> None:
    batch = uuid4().int % 10**12
    stock.stage(batch, staged=True)
    for columns in ({"batch_id": None}, {"batch_id": batch + 1}):
        key = stock.license_key(active=["pc"], **columns)
        assert asked(stock, "verify", {"license_key": key, "identifier": "pc"}) == 200
        assert asked(stock, "activate", {"license_key": key, "identifier": "pc"}) == 301


# --- who may ask ---


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_api_key_needs_the_ability_of_the_endpoint(stock: Stock, endpoint: str) -> None:
    used = {"license_key": in_order(stock, endpoint), "identifier": "pc", **PAIR}
    all_others = [name for name in abilities.ENDPOINTS if name != endpoint]
    before = stock.everything_of(used["license_key"])
    refused = stock.desks[DEMO].with_key(add_api_key(stock.services, manage.Terms("Others", all_others)))
    assert code_of(refused.ask(endpoint, used)) == 102
    assert stock.everything_of(used["license_key"]) == before
    granted = stock.desks[DEMO].with_key(add_api_key(stock.services, manage.Terms("This", [endpoint])))
    assert granted.ask(endpoint, used).code == SUCCESS[endpoint]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_callers_that_are_refused_are_refused_before_the_license_key_is_looked_at(
    stock: Stock, world: World, endpoint: str
) -> None:
    key = in_order(stock, endpoint)
    before = stock.everything_of(key)
    used = {"license_key": key, "identifier": "pc", **PAIR}
    desk = stock.desks[DEMO]
    for api_key, code in (
        ("nobody", 100),
        (world.keys["revoked"], 101),
        (world.keys["office"], 103),
        (world.keys["only listing"], 102),
    ):
        assert code_of(desk.with_key(api_key).ask(endpoint, used)) == code
    assert code_of(desk.ask(endpoint, used, headers={"X-Forwarded-For": "203.0.113.66"})) == 150
    assert stock.everything_of(key) == before


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_identifiers_on_the_block_list_are_refused_under_every_name(stock: Stock, endpoint: str) -> None:
    number = uuid4().int % 10**12
    block(stock, str(number))
    key = in_order(stock, endpoint)
    before = stock.everything_of(key)
    for name in IDENTIFIERS:
        for encoding in ENCODINGS if endpoint == "verify" else ENCODINGS[:1]:
            fields = {"license_key": key, name: f" {BLOCKED_IDENTIFIER} "}
            assert asked(stock, endpoint, fields, encoding=encoding) == 150
        assert asked(stock, endpoint, {"license_key": key, name: number}) == 150
        assert asked(stock, endpoint, {"license_key": "unknown", name: str(number)}) == 150
    assert stock.everything_of(key) == before
    # The one that counts decides.
    fields = {"license_key": key, "identifier": "pc", "domain": BLOCKED_IDENTIFIER}
    assert asked(stock, endpoint, fields) == SUCCESS[endpoint]


def test_an_entry_of_the_block_list_that_has_ended_blocks_nobody(stock: Stock) -> None:
    key = stock.license_key(active=[ONCE_BLOCKED_IDENTIFIER])
    assert asked(stock, "verify", {"license_key": key, "identifier": ONCE_BLOCKED_IDENTIFIER}) == 200


def block(stock: Stock, identifier: str) -> None:
    def add(session: Session) -> BlockedEntry:
        return manage.block(session, "identifier", identifier, reason="", expires_at=None, now=utc_now())

    stock.storage.write(add)


# --- names ---


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_name_of_a_field_is_understood(stock: Stock, endpoint: str) -> None:
    for number, name in enumerate(IDENTIFIERS):
        fields = {"entitlement_key": in_order(stock, endpoint), name: "pc"}
        assert asked(stock, endpoint, fields, encoding=ENCODINGS[number % 3]) == SUCCESS[endpoint]


def test_the_first_name_that_says_something_counts(stock: Stock) -> None:
    key = stock.license_key(active=["pc"])
    for first, second in combinations(IDENTIFIERS, 2):
        # In the other order of the body, so that it is not the place that counts.
        assert asked(stock, "verify", {"license_key": key, second: "elsewhere", first: "pc"}) == 200
        assert asked(stock, "verify", {"license_key": key, second: "pc", first: "elsewhere"}) == 202
        assert asked(stock, "verify", {"license_key": key, second: "pc", first: "  "}) == 200
        assert asked(stock, "verify", {"license_key": key, second: "pc", first: None}) == 200
    both = {"entitlement_key": "unknown", "identifier": "pc"}
    assert asked(stock, "verify", {**both, "license_key": key}) == 200
    assert asked(stock, "verify", {**both, "license_key": ""}) == 210


def test_fields_that_the_clients_add_are_ignored(stock: Stock) -> None:
    added = {"cache_ttl": 300, "timeout": 5, "no_cache": False, "metadata": {"a": [1]}, "idempotencyKey": "i"}
    more = {"os": "linux", "product_version": "1.0", "ip": "203.0.113.66", "user_id": 7, "flags": [], "email": "a@b.c"}
    key = stock.license_key(active=["pc"])
    assert asked(stock, "verify", {"license_key": key, "identifier": "pc", **added, **more}) == 200


# --- what cannot be used ---

UNUSABLE: list[Any] = [
    *([], ["x"], [[]], {}, {"x": "y"}, {"license_key": "x"}, True, False, 1.5, None, "", " \t"),
    *("x" * 256, "x" * 300, "a\0b", "\0", "\ud800", "a\udfffb"),
]


# Asked again and again these answer alike.
STEADY = ("verify", "activate", "deactivate", "get-license-key-details", "update-license-key-meta")


@pytest.mark.parametrize("endpoint", STEADY)
def test_a_license_key_that_cannot_be_one_is_an_invalid_license_key(stock: Stock, endpoint: str) -> None:
    for value in [*UNUSABLE, 5, -1, 10**30, 10**60]:
        assert asked(stock, endpoint, {"license_key": value, "identifier": "pc"}) == 210, value
    assert asked(stock, endpoint, {"identifier": "pc"}) == 210
    assert asked(stock, endpoint, {}) == 210


@pytest.mark.parametrize("endpoint", STEADY)
def test_an_identifier_that_cannot_be_one_counts_as_absent(stock: Stock, endpoint: str) -> None:
    key = in_order(stock, endpoint)
    for value in UNUSABLE:
        code = asked(stock, endpoint, {"license_key": key, "identifier": value})
        assert code == (SUCCESS[endpoint] if endpoint in META else 215), value


@pytest.mark.parametrize("encoding", ["form", "multipart"])
def test_a_form_may_hold_what_cannot_be_used(stock: Stock, encoding: Encoding) -> None:
    key = stock.license_key(active=["pc"])
    for value in ("x" * 300, "a\0b"):
        assert asked(stock, "verify", {"license_key": value, "identifier": "pc"}, encoding=encoding) == 210
        assert asked(stock, "verify", {"license_key": key, "identifier": value}, encoding=encoding) == 215


def test_the_longest_license_key_and_identifier_are_good(stock: Stock) -> None:
    key = stock.license_key(license_key=uuid4().hex.ljust(255, "é"))
    used = {"license_key": key, "identifier": "é" * 255}
    assert [asked(stock, name, used) for name in ("activate", "verify", "deactivate")] == [300, 200, "400"]


def test_a_request_without_any_field_is_nobodys(stock: Stock) -> None:
    for endpoint in ENDPOINTS:
        for body in ("", "{}", "[]"):
            assert code_of(stock.desks[DEMO].raw(endpoint, body)) == 100


# --- changes of the configuration ---


@pytest.fixture
def _trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each request came less than a second after the one before, however slow this machine is."""
    monkeypatch.setattr(configuration, "LONGEST_TRUST_S", 1e9)


@pytest.mark.usefixtures("_trusting")
def test_a_change_of_the_product_counts_for_the_next_verification(stock: Stock) -> None:
    key = stock.license_key(STRICT, active=["pc"], assigned_at=LONG_AGO, validity=0)
    used = {"license_key": key, "identifier": "pc"}

    def verified() -> list[int | str]:
        return [asked(stock, name, used, product=STRICT) for name in ("verify", "verify", "activate")]

    in_force: dict[str, Any] = {"status": "active", "require_non_expired": 1, "deleted_at": None}
    try:
        assert verified() == [200, 200, 301]
        stock.change(key, validity=30)
        assert verified() == [205] * 3
        for changed, codes in (
            ({"require_non_expired": 0}, [200, 200, 301]),
            ({"require_non_expired": 1}, [205] * 3),
            ({"status": "inactive"}, [203] * 3),
            ({"deleted_at": utc_now()}, [210] * 3),
            ({"deleted_at": None}, [203] * 3),
            ({"status": "active", "require_non_expired": 0}, [200, 200, 301]),
        ):
            stock.change_product(STRICT, **changed)
            assert verified() == codes, changed
    finally:
        stock.change_product(STRICT, **in_force)


@pytest.mark.usefixtures("_trusting")
def test_a_change_of_the_api_key_counts_for_the_next_verification(stock: Stock) -> None:
    api_key = add_api_key(stock.services, manage.Terms("Short"))
    desk = stock.desks[DEMO].with_key(api_key)
    used = {"license_key": stock.license_key(active=["pc"]), "identifier": "pc"}
    assert [desk.ask("verify", used).code for _ in range(2)] == [200, 200]
    revoke(stock.services, api_key)
    assert [code_of(desk.ask("verify", used)) for _ in range(2)] == [101, 101]


@pytest.mark.usefixtures("_trusting")
def test_a_change_of_the_block_list_counts_for_the_next_verification(stock: Stock) -> None:
    identifier = f"{uuid4()}.example"
    used = {"license_key": stock.license_key(active=[identifier]), "identifier": identifier}
    assert [asked(stock, "verify", used) for _ in range(2)] == [200, 200]
    block(stock, identifier)
    assert [asked(stock, "verify", used) for _ in range(2)] == [150, 150]


@pytest.mark.usefixtures("_trusting")
def test_what_becomes_of_a_license_key_counts_for_the_next_verification(stock: Stock) -> None:
    key = stock.license_key(active=["pc"])
    used = {"license_key": key, "identifier": "pc"}
    for columns, code in (
        ({"status": "blocked", "block_reason": "suspended"}, 204),
        ({"status": "assigned", "block_reason": None}, 200),
        ({"status": "available"}, 201),
        ({"status": "assigned"}, 200),
        ({"deleted_at": utc_now()}, 210),
    ):
        stock.change(key, **columns)
        assert asked(stock, "verify", used) == code


def test_many_verifications_at_the_same_time_each_get_their_own_answer(stock: Stock) -> None:
    cases: list[tuple[str, str, int]] = []
    for number in range(10):
        name = f"pc-{number}"
        key = stock.license_key(active=[name])
        cases += [
            (key, name, 200),
            (key, "elsewhere", 202),
            (key, "", 215),
            (f"unknown-{number}", name, 210),
            (stock.license_key(status="available"), name, 201),
            (stock.license_key(status="blocked"), name, 204),
        ]

    def verified(case: tuple[str, str, int]) -> int | str:
        return asked(stock, "verify", {"license_key": case[0], "identifier": case[1]})

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(verified, cases)) == [code for _, _, code in cases]
