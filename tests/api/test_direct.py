"""The short way to an endpoint: the same answers as the framework's, and the framework for everything else."""

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send
from tests.conftest import KEYS_IN, SAMPLE_KEY, Installation, token_settings
from tests.support.api import Api, serving
from tests.support.raw import send
from tests.support.world import World, counts

from hanaper import api as endpoints
from hanaper.access import abilities
from hanaper.app import create_app, open_services
from hanaper.metrics.meter import OFF
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.settings import Settings
from hanaper.web.direct import Direct
from hanaper.web.failures import failure_response
from hanaper.web.hosts import AllowedHosts
from hanaper.web.middleware import Edge
from hanaper.web.readiness import Readiness
from hanaper.web.responses import SignedResponse
from hanaper.web.services import Services

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
# Two requests have different ones, and uvicorn writes the date.
DIFFERS = {"x-request-id", "date"}
Headers = list[tuple[str, bytes]]


# --- which way a request goes ---


def test_every_endpoint_is_in_the_table_under_both_base_paths() -> None:
    declared = {
        (method, base_path + route.path): route.endpoint
        for router in endpoints.ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        for base_path in ("/api/v1", "/v1")
    }
    assert endpoints.direct_routes() == declared
    assert {path for _, path in declared} == {
        f"{base_path}/{name}" for base_path in ("/api/v1", "/v1") for name in abilities.ENDPOINTS
    }
    assert sum(len(router.routes) for router in endpoints.ROUTERS) == len(abilities.ENDPOINTS) == 26


@dataclass
class Ways:
    """Where requests have gone."""

    framework: list[str]
    direct: list[str]


@pytest.fixture
def ways() -> Ways:
    return Ways([], [])


def told(ways: Ways, method: str, path: str, kind: str = "http") -> None:
    """Send a request through a table with one entry."""

    async def framework(scope: Scope, _receive: Receive, _send: Send) -> None:
        ways.framework.append(scope["type"])

    async def route(request: Request) -> Response:
        assert request.app is app
        ways.direct.append(request.url.path)
        return PlainTextResponse("direct")

    app: Starlette = framework  # type: ignore[assignment]  # all that matters is that it is called
    scope: Scope = {"type": kind, "path": path, "query_string": b"", "headers": [], "server": ("test", 80)}
    if kind == "http":
        scope.update(method=method, http_version="1.1", scheme="http")

    async def receive() -> Message:
        return {"type": "http.request"}

    async def ignore(_: Message) -> None:
        pass

    asyncio.run(Direct(app, {("POST", "/v1/generate"): route})(scope, receive, ignore))


def test_what_is_in_the_table_does_not_go_through_the_framework(ways: Ways) -> None:
    told(ways, "POST", "/v1/generate")
    assert ways == Ways([], ["/v1/generate"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/generate"),
        ("HEAD", "/v1/generate"),
        ("OPTIONS", "/v1/generate"),
        ("post", "/v1/generate"),
        ("POST", "/v1/generate/"),
        ("POST", "/v1/Generate"),
        ("POST", "//v1/generate"),
        ("POST", ""),
        ("POST", "*"),
    ],
)
def test_everything_else_does(ways: Ways, method: str, path: str) -> None:
    told(ways, method, path)
    assert ways == Ways(["http"], [])


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_what_is_no_request_does_as_well(ways: Ways, kind: str) -> None:
    told(ways, "POST", "/v1/generate", kind)
    assert ways == Ways([kind], [])


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        *((method, path, 1701) for method in ("GET", "PUT", "DELETE") for path in ("/api/v1/generate", "/v1/generate")),
        *(("POST", path, 1701) for path in ("/api/v1/get-all-generators", "/v1/get-product-public-key")),
        ("POST", "/api/v1/generate/", 1700),
        ("POST", "/api/v1/generat", 1700),
        ("GET", "/api/v1/openapi.json", 1700),
    ],
)
def test_unknown_paths_and_wrong_methods_are_still_answered(world: World, method: str, path: str, code: int) -> None:
    answer = world.api.check(send(world.api.base_url, method, path))
    assert (answer.code, answer.signed_by) == (code, "global")


def test_an_escaped_path_is_the_same_path(world: World) -> None:
    fields = f"api_key={world.keys['good']}&generator_id=1&quantity=1".encode()
    for path in ("/api/v1/generate", "/api/v1/%67enerate", "/%61pi/v1/gener%61te?x=y"):
        answer = world.api.check(send(world.api.base_url, "POST", path, [("Content-Type", FORM.encode())], fields))
        assert answer.code == 815


def test_what_nobody_foresaw_on_the_long_way_is_signed_as_well(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def bug(_: Readiness) -> None:
        raise ZeroDivisionError("secret details")

    with monkeypatch.context() as planted:
        planted.setattr(Readiness, "reason", bug)
        answer = api.get("/readyz")
    assert (answer.code, answer.status, answer.signed_by) == (1706, 500, "global")
    assert b"secret" not in answer.http.content
    assert api.http.get("/readyz").status_code == 200


# --- what comes back ---


@dataclass(frozen=True)
class Both:
    """The same installation, asked by the short way and through the framework alone."""

    direct: str
    framework: str
    services: Services


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, request: pytest.FixtureRequest
) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both") / "data"
    shutil.copytree(sqlite_template, folder)
    settings = Settings(data_dir=folder, **token_settings(KEYS_IN, request))
    # The time stands still, so that the same answer is the same bytes.
    services, others = (open_services(settings, lambda: NOW) for _ in range(2))
    direct = create_app(services)
    edge = create_app(others)
    assert isinstance(edge, Edge)
    inner = edge._app  # noqa: SLF001 -- to leave the short way out
    assert isinstance(inner, Direct)
    framework = inner._app  # noqa: SLF001 -- as above
    # As it was before there was a short way: inside of the framework's own error middleware.
    framework.add_middleware(
        Edge, signing=others.signing, endpoints={}, meter=OFF, drain=others.drain, hosts=AllowedHosts([])
    )
    with serving(direct) as one, serving(framework) as other:
        yield Both(one, other, services)


FIELDS = f"api_key={SAMPLE_KEY}&product_id=1"
REQUESTS: list[tuple[str, str, Headers, bytes]] = [
    ("GET", f"/api/v1/get-all-generators?{FIELDS}", [], b""),
    ("GET", f"/v1/get-product-public-key?{FIELDS}", [], b""),
    ("GET", "/v1/get-product-public-key", [("Authorization", f"Bearer {SAMPLE_KEY}".encode())], b""),
    ("GET", "/api/v1/get-all-generators", [], b""),
    ("GET", "/api/v1/get-all-generators?api_key=%FF", [], b""),
    ("HEAD", f"/api/v1/get-all-generators?{FIELDS}", [], b""),
    ("POST", "/api/v1/generate", [("Content-Type", FORM.encode())], b""),
    ("POST", "/api/v1/generate", [("Content-Type", FORM.encode())], f"{FIELDS}&quantity=x".encode()),
    ("POST", "/v1/generate", [("Content-Type", JSON.encode())], b"{"),
    ("POST", "/v1/generate", [("Content-Type", JSON.encode())], json.dumps({"api_key": "wrong"}).encode()),
    ("POST", "/v1/generate", [("Content-Type", b"text/plain")], b"x"),
    ("POST", "/v1/generate", [("Content-Type", JSON.encode()), ("X-API-Key", SAMPLE_KEY.encode())], b"[]"),
    ("POST", "/v1/generate", [("Content-Type", FORM.encode())], f"{FIELDS}&generator_id=99&quantity=1".encode()),
    ("POST", "/v1/generate", [("Content-Type", FORM.encode())], b"x" * 70_000),
    ("POST", "/unknown", [], b""),
    ("DELETE", "/v1/generate", [], b""),
    ("GET", "/healthz", [], b""),
    ("HEAD", "/readyz", [], b""),
]


def lines(response: httpx.Response) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in response.headers.multi_items() if name not in DIFFERS)


@pytest.mark.parametrize(
    "request_", REQUESTS, ids=[f"{method} {path} {body[:40]!r}" for method, path, _, body in REQUESTS]
)
def test_both_ways_give_the_same_bytes(both: Both, request_: tuple[str, str, Headers, bytes]) -> None:
    method, path, headers, body = request_
    one = send(both.direct, method, path, headers, body)
    other = send(both.framework, method, path, headers, body)
    assert one.status_code == other.status_code
    assert one.content == other.content

    assert lines(one) == lines(other)


def test_license_keys_come_by_both_ways(both: Both) -> None:
    """These are drawn, and so never the same."""
    body = f"{FIELDS}&generator_id=1&quantity=3".encode()
    before = counts(both.services.storage)
    answers = [
        send(base_url, "POST", "/api/v1/generate", [("Content-Type", FORM.encode())], body)
        for base_url in (both.direct, both.framework)
    ]
    for answer in answers:
        outer = answer.json()
        assert (answer.status_code, outer["response"]["code"], outer["private_key_used"]) == (200, 815, "product")
    assert len({key for answer in answers for key in answer.json()["response"]["licenseKeys"]}) == 6
    assert answers[0].headers["x-signing-key-id"] == answers[1].headers["x-signing-key-id"]
    after = counts(both.services.storage)
    assert (after.license_keys - before.license_keys, after.batches - before.batches) == (6, 2)


ONCE = (
    *("content-type", "content-length", "x-signing-key-id", "x-request-id", "cache-control"),
    "x-content-type-options",
)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/generate"),
        ("GET", "/v1/get-all-generators"),
        ("GET", "/v1/generate"),
        ("GET", "/unknown"),
        ("HEAD", "/api/v1/generate"),
    ],
)
def test_every_header_line_stands_there_once(world: World, method: str, path: str) -> None:
    headers = [("X-API-Key", world.keys["good"].encode()), ("Content-Type", FORM.encode())]
    response = send(
        world.api.base_url, method, path, headers, b"generator_id=1&quantity=2" if method == "POST" else b""
    )
    names = [name for name, _ in response.headers.multi_items()]
    assert len(names) == len(set(names))
    assert set(ONCE) <= set(names)
    if method == "HEAD":
        assert response.content == b""
        assert int(response.headers["content-length"]) > 0
    else:
        world.api.check(response)
        assert int(response.headers["content-length"]) == len(response.content)


# --- responses ---


def sent(response: Response) -> tuple[dict[str, object], bytes]:
    """What a response says to the server: its start, and its body."""
    messages: list[Message] = []

    async def collect(message: Message) -> None:
        messages.append(message)

    async def nothing() -> Message:
        return {"type": "http.request"}

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(response(scope, nothing, collect))
    start, body = messages
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    assert not body.get("more_body", False)
    return dict(start), body["body"]


def test_a_response_is_the_signed_body_and_its_headers(world: World) -> None:
    answer = world.services.signing.answer(codes.UNKNOWN_ENDPOINT, {})
    start, body = sent(SignedResponse(answer))
    assert body is answer.body
    assert start["status"] == 404
    assert start["headers"] == [
        (b"content-length", b"%d" % len(answer.body)),
        (b"content-type", b"application/json"),
        (b"x-signing-key-id", answer.kid.encode()),
    ]


def test_a_response_takes_more_headers_in_the_form_http_has_them(world: World) -> None:
    answer = world.services.signing.answer(codes.SERVICE_UNAVAILABLE, {})
    response = SignedResponse(answer, {"Retry-After": "5", "Allow": "GET, HEAD"})
    start, _ = sent(response)
    headers = start["headers"]
    assert isinstance(headers, Sequence)
    assert list(headers)[3:] == [(b"retry-after", b"5"), (b"allow", b"GET, HEAD")]
    assert response.headers["retry-after"] == "5"
    assert response.headers["content-type"] == "application/json"
    assert (response.status_code, response.media_type) == (503, "application/json")


def test_a_response_is_as_the_base_class_would_have_made_it(world: World) -> None:
    answer = world.services.signing.answer(codes.METHOD_NOT_ALLOWED, {})
    ours = SignedResponse(answer, {"Allow": "POST"})
    theirs = Response(
        answer.body, 405, {"X-Signing-Key-Id": answer.kid, "Allow": "POST"}, media_type="application/json"
    )
    assert sorted(ours.raw_headers) == sorted(theirs.raw_headers)
    assert (ours.body, ours.status_code, ours.background) == (theirs.body, theirs.status_code, theirs.background)


def test_a_failure_is_such_a_response(world: World) -> None:
    refusal = Refusal(codes.BODY_TOO_LARGE, headers={"Connection": "close"})
    start, body = sent(asyncio.run(failure_response(refusal, world.services.signing)))
    assert start["status"] == 413
    headers = start["headers"]
    assert isinstance(headers, Sequence)
    assert (b"connection", b"close") in headers
    assert json.loads(body)["response"]["code"] == 1702


def test_the_server_closes_its_services_when_it_stops(installation: Installation) -> None:
    """The lifespan goes the long way."""
    services = open_services(installation.settings)
    with serving(create_app(services)) as base_url:
        body = f"{FIELDS}&generator_id=1&quantity=1".encode()
        headers: Headers = [("Content-Type", FORM.encode())]
        assert send(base_url, "POST", "/v1/generate", headers, body).status_code == 200
        writer = services.storage._writer._thread  # noqa: SLF001 -- of which nothing else tells
        assert writer is not None
        assert writer.is_alive()
    assert not writer.is_alive()
