"""Requests by chance: every endpoint, every way to send, nasty values among good ones (reliability.md T24, T30)."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes

from fastapi.routing import APIRoute
from tests.conftest import SAMPLE_KEY

from hanaper import api

LICENSE_KEYS = tuple(f"GENERATED-{number:02}" for number in range(12))
"""Stored in each installation before."""

ENDPOINTS: list[tuple[str, str]] = sorted(
    (method, path) for method, path in api.direct_routes() if path.startswith("/api")
)

_GOOD: dict[str, list[str]] = {
    "api_key": [SAMPLE_KEY],
    "license_key": list(LICENSE_KEYS),
    "identifier": ["example.com", "device-1"],
    "product_id": ["1", "demo"],
    "generator_id": ["1"],
    "quantity": ["1", "2"],
    "activation_limit": ["0", "3", "-1"],
    "validity": ["0", "30"],
    "status": ["available", "assigned", "active", "inactive", "suspended"],
    "license_keys": ['["GENERATED-00","GENERATED-NEW"]'],
    "owner_name": ["A"],
    "owner_email": ["a@example.com"],
    "email": ["a@example.com"],
    "assigned_at": ["2024-02-27 03:05:31"],
    "key": ["k"],
    "value": ["v"],
    "post_url": ["https://example.com/hook"],
    "page": ["1"],
    "per_page": ["5"],
    "generate": ["0", "1"],
    "source": ["internal"],
    "name": ["Name"],
    "description": ["Text"],
    "require_non_expired": ["0", "1"],
    "slug": ["generated"],
    "external_reference": ["E-1"],
    "metadata": ['{"a":"b"}'],
    "licenses": ['[{"generator_id":1}]'],
    "validity_days": ["10"],
    "generator_uuid": ["1"],
    "count": ["1"],
}

SQL = [
    "'",
    "''",
    '"',
    "`",
    "\\",
    "\\'",
    "--",
    "/*",
    "*/",
    ";",
    "' OR '1'='1",
    "' OR 1=1--",
    "1 OR 1=1",
    "1; DROP TABLE products",
    "'; DROP TABLE license_keys; --",
    "' UNION SELECT NULL--",
    "1 UNION SELECT digest FROM api_keys",
    "') OR ('1'='1",
    "1) OR (1=1",
    "' AND 1=0 UNION ALL SELECT 1,2,3--",
    "%' OR '%'='",
    "_",
    "%",
    "' || pg_sleep(5) || '",
    "1;SELECT pg_sleep(5)",
    "' AND (SELECT 1 FROM pg_sleep(5))--",
    "randomblob(1000000000)",
    "' AND randomblob(100000000)--",
    "\u02bc OR 1=1",
    "\uff07 OR 1=1",
    "%27 OR 1=1",
    "$$;DROP TABLE products;$$",
    ":name",
    ":1",
    "%s",
    "%(name)s",
    "?",
    "@@version",
    "0x27",
    "CHAR(39)",
    "chr(39)||chr(39)",
    "'::text",
    "1::int",
    "NULL",
    "null",
    "ATTACH DATABASE 'x' AS y",
    "' GROUP BY 1 HAVING 1=1--",
    "1 LIMIT 1",
    "ORDER BY 99",
    "COPY t TO PROGRAM 'id'",
    "load_extension('x')",
    "PRAGMA table_info(products)",
    "E'\\047'",
]

NASTY: list[str] = [
    *SQL,
    "",
    " ",
    "\t",
    "\0",
    "a\0b",
    "\r\n",
    "X\r\nSet-Cookie: a=b",
    "\x1b[31m",
    "\u2028",
    "\ufeff",
    "\u202e",
    "é",
    "日本",
    "😀",
    "a" * 255,
    "a" * 256,
    "é" * 256,
    "a" * 3000,
    "0",
    "-0",
    "-1",
    "01",
    "+1",
    "1.0",
    "1e3",
    "0x1",
    "1_0",
    "NaN",
    "Infinity",
    "٣",
    "\uff13",
    "²",
    "true",
    "false",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "9" * 400,
    "{0}",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%n",
    "../../etc/passwd",
    "C:\\con",
    "=1+1",
    "@SUM(1)",
    "[]",
    "{}",
    "[[",
    '["a"',
    '[{"generator_id":[]}]',
    '{"a":{"b":1}}',
    "0000-00-00 00:00:00",
    "9999-12-31 23:59:59",
    "2024-02-30 00:00:00",
    "2016-12-31 23:59:60",
    "1709003415",
    "2024-02-27T03:05:31Z",
    "http://",
    "javascript:alert(1)",
    "http://127.0.0.1/",
    "(a+)+$",
    "00000000-0000-0000-0000-000000000000",
    "urn:uuid:2964c3c9-0b5d-4d89-b3ac-4668f30bc492",
]

CONTROLS = ["\0", "a\0b", "GENERATED-00\0", "\r\n", "\x1b[31m", "\u2028", "\ufeff", "\x7f"]

_JSON: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e300,
    10**30,
    [],
    {},
    [[]],
    {"a": {}},
    ["a"],
    {"": ""},
    "\ud800",
    [None],
    {"a": [1]},
]


_NAMING = ["license_key", "identifier", "owner_name", "owner_email", "email", "key", "value", "name", "status"]
NAMES = sorted(_GOOD)
_OTHER_WAYS = {"licenses", "generator_uuid", "count", "validity_days"}
"""Fields that stand for others."""

_DELETE = ("/delete-license-key", "/delete-product")
_ENDS = (*_DELETE, "/update-product")


@dataclass(frozen=True)
class Request:
    """A request as it is sent."""

    method: str
    path: str
    headers: tuple[tuple[str, bytes], ...]
    body: bytes


def by_chance(seed: int) -> Iterator[Request]:
    """Requests without an end, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 -- a test wants to be repeated
    while True:
        method, path = chance.choice(ENDPOINTS)
        if path.endswith(_ENDS) and chance.random() < 0.98:
            # Or there would soon be nothing left to ask for.
            continue
        fields: dict[str, Any] = {}
        if chance.random() < 0.7:
            # All that is needed, so that what is odd in one place is not hidden behind what is missing in another.
            fields = {name: chance.choice(values) for name, values in _GOOD.items() if name not in _OTHER_WAYS}
            fields.update(_odd(chance) for _ in range(chance.randrange(3)))
        else:
            fields = dict(_field(chance) for _ in range(chance.randrange(1, 9)))
        if chance.random() < 0.95:
            fields["api_key"] = SAMPLE_KEY
        yield _spoiled(chance, _sent(chance, method, path, fields))


def with_fields(method: str, path: str, fields: dict[str, str]) -> Request:
    """A well-formed request."""
    return _sent(random.Random(0), method, path, {"api_key": SAMPLE_KEY, **fields})  # noqa: S311 -- only the way to send


def fields_of(endpoint: tuple[str, str]) -> list[str]:
    """What an endpoint says that it reads, and what all of them do. Of one that deletes: what it finds that by."""
    method, path = endpoint
    routes = [route for router in api.ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    described = next(route.openapi_extra or {} for route in routes if path.endswith(f"/v1{route.path}"))
    if method == "GET":
        names = [parameter["name"] for parameter in described["parameters"]]
    else:
        names = list(described["requestBody"]["content"]["application/json"]["schema"]["properties"])
    return names[:2] if path.endswith(_DELETE) else list(dict.fromkeys([*names, "identifier", "idempotency_key"]))


def fields_for(path: str, name: str, value: str) -> dict[str, str]:
    """Something good for each field there is, and in one of them a text."""
    good = {name: values[0] for name, values in _GOOD.items()}
    if path.endswith("-product"):
        good["status"] = "active"
    return {
        **good,
        name: {"license_keys": json.dumps([value]), "metadata": json.dumps({value: value})}.get(name, value),
    }


def _field(chance: random.Random) -> tuple[str, Any]:
    name = chance.choice(list(_GOOD))
    return (name, chance.choice(_GOOD[name])) if chance.random() < 0.55 else _odd(chance)


def _odd(chance: random.Random) -> tuple[str, Any]:
    """A field, more often than not one that names something, with what does not belong there."""
    name = chance.choice(_NAMING) if chance.random() < 0.5 else chance.choice(list(_GOOD))
    kind = chance.random()
    if kind < 0.25:
        return name, chance.choice(CONTROLS)
    return name, chance.choice(NASTY if kind < 0.8 else _JSON)


def _sent(chance: random.Random, method: str, path: str, fields: dict[str, Any]) -> Request:
    if method == "GET":
        return Request(method, f"{path}?{_urlencoded(fields).decode()}", (), b"")
    match chance.randrange(3):
        case 0:
            kind, body = b"application/x-www-form-urlencoded", _urlencoded(fields)
        case 1:
            kind, body = b"application/json", json.dumps(fields).encode()
        case _:
            kind = b"multipart/form-data; boundary=BOUNDARY"
            part = b'--BOUNDARY\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
            body = (
                b"".join(part % (name.encode(), _bytes(value)) for name, value in fields.items()) + b"--BOUNDARY--\r\n"
            )
    return Request(method, path, (("Content-Type", kind),), body)


def _bytes(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


def _urlencoded(fields: dict[str, Any]) -> bytes:
    return "&".join(f"{name}={quote_from_bytes(_bytes(value), safe='')}" for name, value in fields.items()).encode()


def _spoiled(chance: random.Random, request: Request) -> Request:
    """Now and then with bytes of the body cut off, doubled, or changed."""
    body = request.body
    if len(body) < 2 or chance.random() < 0.8:
        return request
    start = chance.randrange(len(body))
    end = min(len(body), start + chance.randrange(1, 20))
    match chance.randrange(4):
        case 0:
            body = body[:start]
        case 1:
            body = body[:start] + body[end:]
        case 2:
            body = body[:end] + body[start:]
        case _:
            body = body[:start] + bytes(chance.randrange(256) for _ in range(end - start)) + body[end:]
    return Request(request.method, request.path, request.headers, body)
