"""Request shapes: the first byte says which, the rest is a JSON object."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from tests.support import generated, malformed

from hanaper import api
from hanaper.protocol import codes, payload
from hanaper.refusal import Refusal
from hanaper.registration.schemas import RegisterRequest
from hanaper.web.body import parse_json
from hanaper.web.fields import RequestShape, validate
from hanaper.web.parameters import clean

assert api.ROUTERS  # All shapes are there.


def _below(shape: type[RequestShape]) -> list[type[RequestShape]]:
    found = [shape]
    for each in shape.__subclasses__():
        found += _below(each)
    return found


# Not those that other tests have made.
OURS = [shape for shape in _below(RequestShape)[1:] if shape.__module__.startswith("hanaper.")]
SHAPES = sorted(OURS, key=lambda shape: shape.__qualname__)
ODD: list[Any] = ["a\0", "\ud800", "9" * 30, -(10**30), True, 1.5, [], {"\ud800": "\0"}, ["\0"]]
CONTEXT = {"max_quantity": 1000, "json": True}


def run(data: bytes) -> None:
    if not data:
        return
    try:
        parameters = clean(parse_json(data[1:]))
    except Refusal:
        return
    for is_json in (True, False):
        try:
            found = validate(
                SHAPES[data[0] % len(SHAPES)],
                parameters,
                context=CONTEXT | {"json": is_json},
                code=codes.INCORRECT_DATA_LICENSE_CREATE,
            )
        except Refusal as refusal:
            assert refusal.payload["errors"]
            payload.encode(refusal.payload)
        else:
            if isinstance(found, RegisterRequest):
                # It chooses between two shapes, and looks into what is in them no further than to count.
                assert found.license_keys_asked() >= 0
            else:
                _is_storable(found)


def seeds() -> Iterator[bytes]:
    bodies = [row.body for row in malformed.corpus() if row.body.startswith(b"{") and len(row.body) < 2000]
    for number, shape in enumerate(SHAPES):
        yield bytes([number]) + b"{" + b",".join(b'"%b":"1"' % name.encode() for name in shape.model_fields) + b"}"
        yield from (bytes([number]) + body for body in bodies[number :: len(SHAPES)])
        for name in shape.model_fields:
            for odd in ODD:
                fields = {**generated.fields_for("", "", ""), name: odd}
                yield bytes([number]) + json.dumps({name: fields.get(name) for name in shape.model_fields}).encode()


def _is_storable(value: object) -> None:
    """Whatever comes out of a shape, both databases can hold."""
    match value:
        case BaseModel():
            for name in type(value).model_fields:
                _is_storable(getattr(value, name))
        case dict():
            for name, item in value.items():
                _is_storable(name)
                _is_storable(item)
        case list() | tuple() | set() | frozenset():
            for item in value:
                _is_storable(item)
        case str():
            assert "\0" not in value
            value.encode("utf-8")
        case int():
            assert -(2**63) <= value < 2**63
        case _:
            assert value is None or isinstance(value, datetime)
