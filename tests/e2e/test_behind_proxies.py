"""Behind nginx and Caddy, configured as in docs/deploy: what passes, as whom, and what is kept out (T35)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.load import SAMPLE_KEY
from tests.support.processes import Hanaper
from tests.support.proxy import caddy, proxy
from tests.support.raw import send

pytestmark = pytest.mark.long

FRONTS: dict[str, Callable[..., Any]] = {"nginx": proxy, "caddy": caddy}
LOGS = {"nginx": "access.log", "caddy": "caddy.log"}
ORDER = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}
GENERATE = "/api/v1/generate"


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("front", FRONTS)
def test_the_api_is_open_and_nothing_else(demo_on_either: Hanaper, tmp_path: Path, front: str) -> None:
    office, away = (
        demo_on_either("api-key", "add", "Office", "--allow", address, "--json").json["api_key"]
        for address in ("127.0.0.1", "203.0.113.7")
    )
    hosts = {"HANAPER_ALLOWED_HOSTS": "127.0.0.1", "HANAPER_OPENAPI": "true"}
    with demo_on_either.serving(HANAPER_TRUSTED_PROXIES="127.0.0.1", **hosts) as server:
        server.wait_for("serving")
        port = int(server.url.rsplit(":", 1)[1])
        with (
            FRONTS[front]([port, port], tmp_path) as url,
            httpx.Client(base_url=url, trust_env=False, timeout=60) as http,
        ):

            def code(key: str, headers: list[tuple[str, str]]) -> int:
                found: int = http.post(GENERATE, data={**ORDER, "api_key": key}, headers=headers).json()["response"][
                    "code"
                ]
                return found

            # Whatever a client says of its address, it is the one that the proxy sees.
            for forged in ("203.0.113.7", "203.0.113.7, 127.0.0.1", "127.0.0.1, 203.0.113.7", "nonsense", ""):
                assert code(office, [("X-Forwarded-For", forged)]) == 815
                assert code(away, [("X-Forwarded-For", forged)]) == 103
                assert code(away, [("X-Forwarded-For", forged), ("x-forwarded-for", "203.0.113.7")]) == 103
            for header in ("Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP"):
                assert code(away, [(header, "for=203.0.113.7" if header == "Forwarded" else "203.0.113.7")]) == 103
            for path in (
                "/healthz",
                "/readyz",
                "/openapi.json",
                "/",
                "/api",
                "/api/v1",
                "/api/v1/../../healthz",
                "//healthz",
            ):
                response = send(url, "GET", path)
                assert (path, response.status_code, b"response_base64" in response.content) == (path, 404, False) or (
                    response.status_code in (301, 308, 400)
                )
            assert http.get("/.well-known/jwks.json").json()["keys"]
            assert http.get("/v1/get-all-generators", params={"api_key": SAMPLE_KEY}).json()["response"]["code"] == 820
            # Caddy 2.6 notices in the midst of passing it on, and blames the server.
            too_large = http.post(GENERATE, data={**ORDER, "x": "a" * 70_000}).status_code
            assert too_large == 413 or (front, too_large) == ("caddy", 502)
            assert http.post(GENERATE, data=ORDER, headers={"Host": "evil.test"}).status_code == 421
        assert SAMPLE_KEY not in (tmp_path / LOGS[front]).read_text()
        told = [event["path"] for event in server.events("request")]
    assert {path for path in told if not path.startswith(("/api/v1/", "/v1/", "/.well-known/"))} == set()
    assert json.dumps(told).count("get-all-generators") == 1
