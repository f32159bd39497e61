"""Numbers and references as clients send them, and refusals in the reference system's words."""

import json
from typing import Any
from uuid import uuid4

import pytest

from hanaper.issuing.schemas import GenerateRequest, ListGeneratorsRequest
from hanaper.products.schemas import ProductRequest
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.web.fields import LARGEST_ID, UNKNOWN_ID, NamedReference, Reference, RequestShape, WholeNumber, validate
from hanaper.web.parameters import clean

UUID = "9b2f8a52-0c3d-4e5f-8a6b-7c8d9e0f1a2b"
INTEGER = "The number field must be an integer."
REFERENCE = "The thing id field must be an integer or a UUID."
ARABIC_INDIC = "\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT ZERO}"
FULL_WIDTH = "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT ZERO}"


class Numbered(RequestShape):
    number: WholeNumber


class Referring(RequestShape):
    thing_id: Reference


class Named(RequestShape):
    thing_id: NamedReference


def errors(shape: type[RequestShape], parameters: dict[str, Any]) -> Any:
    with pytest.raises(Refusal) as caught:
        validate(shape, parameters, context={"max_quantity": 1000}, code=codes.INCORRECT_DATA_LICENSE_CREATE)
    assert caught.value.code is codes.INCORRECT_DATA_LICENSE_CREATE
    assert list(caught.value.payload) == ["errors"]
    return caught.value.payload["errors"]


def number(value: Any) -> int:
    return validate(Numbered, {"number": value}, context={}, code=codes.INTERNAL_ERROR).number


def reference(shape: type[Referring | Named], value: Any) -> int | str:
    return validate(shape, {"thing_id": value}, context={}, code=codes.INTERNAL_ERROR).thing_id


def generate(**parameters: Any) -> GenerateRequest:
    found = {"generator_id": "1", "quantity": "10"} | parameters
    return validate(GenerateRequest, found, context={"max_quantity": 1000}, code=codes.INTERNAL_ERROR)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10, 10),
        (0, 0),
        (-5, -5),
        (10**39, 10**39),
        ("10", 10),
        ("0", 0),
        ("-5", -5),
        ("-0", 0),
        ("010", 10),
        ("-010", -10),
        ("0" * 5000 + "7", 7),
        ("0" * 5000, 0),
        (str(2**63), 2**63),
    ],
    ids=lambda value: str(value)[-10:],
)
def test_a_whole_number_comes_as_number_or_digits(value: Any, expected: int) -> None:
    assert number(value) == expected
    assert type(number(value)) is int


def test_blanks_around_digits_have_gone_before() -> None:
    cleaned = clean({"number": " 10 "})
    assert validate(Numbered, cleaned, context={}, code=codes.INTERNAL_ERROR).number == 10
    assert errors(Numbered, {"number": " 10 "}) == {"number": [INTEGER]}


@pytest.mark.parametrize(
    "value",
    [
        "1_0",
        "1e1",
        "+10",
        "10.0",
        "1,000",
        "0x10",
        "--1",
        "-",
        "1-",
        "- 1",
        "1 0",
        "10\n",
        "\n10",
        "10\0",
        "ten",
        "NaN",
        "Infinity",
        "true",
        "null",
        "\u00b2",
        "\u2212" + "5",
        ARABIC_INDIC,
        FULL_WIDTH,
        "1" + FULL_WIDTH,
        "\U0001d7ce",
        chr(0xD800),
        b"10",
        True,
        False,
        10.0,
        1.5,
        float("nan"),
        float("inf"),
        [],
        [10],
        ["10"],
        {},
        {"a": 1},
    ],
    ids=ascii,
)
def test_anything_else_is_no_integer(value: Any) -> None:
    assert errors(Numbered, {"number": value}) == {"number": [INTEGER]}


@pytest.mark.parametrize("digits", [21, 40, 5_000, 60_000])
def test_a_huge_number_is_out_of_range_and_costs_nothing(digits: int) -> None:
    too_many = {"quantity": ["The quantity field must not be greater than 1000."]}
    too_few = {"quantity": ["The quantity field must be at least 1."]}
    assert errors(GenerateRequest, {"generator_id": 1, "quantity": "9" * digits}) == too_many
    assert errors(GenerateRequest, {"generator_id": 1, "quantity": "-" + "9" * digits}) == too_few
    assert number("9" * digits) > LARGEST_ID
    assert number("1" + "0" * (digits - 1)) > LARGEST_ID


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        ("1", 1),
        ("007", 7),
        (LARGEST_ID, LARGEST_ID),
        (str(LARGEST_ID), LARGEST_ID),
        (LARGEST_ID + 1, UNKNOWN_ID),
        (str(LARGEST_ID + 1), UNKNOWN_ID),
        ("9" * 5000, UNKNOWN_ID),
        (0, UNKNOWN_ID),
        ("0", UNKNOWN_ID),
        (UUID, UUID),
        (UUID.upper(), UUID),
        ("00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("shape", [Referring, Named])
def test_a_reference_is_an_id_or_a_uuid(shape: type[Referring | Named], value: Any, expected: int | str) -> None:
    found = reference(shape, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "value",
    [
        "1.0",
        "1e+3",
        "1_0",
        "+1",
        "{" + UUID + "}",
        UUID[:-1] + "\N{FULLWIDTH DIGIT ONE}",
        -1,
        -(10**39),
        UUID + "\n",
        "1\n",
        ARABIC_INDIC,
        FULL_WIDTH,
        "a b",
        "Acme",
        "acme_editor",
        "acme.editor",
        "' OR 1=1 --",
        "\u017f",
        "a" * 101,
        "\0",
        chr(0xD800),
        True,
        False,
        1.0,
        [],
        [1],
        {"id": 1},
    ],
    ids=ascii,
)
@pytest.mark.parametrize("shape", [Referring, Named])
def test_anything_else_is_no_reference(shape: type[RequestShape], value: Any) -> None:
    assert errors(shape, {"thing_id": value}) == {"thing_id": [REFERENCE]}


@pytest.mark.parametrize(
    "slug",
    [
        "acme",
        "acme-editor",
        "a",
        "3d-studio",
        "a" * 100,
        "product-7",
        "-1",
        "1e3",
        UUID.replace("-", ""),
        UUID + "0",
        UUID[:-1] + "g",
    ],
)
def test_a_named_reference_is_also_a_slug(slug: str) -> None:
    assert reference(Named, slug) == slug
    assert errors(Referring, {"thing_id": slug}) == {"thing_id": [REFERENCE]}


def test_a_missing_field_is_named_with_blanks_for_underscores() -> None:
    assert errors(Referring, {}) == {"thing_id": ["The thing id field is required."]}
    assert errors(Numbered, {"Number": 1}) == {"number": ["The number field is required."]}


def test_all_bad_fields_are_told_at_once() -> None:
    found = errors(GenerateRequest, {"quantity": "x", "activation_limit": "-2", "validity_days": "1000001"})
    assert found == {
        "generator_id": ["The generator id field is required."],
        "quantity": ["The quantity field must be an integer."],
        "activation_limit": ["The activation limit field must be at least 0."],
        "validity_days": ["The validity days field must not be greater than 1000000."],
    }


def test_the_texts_can_be_sent() -> None:
    assert json.loads(json.dumps(errors(GenerateRequest, {}))) == {
        "generator_id": ["The generator id field is required."],
        "quantity": ["The quantity field is required."],
    }


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    assert "SECRET" not in str(errors(GenerateRequest, {"generator_id": "SECRET!", "quantity": "SECRET"}))


def test_unknown_fields_are_ignored() -> None:
    fields = generate(cache_ttl=5, no_cache=True, api_key="k", idempotencyKey="x", metadata={"a": 1})
    assert fields == generate()
    assert not hasattr(fields, "api_key")


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        ("1", None),
        ("1000", None),
        (1000, None),
        ("0", "must be at least 1."),
        (-1, "must be at least 1."),
        ("1001", "must not be greater than 1000."),
        ("1.5", "must be an integer."),
        (True, "must be an integer."),
    ],
)
def test_a_quantity_is_1_to_the_limit(quantity: Any, message: str | None) -> None:
    if message is None:
        assert generate(quantity=quantity).quantity == int(quantity)
    else:
        assert errors(GenerateRequest, {"generator_id": 1, "quantity": quantity}) == {
            "quantity": [f"The quantity field {message}"]
        }


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("0", 0), ("5", 5), (-1, 0), ("-1", 0), (2_147_483_647, 2_147_483_647), (None, None)],
)
def test_an_activation_limit_is_0_to_its_ceiling_and_minus_1_is_unlimited(limit: Any, expected: int | None) -> None:
    assert generate(activation_limit=limit).activation_limit == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("activation_limit", "-2", "The activation limit field must be at least 0."),
        ("activation_limit", 2**31, "The activation limit field must not be greater than 2147483647."),
        ("activation_limit", "many", "The activation limit field must be an integer."),
        ("validity_days", "-1", "The validity days field must be at least 0."),
        ("validity_days", 1_000_001, "The validity days field must not be greater than 1000000."),
        ("validity_days", 1.5, "The validity days field must be an integer."),
    ],
)
def test_a_bad_override_is_told_under_its_name(name: str, value: Any, message: str) -> None:
    assert errors(GenerateRequest, {"generator_id": 1, "quantity": 1, name: value}) == {name: [message]}


@pytest.mark.parametrize("name", ["generator_id", "generator_uuid"])
@pytest.mark.parametrize("value", [7, "7", UUID])
def test_a_generator_has_two_names(name: str, value: Any) -> None:
    found = validate(
        GenerateRequest, {name: value, "count": "3"}, context={"max_quantity": 9}, code=codes.INTERNAL_ERROR
    )
    assert found.generator_id == (value if value == UUID else 7)
    assert found.quantity == 3


def test_a_bad_alias_is_told_under_the_documented_name() -> None:
    assert errors(GenerateRequest, {"generator_uuid": "?", "count": "x", "validity": "y"}) == {
        "generator_id": ["The generator id field must be an integer or a UUID."],
        "quantity": ["The quantity field must be an integer."],
        "validity_days": ["The validity days field must be an integer."],
    }


@pytest.mark.parametrize("name", ["product_id", "product_uuid", "productId", "product_slug"])
@pytest.mark.parametrize(("value", "expected"), [("7", 7), (UUID.upper(), UUID), ("acme", "acme")])
def test_a_product_has_four_names(name: str, value: str, expected: int | str) -> None:
    parameters = {name: value}
    assert validate(ProductRequest, parameters, context={}, code=codes.INTERNAL_ERROR).product_id == expected
    assert validate(ListGeneratorsRequest, parameters, context={}, code=codes.INTERNAL_ERROR).product_id == expected


def test_a_list_needs_no_product() -> None:
    assert validate(ListGeneratorsRequest, {}, context={}, code=codes.INTERNAL_ERROR).product_id is None


def test_any_random_uuid_is_a_reference() -> None:
    for _ in range(100):
        uuid = str(uuid4())
        assert reference(Referring, uuid) == uuid
