"""Request shapes: the first byte says which, the rest is a JSON object."""

from collections.abc import Iterator
from datetime import datetime

from pydantic import BaseModel
from tests.support import malformed

from hanaper import api
from hanaper.protocol import codes, payload
from hanaper.refusal import Refusal
from hanaper.web.body import parse_json
from hanaper.web.fields import RequestShape, storable, validate
from hanaper.web.parameters import clean

assert api.ROUTERS  # All shapes are there.


def _below(shape: type[RequestShape]) -> list[type[RequestShape]]:
    found = [shape]
    for each in shape.__subclasses__():
        found += _below(each)
    return found


SHAPES = sorted(_below(RequestShape)[1:], key=lambda shape: shape.__qualname__)
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
            _is_storable(found)


def seeds() -> Iterator[bytes]:
    bodies = [row.body for row in malformed.corpus() if row.body.startswith(b"{") and len(row.body) < 2000]
    for number, shape in enumerate(SHAPES):
        yield bytes([number]) + b"{" + b",".join(b'"%b":"1"' % name.encode() for name in shape.model_fields) + b"}"
        yield from (bytes([number]) + body for body in bodies[number :: len(SHAPES)])


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
            assert storable(value)
        case int():
            assert -(2**63) <= value < 2**63
        case _:
            assert value is None or isinstance(value, datetime)
