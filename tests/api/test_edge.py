"""What never reaches an endpoint: 1700 to 1706, headers, health (docs/errors.md)."""

import hashlib
import json
from collections.abc import Iterator, Sequence

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.engine.interfaces import DBAPICursor
from structlog.testing import capture_logs
from tests.conftest import IN_THIS_PROCESS, SAMPLE_KEY
from tests.support.api import Api
from tests.support.raw import connected, receive, send
from tests.support.world import World, counts, nothing_stored

from hanaper.issuing import batch_store, routes
from hanaper.signing.signer import Signer
from hanaper.web.services import Services

GENERATE = "/api/v1/generate"
SPOKEN = "Content-Type must be application/x-www-form-urlencoded, multipart/form-data or application/json."
FORM = ("Content-Type", b"application/x-www-form-urlencoded")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "//",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/v1/",
        "/api/v2/generate",
        "/api/v1/unknown",
        "/api/v1/generate/",
        "//api/v1/generate",
        "/api//v1/generate",
        "/api/v1//generate",
        "/api/v1/./generate",
        "/api/v1/../v1/generate",
        "/api/v1/%2e/generate",
        "/api/v1/generate;x",
        "/api/v1/generate%00",
        "/api/v1/generate%20",
        "/api/v1/generate%2F",
        "/api/v1/generate.json",
        "/api/v1/Generate",
        "/API/V1/generate",
        "/api/api/v1/generate",
        "/api/v1/%FF",
        "/api/v1/%ED%A0%80",
        "/generate",
        "/openapi.json",
        "/docs",
        "/redoc",
        "/healthz/",
        "/favicon.ico",
        "/" + "a" * 30_000,
    ],
)
def test_an_unknown_path_is_answered_in_a_signed_envelope(world: World, method: str, path: str) -> None:
    answer = world.api.check(send(world.api.base_url, method, path))
    assert (answer.code, answer.status, answer.signed_by) == (1700, 404, "global")
    assert answer.payload["message"] == "Unknown endpoint"
    assert list(answer.payload) == ["code", "message", "timestamp"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        *[
            (method, f"{base}/generate", "POST")
            for base in ("/api/v1", "/v1")
            for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE")
        ],
        *[
            (method, f"/api/v1/{name}", "GET")
            for name in ("get-all-generators", "get-product-public-key")
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
        ],
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/readyz", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(world: World, method: str, path: str, allow: str) -> None:
    with nothing_stored(world.storage):
        answer = world.api.check(send(world.api.base_url, method, path, [("X-API-Key", world.keys["good"].encode())]))
    assert (answer.code, answer.status, answer.signed_by) == (1701, 405, "global")
    assert sorted(answer.http.headers["allow"].split(", ")) == allow.split(", ")
    assert list(answer.payload) == ["code", "message", "timestamp"]


@pytest.mark.parametrize(
    ("path", "status", "allow"),
    [(GENERATE, 405, "POST"), ("/v1/get-all-generators", 405, "GET"), ("/unknown", 404, None)],
)
def test_head_has_the_headers_and_no_body(world: World, path: str, status: int, allow: str | None) -> None:
    response = send(world.api.base_url, "HEAD", path)
    assert (response.status_code, response.content) == (status, b"")
    assert response.headers.get("allow") == allow
    assert response.headers["x-signing-key-id"]


@pytest.mark.parametrize("announced", [65_537, 10**9, 10**17])
def test_a_body_that_announces_itself_as_too_large_is_not_read(world: World, announced: int) -> None:
    response = send(world.api.base_url, "POST", GENERATE, [FORM], announced=announced)
    answer = world.api.check(response)
    assert (answer.code, answer.status, answer.signed_by) == (1702, 413, "global")
    assert answer.errors == {"request": ["The body must not be larger than 65536 bytes."]}
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("size", [65_537, 100_000])
def test_a_body_in_chunks_is_read_up_to_the_limit(world: World, size: int) -> None:
    chunk = b"%x\r\n" % 1000 + b"x" * 1000 + b"\r\n"
    body = chunk * (size // 1000 + 1) + b"0\r\n\r\n"
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" % GENERATE.encode()
    with connected(world.api.base_url) as connection:
        connection.sendall(head + b"Content-Type: application/json\r\n\r\n" + body)
        answer = world.api.check(receive(connection, "POST"))
    assert (answer.code, answer.status) == (1702, 413)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_exactly_the_limit_is_read(world: World, chunked: bool) -> None:  # noqa: FBT001 -- a table
    start = f"api_key={world.keys['good']}&generator_id=1&quantity=1&x=".encode()
    body = start + b"x" * (65_536 - len(start))

    def chunks() -> Iterator[bytes]:
        yield body[:30_000]
        yield body[30_000:]

    content = chunks() if chunked else body
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert world.api.check(world.api.http.post(GENERATE, content=content, headers=headers)).code == 815


@pytest.mark.parametrize("path", [GENERATE, "/v1/generate"])
def test_an_empty_body_of_any_type_asks_for_nothing(world: World, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert world.api.check(world.api.http.post(path, headers=headers)).code == 100
    headers["Authorization"] = f"Bearer {world.keys['good']}"
    answer = world.api.check(world.api.http.post(path, headers=headers))
    assert (answer.code, list(answer.errors)) == (901, ["generator_id", "quantity"])


@pytest.mark.parametrize("path", ["/api/v1/get-all-generators", "/v1/get-all-generators"])
def test_a_get_may_say_that_it_is_json(world: World, path: str) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {world.keys['good']}"}
    assert world.api.get(path, headers=headers).code == 820


@pytest.mark.parametrize(
    ("body", "content_type", "code", "text"),
    [
        (b"{", "application/json", 1703, "The body is not valid JSON."),
        (b"1", "application/json", 1703, "The JSON body must be an object."),
        (b"a=%FF", "application/x-www-form-urlencoded", 1703, "The text is not UTF-8."),
        (b"&" * 64, "application/x-www-form-urlencoded", 1703, "There are more than 64 fields."),
        (b"x", "multipart/form-data", 1703, "The multipart boundary is missing."),
        (b"x", "multipart/form-data; boundary=X", 1703, "The multipart body is malformed."),
        (
            b'--X\r\nContent-Disposition: form-data; name="x"\r\n\r\n1',
            "multipart/form-data; boundary=X",
            1703,
            "The multipart body is cut off.",
        ),
        (b"x", "text/plain", 1704, SPOKEN),
        (b"x", "application/json; charset=latin-1", 1704, "The charset must be utf-8."),
    ],
)
def test_what_cannot_be_read_is_explained(world: World, body: bytes, content_type: str, code: int, text: str) -> None:
    response = world.api.http.post(GENERATE, content=body, headers={"Content-Type": content_type})
    answer = world.api.check(response)
    assert (answer.code, answer.signed_by) == (code, "global")
    assert answer.errors == {"request": [text]}


def test_every_answer_has_an_id_of_its_own_whatever_the_caller_sends(world: World) -> None:
    sent = "0" * 32
    headers = {"X-Request-Id": sent}
    seen = {world.api.http.get(path, headers=headers).headers["x-request-id"] for path in ("/", "/healthz") * 3}
    assert len(seen) == 6
    assert sent not in seen


@pytest.mark.parametrize("path", ["/", GENERATE, "/healthz", "/v1/get-all-generators"])
def test_answers_are_not_kept_by_anybody_and_give_no_version_away(world: World, path: str) -> None:
    headers = world.api.http.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/", GENERATE])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_no_web_page_of_another_site_is_let_in(world: World, method: str, path: str) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = world.api.http.request(method, path, headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_health_is_plain_text(world: World) -> None:
    for path, said in (("/healthz", "ok\n"), ("/readyz", "ready\n")):
        response = world.api.http.get(path)
        assert (response.status_code, response.text) == (200, said)
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        probed = world.api.http.head(path)
        assert (probed.status_code, probed.content) == (200, b"")


def test_a_bug_is_answered_in_a_signed_envelope_that_says_nothing_of_it(
    api: Api, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: object, **__: object) -> object:
        raise ZeroDivisionError("secret details")

    fields = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}
    with monkeypatch.context() as planted:
        planted.setattr(routes, "generate", bug)
        answer = api.post(GENERATE, fields)
    assert (answer.code, answer.status, answer.signed_by) == (1706, 500, "global")
    assert answer.payload["message"] == "Internal error"
    assert list(answer.payload) == ["code", "message", "timestamp"]
    assert b"secret" not in answer.http.content
    assert b"Zero" not in answer.http.content
    assert api.post(GENERATE, fields).code == 815
    assert counts(services.storage).batches == 1


@IN_THIS_PROCESS
def test_a_damaged_product_key_is_named_in_the_log_and_not_to_the_caller(api: Api, services: Services) -> None:
    # What happens when a key is damaged before a running server has loaded it for the first time.
    services.storage.write(
        lambda session: session.execute(
            text("UPDATE signing_keys SET private_ciphertext = :damaged WHERE product_id = 1"), {"damaged": b"x" * 40}
        )
    )
    keyring = services.signing._keyring  # noqa: SLF001 -- to forget the product's key, there is no other way
    keyring._signers = {keyring.global_key_id: keyring.global_signer}  # noqa: SLF001 -- as above
    with capture_logs() as logged:
        answer = api.post(GENERATE, {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1})
    assert (answer.code, answer.status, answer.signed_by) == (1706, 500, "global")
    assert list(answer.payload) == ["code", "message", "timestamp"]
    reasons = [event["reason"] for event in logged if event["event"] == "fault"]
    assert len(reasons) == 1
    assert "(the key of product 1) in the database is damaged" in reasons[0]
    assert counts(services.storage).batches == 0


@pytest.mark.parametrize(
    "database_kind", ["sqlite"]
)  # On PostgreSQL the statement that writes is the one that commits.
def test_a_bug_after_the_keys_are_written_leaves_none_of_them(
    api: Api, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = batch_store.record

    def record(
        cursor: DBAPICursor, dialect: str, batches: Sequence[batch_store.NewBatch]
    ) -> Sequence[int | batch_store.NotKept]:
        assert original(cursor, dialect, batches) == [1]
        raise ZeroDivisionError

    with monkeypatch.context() as planted:
        planted.setattr(batch_store, "record", record)
        answer = api.post(GENERATE, {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 3})
    assert (answer.code, answer.status) == (1706, 500)
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (0, 0)


def _flipped(signer: Signer, digest: bytes) -> bytes:
    good = _raw(signer, digest)
    return bytes([good[0] ^ 1]) + good[1:]


def _shortened(signer: Signer, digest: bytes) -> bytes:
    return _raw(signer, digest)[:-1]


def _of_something_else(signer: Signer, digest: bytes) -> bytes:
    return _raw(signer, hashlib.sha256(digest).digest())


def _nothing(_: Signer, __: bytes) -> bytes:
    return b""


def _raises(_: Signer, __: bytes) -> bytes:
    raise OSError("the hardware is gone")


_raw = Signer._raw  # noqa: SLF001 -- the seam where a faulty signer can be planted


@IN_THIS_PROCESS
@pytest.mark.parametrize("fault", [_flipped, _shortened, _of_something_else, _nothing, _raises])
def test_no_bad_signature_leaves_and_nothing_is_stored(
    api: Api, services: Services, monkeypatch: pytest.MonkeyPatch, fault: object
) -> None:
    """100 of 100 (reliability.md T19); each fault takes 20."""
    fields = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 5}
    with monkeypatch.context() as planted:
        planted.setattr(Signer, "_raw", fault)
        for _ in range(20):
            response = api.http.post(GENERATE, data=fields)
            assert (response.status_code, response.content) == (500, b"")
            assert "x-signing-key-id" not in response.headers
        assert api.http.get("/unknown").content == b""
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (0, 0)
    assert api.post(GENERATE, fields).code == 815


@IN_THIS_PROCESS
def test_a_product_key_that_signs_badly_does_not_fall_back_to_the_global_one(
    api: Api, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is signed with the global key, but no license key is."""
    global_kid = api.http.get("/unknown").headers["x-signing-key-id"]

    def faulty(signer: Signer, message: bytes) -> bytes:
        return _raw(signer, message) if signer.kid == global_kid else _flipped(signer, message)

    with monkeypatch.context() as planted:
        planted.setattr(Signer, "_raw", faulty)
        answer = api.post(GENERATE, {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 5})
    assert (answer.code, answer.status, answer.signed_by) == (1706, 500, "global")
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (0, 0)


def test_the_answer_is_the_signed_bytes_and_nothing_else(world: World) -> None:
    response: httpx.Response = world.api.http.get("/unknown")
    assert response.content.startswith(b'{"response":{"code":1700,')
    assert json.loads(response.content)["private_key_used"] == "global"
    assert int(response.headers["content-length"]) == len(response.content)
