"""Field types of request shapes, and their refusals in the reference system's words (protocol.md 4.0)."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from hanaper.protocol.codes import Code
from hanaper.protocol.payload import JsonValue
from hanaper.refusal import Refusal

LARGEST_ID = 2**63 - 1
_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_SLUG = re.compile(r"[a-z0-9-]{1,100}", re.ASCII)
# Longer numbers than this are out of every range; they need not be computed to be refused.
_MOST_DIGITS = 20

LONGEST_TEXT = 255
LONGEST_URL = 2048
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_MOMENT = "%Y-%m-%d %H:%M:%S"
_MOMENT_SHAPE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)

UNKNOWN_ID = -1
"""Stands for an id that no row can have."""


class RequestShape(BaseModel):
    """Base of all request shapes. Unknown fields are ignored: the clients send some (protocol.md 4.0)."""

    model_config = ConfigDict(extra="ignore", frozen=True, loc_by_alias=False, validate_by_name=True)


def _whole_number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return -_number(value[1:]) if value.startswith("-") else _number(value)
    raise PydanticCustomError("integer", "an integer is needed")


def _number(digits: str) -> int:
    return int(digits.lstrip("0")[:_MOST_DIGITS] or "0")


def _reference(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value if 0 < value <= LARGEST_ID else UNKNOWN_ID
    if isinstance(value, str):
        if _DIGITS.fullmatch(value):
            number = _number(value)
            return number if 0 < number <= LARGEST_ID else UNKNOWN_ID
        if _UUID.fullmatch(value):
            return value.lower()
    raise PydanticCustomError("reference", "an id or a UUID is needed")


def _named_reference(value: object) -> int | str:
    if isinstance(value, str) and _SLUG.fullmatch(value) and not _DIGITS.fullmatch(value):
        return value
    return _reference(value)


def storable(text: str) -> bool:
    """Whether both databases can hold a text: no NUL, and nothing that is not UTF-8."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def _text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and storable(value):
        return value
    raise PydanticCustomError("string", "a text is needed")


def _usable_text(value: object) -> str:
    """A text of a field that has no error of its own on the wire: what is unusable counts as absent."""
    try:
        text = _text(value)
    except PydanticCustomError:
        return ""
    return text if len(text) <= LONGEST_TEXT else ""


def _flag(value: object) -> int:
    if isinstance(value, int | str):  # Not 1.0, which equals 1.
        if value in (1, "1", "true"):
            return 1
        if value in (0, "0", "false"):
            return 0
    raise PydanticCustomError("selected", "0 or 1 is needed")


def _moment(value: object) -> datetime:
    if isinstance(value, str) and _MOMENT_SHAPE.fullmatch(value):
        try:
            return datetime.strptime(value, _MOMENT).replace(tzinfo=UTC)
        except ValueError:
            pass
    raise PydanticCustomError("moment", "a moment is needed")


def meta_value(value: object) -> str:
    """The clients send values of any JSON type: what is not text is kept as JSON. "" where it cannot be kept."""
    try:
        text = value if isinstance(value, str) else _COMPACT.encode(value)
    except ValueError:  # A number beyond all numbers, such as 1e400.
        return ""
    return text if storable(text) else ""


def is_url(text: str) -> bool:
    """Whether a text is an http or https URL of at most 2048 characters, as far as its beginning tells."""
    return len(text) <= LONGEST_URL and text.isprintable() and text.startswith(("http://", "https://"))


def _url(value: object) -> str:
    text = _text(value)
    if not is_url(text):
        raise PydanticCustomError("selected", "a URL is needed")
    return text


def _usable_url(value: object) -> str:
    try:
        return _url(value)
    except PydanticCustomError:
        return ""


_ID_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "format": "uuid"}]}

WholeNumber: TypeAlias = Annotated[
    int,
    BeforeValidator(_whole_number),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^-?[0-9]+$"}]}),
]
"""An integer, or its ASCII digits as text. No `+`, no `1_0`, no `1e1`, no `10.0`, no digits of other scripts."""

Reference: TypeAlias = Annotated[int | str, BeforeValidator(_reference), WithJsonSchema(_ID_SCHEMA)]
"""A numeric id or a UUID, whatever the field is called (protocol.md 4.0, "Ids")."""

NamedReference: TypeAlias = Annotated[
    int | str,
    BeforeValidator(_named_reference),
    WithJsonSchema({"anyOf": [*_ID_SCHEMA["anyOf"], {"type": "string", "pattern": _SLUG.pattern}]}),
]
"""A numeric id, a UUID or a slug."""

Text: TypeAlias = Annotated[str, BeforeValidator(_text), Field(max_length=LONGEST_TEXT)]
"""A text of at most 255 characters; a JSON integer is taken as its digits."""

LongText: TypeAlias = Annotated[str, BeforeValidator(_text)]
"""A text as long as the body allows."""

UsableText: TypeAlias = Annotated[str, BeforeValidator(_usable_text), WithJsonSchema({"type": "string"})]
"""A text of at most 255 characters, or "" where there is none that can be used: see the endpoint what that means."""

Flag: TypeAlias = Annotated[int, BeforeValidator(_flag), WithJsonSchema({"enum": [0, 1]})]
"""0 or 1, as a number or as text; `true` and `false` are understood."""

WireMoment: TypeAlias = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "pattern": _MOMENT_SHAPE.pattern})
]
"""A moment in UTC, `2024-02-27 03:05:31` (protocol.md 5.5)."""

MetaValue: TypeAlias = Annotated[str, BeforeValidator(meta_value), WithJsonSchema({})]
"""The value of metadata, of any JSON type, as text; "" where there is none that can be kept."""

Url: TypeAlias = Annotated[str, BeforeValidator(_url), WithJsonSchema({"type": "string", "format": "uri"})]
"""An http or https URL of at most 2048 characters."""

UsableUrl: TypeAlias = Annotated[str, BeforeValidator(_usable_url), WithJsonSchema({"type": "string", "format": "uri"})]
"""The same, or "" where there is none that can be used."""

_TEXTS = {
    "missing": "The {name} field is required.",
    "integer": "The {name} field must be an integer.",
    "reference": "The {name} field must be an integer or a UUID.",
    "greater_than_equal": "The {name} field must be at least {ge}.",
    "less_than_equal": "The {name} field must not be greater than {le}.",
    "string": "The {name} field must be a string.",
    "too_long": "The {name} field must not be greater than {max_length} characters.",
    "array": "The {name} field must be an array.",
    "selected": "The selected {name} is invalid.",
    "moment": "The {name} field must match the format Y-m-d H:i:s.",
}

Shape = TypeVar("Shape", bound=RequestShape)


def validate(shape: type[Shape], parameters: Mapping[str, object], *, context: dict[str, Any], code: Code) -> Shape:
    """Check parameters against a shape.

    Args:
        parameters: as `read_parameters` gives them.
        context: limits from the settings, for the shape's validators.
        code: answers for bad fields.

    Raises:
        Refusal: `code`, with `errors`: every bad field with its texts.
    """
    try:
        return shape.model_validate(parameters, context=context)
    except ValidationError as error:
        errors: dict[str, JsonValue] = {}
        for item in error.errors(include_url=False, include_input=False):
            field = str(item["loc"][0])
            errors[field] = [error_text(item["type"], field, **item.get("ctx", {}))]
        raise Refusal(code, {"errors": errors}) from None


def error_text(kind: str, field: str, **values: object) -> str:
    """What is said of a bad field, in the reference system's words."""
    return _TEXTS[kind].format(name=field.replace("_", " "), **values)


def bad_field(code: Code, field: str, kind: str = "selected") -> Refusal:
    """The refusal of one field that only the database could tell to be bad."""
    return Refusal(code, {"errors": {field: [error_text(kind, field)]}})
