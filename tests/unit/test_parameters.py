import asyncio
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.settings import Settings
from hanaper.web.body import Parameters
from hanaper.web.parameters import clean, credentials, read_parameters

SETTINGS = Settings(trusted_proxies=(ip_network("10.0.0.0/8"),))


def request(
    method: str = "POST",
    *,
    headers: dict[str, str] | None = None,
    query: bytes = b"",
    body: bytes = b"",
    client: tuple[str, int] | None = ("203.0.113.7", 4711),
) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": method, "headers": raw, "query_string": query, "client": client}, receive)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, {}),
        ({"a": " 10 "}, {"a": "10"}),
        ({"a": "\t\r\n\v\f 1"}, {"a": "1"}),
        ({"a": "b  c"}, {"a": "b  c"}),
        ({"a": ""}, {}),
        ({"a": "   "}, {}),
        ({"a": None}, {}),
        ({"a": "0"}, {"a": "0"}),
        ({"a": 0, "b": False, "c": 0.0}, {"a": 0, "b": False, "c": 0.0}),
        ({"a": [], "b": {}, "c": [""], "d": {"e": " "}}, {"a": [], "b": {}, "c": [""], "d": {"e": " "}}),
        ({" a ": "1", "": "2"}, {" a ": "1", "": "2"}),
        ({"a": "null"}, {"a": "null"}),
        ({"a": "\xa0"}, {"a": "\xa0"}),
        ({"a": "\0"}, {"a": "\0"}),
        ({"a": "", "b": "1"}, {"b": "1"}),
    ],
    ids=repr,
)
def test_text_is_trimmed_and_what_is_empty_is_absent(raw: Parameters, expected: Parameters) -> None:
    before = dict(raw)
    cleaned = clean(raw)
    assert cleaned == expected
    assert [type(value) for value in cleaned.values()] == [type(value) for value in expected.values()]
    assert raw == before


def test_a_get_has_its_parameters_in_the_query_string() -> None:
    asked = request("GET", query=b"a=+1+&b=&c=%C3%A9", body=b"a=2", headers={"content-type": "application/json"})
    assert asyncio.run(read_parameters(asked, SETTINGS)) == {"a": "1", "c": "é"}


def test_a_query_string_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        asyncio.run(read_parameters(request("GET", query=b"a=%ff"), SETTINGS))
    assert caught.value.code is codes.UNREADABLE_BODY


def test_the_query_string_of_a_post_is_not_looked_at() -> None:
    asked = request(
        query=b"api_key=leaked&a=%ff", body=b"a=%20", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert asyncio.run(read_parameters(asked, SETTINGS)) == {}


@pytest.mark.parametrize(
    ("headers", "parameters", "api_key"),
    [
        ({}, {}, None),
        ({}, {"api_key": "P"}, "P"),
        ({"Authorization": "Bearer B"}, {}, "B"),
        ({"Authorization": "bearer B"}, {}, "B"),
        ({"Authorization": "BEARER  B "}, {}, "B"),
        ({"Authorization": "Bearer B"}, {"api_key": "P"}, "B"),
        ({"Authorization": "Bearer B", "X-API-Key": "X"}, {"api_key": "P"}, "B"),
        ({"Authorization": "Bearer "}, {"api_key": "P"}, "P"),
        ({"Authorization": "Bearer"}, {"api_key": "P"}, "P"),
        ({"Authorization": ""}, {"api_key": "P"}, "P"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, {"api_key": "P"}, "P"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, {}, None),
        ({"Authorization": "BearerB"}, {}, None),
        ({"Authorization": "Bearer B C"}, {}, "B C"),
        ({"X-API-Key": "X"}, {}, "X"),
        ({"X-API-Key": " X "}, {}, "X"),
        ({"X-API-Key": "X"}, {"api_key": "P"}, "P"),
        ({"X-API-Key": " "}, {}, None),
        ({}, {"api_key": 12345}, "not text"),
        ({}, {"api_key": ["P"]}, "not text"),
        ({}, {"api_key": True}, "not text"),
        ({}, {"api_key": 0}, "not text"),
        ({"X-API-Key": "X"}, {"api_key": []}, "not text"),
        ({"Authorization": "Bearer B"}, {"api_key": 0}, "B"),
        ({"X-API-Key": "X"}, {"api_key": {"a": 1}}, "not text"),
    ],
)
def test_the_first_place_that_holds_an_api_key_counts(
    headers: dict[str, str], parameters: dict[str, Any], api_key: str | None
) -> None:
    assert credentials(request(headers=headers), parameters, SETTINGS).api_key == api_key


@pytest.mark.parametrize(
    ("parameters", "identifier"),
    [
        ({}, None),
        ({"identifier": "a.example"}, "a.example"),
        ({"domain": "d"}, "d"),
        ({"server_domain": "s", "hwid": "h", "domain": "d", "hardware_id": "i", "hardwareId": "I"}, "I"),
        ({"server_domain": "s", "hwid": "h"}, "h"),
        ({"domain": "d", "identifier": "a.example"}, "a.example"),
        ({"identifier": "a\0b"}, None),
        ({"identifier": "a\nb"}, None),
        ({"identifier": chr(0xD800)}, None),
        ({"identifier": 5}, "5"),
        ({"identifier": 5, "domain": "d"}, "5"),
        ({"identifier": True, "domain": "d"}, None),
        ({"identifier": ["a"], "domain": "d"}, None),
    ],
    ids=ascii,
)
def test_the_first_name_of_an_identifier_counts(parameters: dict[str, Any], identifier: str | None) -> None:
    assert credentials(request(), parameters, SETTINGS).identifier == identifier


def test_the_address_comes_from_the_connection_or_from_a_trusted_proxy() -> None:
    direct = credentials(request(headers={"X-Forwarded-For": "198.51.100.1"}), {}, SETTINGS)
    assert direct.address == IPv4Address("203.0.113.7")
    proxied = request(headers={"X-Forwarded-For": "198.51.100.1"}, client=("10.0.0.1", 1))
    assert credentials(proxied, {}, SETTINGS).address == IPv4Address("198.51.100.1")
    assert credentials(request(client=None), {}, SETTINGS).address is None
