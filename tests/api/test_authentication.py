"""Who may call: 100, 101, 102, 103 and 150 (protocol.md 2.1, 2.2)."""

from typing import Any

import pytest
from tests.support.api import Encoding
from tests.support.world import (
    BLOCKED_IDENTIFIER,
    ONCE_BLOCKED_IDENTIFIER,
    World,
    add_api_key,
    nothing_stored,
    revoke,
)

GENERATE = "/api/v1/generate"
ENCODINGS: tuple[Encoding, ...] = ("form", "multipart", "json")
STATUS = {100: 401, 101: 401, 102: 401, 103: 401, 150: 403}
MESSAGES = {
    100: "Invalid API Key",
    101: "Inactive API Key",
    102: "The used API key doesn't have the required capability to access this endpoint",
    103: "API key can't be used from this IP address",
    150: "Access denied",
}

# What is presented (a name of a key in the world, or the text itself after "="), X-Forwarded-For, more fields, code.
REFUSED: list[tuple[str | None, str | None, dict[str, str], int]] = [
    (None, None, {}, 100),
    ("=", None, {}, 100),
    ("=   ", None, {}, 100),
    ("=hnp_live_" + "0" * 49, None, {}, 100),
    ("=00000000-0000-4000-8000-000000000000", None, {}, 100),
    ("=nobody's key", None, {}, 100),
    ("revoked", None, {}, 101),
    ("expired", None, {}, 101),
    ("revoked elsewhere", None, {}, 101),
    ("only listing", None, {}, 102),
    ("office", None, {}, 103),
    ("office", "192.0.2.11", {}, 103),
    ("office listing", "192.0.2.11", {}, 103),
    ("office listing", "192.0.2.10", {}, 102),
    ("good", "203.0.113.66", {}, 150),
    ("good", "203.0.113.200", {}, 150),
    ("good", "2001:db8:bad:1::1", {}, 150),
    ("good", "::ffff:203.0.113.66", {}, 150),
    (None, "203.0.113.66", {}, 150),
    ("revoked", "203.0.113.66", {}, 150),
    ("good", None, {"identifier": BLOCKED_IDENTIFIER}, 150),
    ("good", None, {"domain": BLOCKED_IDENTIFIER}, 150),
    ("good", None, {"hardwareId": f" {BLOCKED_IDENTIFIER} "}, 150),
    ("good", None, {"identifier": "", "hwid": BLOCKED_IDENTIFIER}, 150),
    (None, None, {"identifier": BLOCKED_IDENTIFIER}, 100),
    ("only listing", None, {"identifier": BLOCKED_IDENTIFIER}, 102),
]


def presented(world: World, name: str | None) -> dict[str, str]:
    if name is None:
        return {}
    return {"api_key": name[1:] if name.startswith("=") else world.keys[name]}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("key", "address", "more", "code"), REFUSED)
def test_who_may_not_call_is_told_so_in_signed_words_and_nothing_is_stored(
    world: World, encoding: Encoding, key: str | None, address: str | None, more: dict[str, str], code: int
) -> None:
    fields = {**presented(world, key), "generator_id": "1", "quantity": "1", **more}
    headers = {} if address is None else {"X-Forwarded-For": address}
    with nothing_stored(world.storage):
        answer = world.api.post(GENERATE, fields, encoding=encoding, headers=headers)
    assert (answer.code, answer.status, answer.signed_by) == (code, STATUS[code], "global")
    assert answer.payload["message"] == MESSAGES[code]
    assert list(answer.payload) == ["code", "message", "timestamp"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_key_with_a_typing_error_is_refused(world: World, encoding: Encoding) -> None:
    good = world.keys["good"]
    wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
    with nothing_stored(world.storage):
        answer = world.api.post(GENERATE, {"api_key": wrong, "generator_id": 1, "quantity": 1}, encoding=encoding)
    assert (answer.code, answer.status) == (100, 401)


@pytest.mark.parametrize("key", [17, 0, True, False, 1.5, ["a"], [], {"a": "b"}, {}])
def test_a_key_that_is_no_text_is_a_wrong_key_and_no_other_place_is_asked(world: World, key: Any) -> None:
    fields = {"api_key": key, "generator_id": 1, "quantity": 1}
    with nothing_stored(world.storage):
        answer = world.api.post(GENERATE, fields, encoding="json", headers={"X-API-Key": world.keys["good"]})
    assert (answer.code, answer.status) == (100, 401)


@pytest.mark.parametrize(
    "more",
    [{}, {"identifier": "fine.example"}, {"identifier": ONCE_BLOCKED_IDENTIFIER}, {"identifier": "x" * 300}],
)
def test_an_identifier_that_is_not_blocked_any_more_is_let_in(world: World, more: dict[str, str]) -> None:
    fields = {"api_key": world.keys["good"], "generator_id": 1, "quantity": 1, **more}
    assert world.api.post(GENERATE, fields).code == 815


@pytest.mark.parametrize(
    ("forwarded", "code"),
    [
        ("192.0.2.10", 815),
        ("192.0.2.10  ,  127.0.0.1", 815),
        ("192.0.2.9", 103),
        ("198.51.100.0", 815),
        ("198.51.100.255", 815),
        ("198.51.101.0", 103),
        ("2001:db8:1::", 815),
        ("2001:DB8:1:FFFF::1", 815),
        ("2001:db8:2::7", 815),
        ("2001:db8:2:0:0::7", 815),
        ("2001:db8:2::8", 103),
        ("2001:db8:2::7%eth0", 815),
        ("::ffff:192.0.2.10", 815),
        ("::192.0.2.10", 103),
        ("192.0.2.10, 127.0.0.1", 815),
        ("192.0.2.10,127.0.0.1,127.0.0.1", 815),
        ("203.0.113.1, 192.0.2.10", 815),
        ("192.0.2.10, 203.0.113.1", 103),
        ("203.0.113.66, 192.0.2.10", 815),
        ("192.0.2.10, 203.0.113.66", 150),
        ("203.0.113.67", 103),
        ("127.0.0.1", 103),
        ("", 103),
        (",", 103),
        ("192.0.2.10,", 103),
        ("192.0.2.10, unknown", 103),
        ("unknown, 192.0.2.10", 815),
        ("192.0.2.10:4711", 103),
        ("[2001:db8:2::7]", 103),
        ("3221225994", 103),
        ("0xC000020A", 103),
        ("192.0.2.010", 103),
        ("<script>", 103),
    ],
)
def test_behind_a_trusted_proxy_the_rightmost_stranger_is_the_sender(world: World, forwarded: str, code: int) -> None:
    fields = {"api_key": world.keys["office"], "generator_id": "1", "quantity": "1"}
    assert world.api.post(GENERATE, fields, headers={"X-Forwarded-For": forwarded}).code == code


@pytest.mark.parametrize(
    "lines",
    [("192.0.2.10", "192.0.2.10"), ("192.0.2.10", "203.0.113.1"), ("203.0.113.1", "192.0.2.10")],
)
def test_several_forwarded_lines_cannot_be_told_apart_and_are_refused(world: World, lines: tuple[str, str]) -> None:
    fields = {"api_key": world.keys["office"], "generator_id": "1", "quantity": "1"}
    headers = [("X-Forwarded-For", line) for line in lines]
    assert world.api.check(world.api.http.post(GENERATE, data=fields, headers=headers)).code == 103


@pytest.mark.parametrize("header", ["Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP"])
def test_other_headers_say_nothing_about_the_sender(world: World, header: str) -> None:
    fields = {"api_key": world.keys["office"], "generator_id": "1", "quantity": "1"}
    value = "for=192.0.2.10" if header == "Forwarded" else "192.0.2.10"
    assert world.api.post(GENERATE, fields, headers={header: value}).code == 103


def request(
    *,
    bearer: str | None = None,
    body: str | None = None,
    header: str | None = None,
    query: str | None = None,
    basic: bool = False,
) -> dict[str, str | bool | None]:
    return {"bearer": bearer, "body": body, "header": header, "query": query, "basic": basic}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("where", "code"),
    [
        (request(bearer="good"), 815),
        (request(body="good"), 815),
        (request(header="good"), 815),
        (request(bearer="good", body="=wrong", header="=wrong"), 815),
        (request(body="good", header="=wrong"), 815),
        (request(bearer="=wrong", body="good", header="good"), 100),
        (request(bearer="revoked", body="good", header="good"), 101),
        (request(body="=wrong", header="good"), 100),
        (request(body="revoked", header="good"), 101),
        (request(bearer="=", body="good"), 815),
        (request(bearer="=", body="=", header="good"), 815),
        (request(body="=  ", header="good"), 815),
        (request(basic=True, body="good"), 815),
        (request(basic=True, header="good"), 815),
        (request(basic=True), 100),
        (request(query="good"), 100),
        (request(query="=wrong", body="good"), 815),
    ],
)
def test_the_first_place_that_holds_a_key_counts(
    world: World, encoding: Encoding, where: dict[str, Any], code: int
) -> None:
    def text(place: str) -> str | None:
        return presented(world, where[place]).get("api_key")

    headers = {}
    if where["bearer"] is not None:
        headers["Authorization"] = f"Bearer {text('bearer')}".rstrip()
    if where["basic"]:
        headers["Authorization"] = "Basic dXNlcjpwYXNzd29yZA=="
    if where["header"] is not None:
        headers["X-API-Key"] = text("header") or ""
    fields: dict[str, Any] = {"generator_id": "1", "quantity": "1"}
    if where["body"] is not None:
        fields["api_key"] = text("body")
    path = GENERATE if where["query"] is None else f"{GENERATE}?api_key={text('query')}"
    assert world.api.post(path, fields, encoding=encoding, headers=headers).code == code


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_name_of_the_scheme_is_read_without_regard_to_case(world: World, scheme: str) -> None:
    headers = {"Authorization": f"{scheme}  {world.keys['good']}"}
    assert world.api.post(GENERATE, {"generator_id": "1", "quantity": "1"}, headers=headers).code == 815


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("good", {}, 820),
        (None, {}, 100),
        ("=wrong", {}, 100),
        ("only generating", {}, 102),
        ("revoked", {}, 101),
        ("office", {}, 103),
        ("good", {"X-Forwarded-For": "203.0.113.66"}, 150),
        ("=wrong", {"X-API-Key": "good"}, 100),
        ("good", {"X-API-Key": "wrong"}, 820),
        ("good", {"Authorization": "Bearer wrong"}, 100),
        (None, {"X-API-Key": "good"}, 820),
        (None, {"Authorization": "Bearer good"}, 820),
    ],
)
def test_a_get_brings_its_key_in_the_query_string_or_a_header(
    world: World, query: str | None, headers: dict[str, str], code: int
) -> None:
    sent = {name: value.replace("good", world.keys["good"]) for name, value in headers.items()}
    answer = world.api.get("/api/v1/get-all-generators", presented(world, query), headers=sent)
    assert (answer.code, answer.signed_by) == (code, "global")
    assert answer.status == STATUS.get(code, 200)


def test_a_revoked_key_ends_with_the_next_request(world: World) -> None:
    key = add_api_key(world.services)
    fields = {"api_key": key, "generator_id": "1", "quantity": "1"}
    assert world.api.post(GENERATE, fields).code == 815
    revoke(world.services, key)
    assert world.api.post(GENERATE, fields).code == 101
