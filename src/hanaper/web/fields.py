"""Field types of request shapes, and their refusals in the reference system's words (protocol.md 4.0)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
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

_TEXTS = {
    "missing": "The {name} field is required.",
    "integer": "The {name} field must be an integer.",
    "reference": "The {name} field must be an integer or a UUID.",
    "greater_than_equal": "The {name} field must be at least {ge}.",
    "less_than_equal": "The {name} field must not be greater than {le}.",
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
            text = _TEXTS[item["type"]].format(name=field.replace("_", " "), **item.get("ctx", {}))
            errors[field] = [text]
        raise Refusal(code, {"errors": errors}) from None
