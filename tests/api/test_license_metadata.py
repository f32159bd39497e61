"""POST /create-, /update- and /delete-license-key-meta (protocol.md 4.6)."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from tests.support.api import Answer, Encoding
from tests.support.registry import DEMO, META, STRICT, Stock, code_of, stocked
from tests.support.world import World

CREATE, UPDATE, DELETE = META
ENCODINGS: tuple[Encoding, ...] = ("form", "multipart", "json")
MISSING_KEY = {CREATE: 450, UPDATE: 350, DELETE: 250}
MISSING_VALUE = {CREATE: 451, UPDATE: 351}


@pytest.fixture(scope="module")
def stock(world: World) -> Iterator[Stock]:
    with stocked(world) as stock:
        yield stock


def ask(stock: Stock, endpoint: str, fields: dict[str, Any], product: str = DEMO, **how: Any) -> Answer:
    answer = stock.desks[product].ask(endpoint, fields, **how)
    code_of(answer, *(["meta_id"] if answer.code in (453, 353) else []))
    return answer


def values(stock: Stock, license_key: str) -> dict[str, str]:
    return {name: row.value for name, row in stock.metadata(license_key).items()}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("base", ["/api/v1", "/v1"])
def test_metadata_are_created_updated_and_deleted(stock: Stock, encoding: Encoding, base: str) -> None:
    key = stock.license_key(active=["pc"], meta={"other": "stays"})
    named = {"license_key": key, "identifier": "pc", "key": "seats"}

    created = ask(stock, CREATE, {**named, "value": "5"}, encoding=encoding, base=base)
    assert created.code == 453
    row = stock.metadata(key)["seats"]
    assert type(created.payload["meta_id"]) is int
    assert created.payload["meta_id"] == row.id
    assert (row.value, row.created_at) == ("5", row.updated_at)

    assert ask(stock, CREATE, {**named, "value": "7"}, encoding=encoding, base=base).code == 452
    assert stock.metadata(key)["seats"] == row

    updated = ask(stock, UPDATE, {**named, "value": "6"}, encoding=encoding, base=base)
    assert (updated.code, updated.payload["meta_id"]) == (353, row.id)
    assert type(updated.payload["meta_id"]) is int
    new = stock.metadata(key)["seats"]
    assert (new.id, new.value, new.created_at) == (row.id, "6", row.created_at)
    assert new.updated_at > row.updated_at

    assert ask(stock, DELETE, named, encoding=encoding, base=base).code == 252
    assert ask(stock, DELETE, named, encoding=encoding, base=base).code == 251
    assert ask(stock, UPDATE, {**named, "value": "8"}, encoding=encoding, base=base).code == 352
    assert values(stock, key) == {"other": "stays"}

    again = ask(stock, CREATE, {**named, "value": "9"}, encoding=encoding, base=base)
    assert again.code == 453
    # Whoever remembers the old id does not meet the new row under it.
    assert again.payload["meta_id"] > row.id


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_names_of_the_clients_are_understood(stock: Stock, encoding: Encoding) -> None:
    key = stock.license_key()
    named = {"entitlement_key": key, "meta_key": "seats"}
    assert ask(stock, CREATE, {**named, "meta_value": "5"}, encoding=encoding).code == 453
    assert ask(stock, UPDATE, {**named, "meta_value": "6"}, encoding=encoding).code == 353
    assert values(stock, key) == {"seats": "6"}
    both = {**named, "license_key": key, "key": "seats", "value": "7", "meta_key": "x", "meta_value": "y"}
    assert ask(stock, UPDATE, both, encoding=encoding).code == 353
    assert values(stock, key) == {"seats": "7"}
    assert ask(stock, DELETE, named, encoding=encoding).code == 252


def test_a_name_on_one_license_key_is_not_there_on_another(stock: Stock) -> None:
    first, second = stock.license_key(meta={"k": "first"}), stock.license_key()
    assert ask(stock, UPDATE, {"license_key": second, "key": "k", "value": "x"}).code == 352
    assert ask(stock, DELETE, {"license_key": second, "key": "k"}).code == 251
    assert ask(stock, CREATE, {"license_key": second, "key": "k", "value": "second"}).code == 453
    assert ask(stock, DELETE, {"license_key": second, "key": "k"}).code == 252
    assert values(stock, first) == {"k": "first"}


def test_names_are_compared_letter_by_letter(stock: Stock) -> None:
    key = stock.license_key(meta={"Seats": "1"})
    assert ask(stock, UPDATE, {"license_key": key, "key": "seats", "value": "x"}).code == 352
    assert ask(stock, DELETE, {"license_key": key, "key": "Seat_"}).code == 251
    assert ask(stock, CREATE, {"license_key": key, "key": "seats", "value": "2"}).code == 453
    assert ask(stock, UPDATE, {"license_key": key, "key": " Seats\n", "value": "3"}).code == 353
    assert values(stock, key) == {"Seats": "3", "seats": "2"}


# --- the order of the checks ---


@pytest.mark.parametrize("endpoint", META)
def test_the_license_key_is_checked_before_the_name_and_the_name_before_the_value(stock: Stock, endpoint: str) -> None:
    key = stock.license_key(active=["pc"], meta={"k": "old"})
    before = stock.everything_of(key)
    blocked = stock.license_key(status="blocked")
    for fields, code in (
        ({"license_key": "unknown"}, 210),
        ({"license_key": blocked}, 204),
        ({"license_key": stock.license_key(status="available", assigned_at=None)}, 201),
        ({"license_key": key, "identifier": "elsewhere"}, 202),
        ({"license_key": key}, MISSING_KEY[endpoint]),
        ({"license_key": key, "value": "v"}, MISSING_KEY[endpoint]),
        ({"license_key": key, "identifier": "pc", "key": "", "value": "v"}, MISSING_KEY[endpoint]),
    ):
        assert ask(stock, endpoint, fields).code == code, fields
    if endpoint in MISSING_VALUE:
        for name in ("k", "new"):
            assert ask(stock, endpoint, {"license_key": key, "key": name}).code == MISSING_VALUE[endpoint]
    assert stock.everything_of(key) == before


@pytest.mark.parametrize("endpoint", META)
def test_an_identifier_may_be_left_out_but_one_that_is_named_has_to_be_active(stock: Stock, endpoint: str) -> None:
    success = {CREATE: 453, UPDATE: 353, DELETE: 252}[endpoint]
    for identifiers, code in (
        ({}, success),
        ({"identifier": ""}, success),
        ({"identifier": None}, success),
        ({"domain": "pc"}, success),
        ({"identifier": "former"}, 202),
        ({"hwid": "never"}, 202),
    ):
        key = stock.license_key(active=["pc"], ended=["former"], meta={} if endpoint == CREATE else {"k": "old"})
        before = stock.everything_of(key)
        answer = ask(stock, endpoint, {"license_key": key, "key": "k", "value": "new", **identifiers})
        assert answer.code == code, identifiers
        assert (stock.everything_of(key) == before) == (code == 202)


# --- names and values ---


@pytest.mark.parametrize("endpoint", META)
def test_a_name_that_cannot_be_one_counts_as_absent(stock: Stock, endpoint: str) -> None:
    key = stock.license_key(meta={"k": "old"})
    before = stock.everything_of(key)
    unusable: list[Any] = [[], ["k"], {}, {"k": "v"}, True, False, 1.5, None, "", " ", "x" * 256, "a\0", "\ud800"]
    for name in unusable:
        fields = {"license_key": key, "key": name, "value": "v"}
        assert ask(stock, endpoint, fields).code == MISSING_KEY[endpoint], name
    assert stock.everything_of(key) == before


@pytest.mark.parametrize("name", ["x" * 255, "é" * 255, "a b", "0", "日本-😀", "%", "'; --"])
def test_any_text_can_be_a_name(stock: Stock, name: str) -> None:
    key = stock.license_key()
    for endpoint, code in ((CREATE, 453), (UPDATE, 353)):
        assert ask(stock, endpoint, {"license_key": key, "key": name, "value": endpoint}).code == code
    assert values(stock, key) == {name: UPDATE}
    assert ask(stock, DELETE, {"license_key": key, "key": name}).code == 252


def test_a_name_may_be_a_json_number(stock: Stock) -> None:
    key = stock.license_key()
    assert ask(stock, CREATE, {"license_key": key, "key": 0, "value": "v"}).code == 453
    assert values(stock, key) == {"0": "v"}
    assert ask(stock, DELETE, {"license_key": key, "key": "0"}).code == 252


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        *(
            ("text", "text"),
            ("  x y\n", "x y"),
            ("0", "0"),
            ("null", "null"),
            ("é😀\\/\"'", "é😀\\/\"'"),
            ("\x01", "\x01"),
        ),
        *((5, "5"), (0, "0"), (-1, "-1"), (10**30, "1" + "0" * 30), (1.5, "1.5"), (True, "true"), (False, "false")),
        *(([], "[]"), ({}, "{}"), ([1, "é", None], '[1,"é",null]'), ({"a": {"b": [True]}}, '{"a":{"b":[true]}}')),
        *((["\0"], '["\\u0000"]'), ("x" * 20_000, "x" * 20_000)),
    ],
)
def test_a_value_may_be_of_any_json_type(stock: Stock, value: Any, kept: str) -> None:
    key = stock.license_key(active=["pc"], meta={"old": "x"})
    for endpoint, name, code in ((CREATE, "new", 453), (UPDATE, "old", 353)):
        assert ask(stock, endpoint, {"license_key": key, "key": name, "value": value}).code == code
    assert values(stock, key) == {"old": kept, "new": kept}
    details = stock.desks[DEMO].ask("get-license-key-details", {"license_key": key, "identifier": "pc"})
    expected = [{"key": "old", "value": kept}, {"key": "new", "value": kept}]
    assert details.payload["licenseKey"]["meta_data"] == expected


@pytest.mark.parametrize("value", [None, "", " \t\r\n", "\0", "a\0b", "\ud800", ["\udfff"], {"\ud800": 1}])
@pytest.mark.parametrize("endpoint", [CREATE, UPDATE])
def test_a_value_that_cannot_be_kept_counts_as_absent(stock: Stock, endpoint: str, value: Any) -> None:
    key = stock.license_key(meta={"k": "old"})
    before = stock.everything_of(key)
    for name in ("k", "new"):
        fields = {"license_key": key, "key": name, "value": value}
        assert ask(stock, endpoint, fields).code == MISSING_VALUE[endpoint]
    assert stock.everything_of(key) == before


@pytest.mark.parametrize(
    "value", ["9" * 50, "9" * 5000, "1e25", "1e-400", '{"a":1e3,"a":2}', "12345678901234567890123"]
)
def test_a_number_is_kept_as_a_number_however_long_it_is(stock: Stock, value: str) -> None:
    kept = create_raw(stock, value)
    assert Decimal(kept) == Decimal(value) if value.isdigit() else json.loads(kept) == json.loads(value)


@pytest.mark.parametrize("value", ["1e400", "-1e400", '{"a":[1e400]}'])
def test_a_number_beyond_all_numbers_is_not_kept_as_something_that_is_no_json(stock: Stock, value: str) -> None:
    kept = create_raw(stock, value)
    assert kept == ""


def test_a_long_number_inside_a_value_is_kept_as_text(stock: Stock) -> None:
    """Numbers of more than 40 digits are not computed: no endpoint needs one, and it would cost time for nothing."""
    assert create_raw(stock, f"[{'9' * 50}]") == f'["{"9" * 50}"]'


def create_raw(stock: Stock, value: str) -> str:
    """Attach a value, written as JSON; what is kept of it, "" for nothing."""
    key = stock.license_key()
    head = json.dumps({"api_key": stock.desks[DEMO].api_key, "license_key": key, "key": "k"})[:-1]
    answer = stock.desks[DEMO].raw(CREATE, f'{head},"value":{value}}}')
    assert answer.code in (453, 451)
    return values(stock, key).get("k", "")


def test_a_form_may_hold_what_cannot_be_used(stock: Stock) -> None:
    key = stock.license_key()
    for encoding in ("form", "multipart"):
        for fields, code in (
            ({"key": "x" * 300, "value": "v"}, 450),
            ({"key": "a\0b", "value": "v"}, 450),
            ({"key": "k", "value": "a\0b"}, 451),
            ({"key": "k", "value": ""}, 451),
        ):
            assert ask(stock, CREATE, {"license_key": key, **fields}, encoding=encoding).code == code
    assert values(stock, key) == {}


# --- side by side ---


def test_the_same_name_is_created_once_by_calls_at_the_same_time(stock: Stock) -> None:
    key = stock.license_key(STRICT)

    def create(number: int) -> int | str:
        return ask(stock, CREATE, {"license_key": key, "key": "k", "value": str(number)}, STRICT).code

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(create, range(8)))
    assert sorted(codes, key=str) == [452] * 7 + [453]
    assert values(stock, key) == {"k": str(codes.index(453))}


def test_metadata_do_not_touch_the_license_key_or_its_activations(stock: Stock) -> None:
    key = stock.license_key(active=["pc"], ended=["former"])
    rows, activations, _ = stock.everything_of(key)
    for endpoint in (CREATE, UPDATE, DELETE):
        ask(stock, endpoint, {"license_key": key, "key": "k", "value": "v"})
        assert stock.everything_of(key)[:2] == (rows, activations)
