"""Reading a request's body into names and values (protocol.md 2.3).

Three encodings, one result. A name that comes twice keeps its last value, as in PHP; unknown names are kept here and
ignored by the endpoints.
"""

import json
import re
from typing import NoReturn, TypeAlias
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from hanaper.protocol import codes
from hanaper.refusal import Refusal

Parameters: TypeAlias = dict[str, object]
"""Names with text, or, from JSON, any JSON value."""

MOST_FIELDS = 64
DEEPEST_JSON = 64
_MOST_DIGITS = 40
_FORM = b"application/x-www-form-urlencoded"
_LENGTH = re.compile(rb"[0-9]{1,18}")
_UTF8_NAMES = frozenset({b"", b"utf-8", b"utf8"})


async def read_body(request: Request, most_bytes: int) -> Parameters:
    """The parameters in the body of a request.

    Raises:
        Refusal: 1702 too large, 1703 unreadable, 1704 an encoding that is not spoken here.
    """
    if {encoding.strip().lower() for encoding in header_lines(request, b"content-encoding")} - {b"", b"identity"}:
        raise _unsupported("Content-Encoding is not supported: send the body as it is.")
    body = await _receive(request, most_bytes)
    header = header_lines(request, b"content-type")
    if len(header) > 1:
        raise _unsupported("There is more than one Content-Type header.")
    if not body.strip():
        return {}
    if header == [_FORM]:
        return parse_urlencoded(body)
    kind, options = parse_options_header(header[0] if header else None)
    if options.get(b"charset", b"").strip().lower() not in _UTF8_NAMES:
        raise _unsupported("The charset must be utf-8.")
    match kind:
        case _ if kind == _FORM:
            return parse_urlencoded(body)
        case b"multipart/form-data":
            return parse_multipart(body, options.get(b"boundary", b""))
        case b"application/json":
            return parse_json(body)
    raise _unsupported(
        "Content-Type must be application/x-www-form-urlencoded, multipart/form-data or application/json."
    )


def header_lines(request: Request, name: bytes) -> list[bytes]:
    """The values of a header, one for each line."""
    return [value for line, value in request.scope["headers"] if line == name]


def parse_urlencoded(text: bytes) -> Parameters:
    """Read `a=1&b=2`, from a body or a query string (WHATWG URL, 5.1), strictly UTF-8.

    Raises:
        Refusal: 1703.
    """
    if text.count(b"&") >= MOST_FIELDS:
        _unreadable(f"There are more than {MOST_FIELDS} fields.")
    found: Parameters = {}
    for pair in text.split(b"&"):
        if pair:
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            found[_text(unquote_to_bytes(name))] = _text(unquote_to_bytes(value))
    return found


def parse_multipart(body: bytes, boundary: bytes) -> Parameters:
    """Read multipart/form-data (RFC 7578). Text fields only: there is no file to upload anywhere.

    Raises:
        Refusal: 1703.
    """
    if not boundary:
        _unreadable("The multipart boundary is missing.")
    parts = _Parts()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header_field,
                "on_header_value": parts.header_value,
                "on_header_end": parts.header_end,
                "on_part_data": parts.data,
                "on_part_end": parts.end,
                "on_end": parts.finish,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError:
        _unreadable("The multipart body is malformed.")
    if not parts.complete:
        _unreadable("The multipart body is cut off.")
    return parts.found


def parse_json(body: bytes) -> Parameters:
    """Read a JSON object (RFC 8259), strictly UTF-8. An empty array is an empty object: PHP knows one kind.

    Raises:
        Refusal: 1703.
    """
    try:
        value = json.loads(_text(body), parse_constant=_no_constant, parse_int=_whole_number)
    except (ValueError, RecursionError):
        _unreadable("The body is not valid JSON.")
    if value == []:
        return {}
    if not isinstance(value, dict):
        _unreadable("The JSON body must be an object.")
    if _is_deeper(value, DEEPEST_JSON):
        _unreadable(f"The JSON body is nested more than {DEEPEST_JSON} deep.")
    return value


class _Parts:
    """Collects what the multipart parser finds."""

    def __init__(self) -> None:
        self.found: Parameters = {}
        self.complete = False
        self._count = 0
        self._reset()

    def _reset(self) -> None:
        self._field = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._content = bytearray()

    def begin(self) -> None:
        self._count += 1
        if self._count > MOST_FIELDS:
            _unreadable(f"There are more than {MOST_FIELDS} fields.")
        self._reset()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def end(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        if disposition != b"form-data" or b"name" not in options:
            _unreadable("A part of the multipart body has no name.")
        if b"filename" in options:
            _unreadable("Files are not accepted.")
        self.found[_text(options[b"name"])] = _text(bytes(self._content))

    def finish(self) -> None:
        self.complete = True


async def _receive(request: Request, most_bytes: int) -> bytes:
    announced = header_lines(request, b"content-length")
    if announced and _LENGTH.fullmatch(announced[0]) and int(announced[0]) > most_bytes:
        raise _too_large(most_bytes)
    received = b""
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        received += message.get("body", b"")
        more = message.get("more_body", False)
        if len(received) > most_bytes:
            raise _too_large(most_bytes)
    return received


def _is_deeper(value: object, levels: int) -> bool:
    """Whether arrays and objects are nested deeper. How deep the parser itself goes differs by interpreter."""
    layer = [value]
    for _ in range(levels):
        inner = [item for item in layer if isinstance(item, dict | list)]
        layer = [part for item in inner for part in (item.values() if isinstance(item, dict) else item)]
        if not layer:
            return False
    return any(isinstance(item, dict | list) for item in layer)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        _unreadable("The text is not UTF-8.")


def _whole_number(digits: str) -> int | str:
    """A number beyond any limit stays text: turning thousands of digits into an int would cost time for nothing."""
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unreadable(reason: str) -> NoReturn:
    raise Refusal(codes.UNREADABLE_BODY, {"errors": {"request": [reason]}}) from None


def _unsupported(reason: str) -> Refusal:
    return Refusal(codes.UNSUPPORTED_CONTENT_TYPE, {"errors": {"request": [reason]}})


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(
        codes.BODY_TOO_LARGE,
        {"errors": {"request": [f"The body must not be larger than {most_bytes} bytes."]}},
        headers={"Connection": "close"},
    )
