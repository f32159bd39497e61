"""A client that takes no answer on trust."""

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self

import httpx
import uvicorn
from starlette.types import ASGIApp

from hanaper.protocol import envelope
from hanaper.signing.verifier import Verifier
from hanaper.web.deadlines import Deadlines
from hanaper.web.http_protocol import HttpProtocol

PATIENT = Deadlines(head_s=30, request_s=30)

Encoding = Literal["form", "multipart", "json"]


@dataclass(frozen=True)
class Answer:
    """An answer whose envelope has been checked."""

    http: httpx.Response
    status: int
    payload: dict[str, Any]
    signed_by: str

    @property
    def code(self) -> int | str:
        code: int | str = self.payload["code"]
        return code

    @property
    def errors(self) -> dict[str, list[str]]:
        errors: dict[str, list[str]] = self.payload["errors"]
        return errors


class Api:
    """Talks HTTP to a running server."""

    def __init__(
        self, base_url: str, *, global_pem: str, product_pem: str, now: Callable[[], float] = time.time
    ) -> None:
        self.base_url = base_url
        self._now = now
        self.global_pem = global_pem
        self.product_pem = product_pem
        self._verifiers = {
            "global": Verifier.from_pem(global_pem.encode()),
            "product": Verifier.from_pem(product_pem.encode()),
        }
        self.http = httpx.Client(base_url=base_url, timeout=60, trust_env=False)

    def for_product(self, product_pem: str) -> Self:
        """A client for the same server that expects another product's signatures."""
        return type(self)(self.base_url, global_pem=self.global_pem, product_pem=product_pem)

    def post(
        self,
        path: str,
        fields: dict[str, Any],
        *,
        encoding: Encoding = "form",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """POST fields in one of the three encodings; check the answer."""
        match encoding:
            case "form":
                return self.check(self.http.post(path, data=fields, headers=headers))
            case "multipart":
                files = {name: (None, str(value)) for name, value in fields.items()}
                return self.check(self.http.post(path, files=files, headers=headers))
        return self.check(self.http.post(path, json=fields, headers=headers))

    def get(self, path: str, query: dict[str, Any] | None = None, *, headers: dict[str, str] | None = None) -> Answer:
        """GET; check the answer."""
        return self.check(self.http.get(path, params=query or {}, headers=headers))

    def check(self, response: httpx.Response) -> Answer:
        """Check everything that holds for every answer (protocol.md 1)."""
        assert response.headers["content-type"] == "application/json"
        assert response.headers["cache-control"] == "no-store"
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])
        assert re.fullmatch(r"[0-9a-f]{16}", response.headers["x-signing-key-id"])
        outer = response.json()
        fields = ["response", "response_base64", "private_key_used", "signature"]
        if response.status_code == 429:
            fields.append("retry_after")
            assert type(outer["retry_after"]) is int
            assert response.headers["retry-after"] == str(outer["retry_after"])
        assert list(outer) == fields
        received = envelope.decode(response.content)
        assert self._verifiers[outer["private_key_used"]].accepts_envelope(received), "the signature does not verify"
        payload = json.loads(base64.b64decode(outer["response_base64"]))
        assert payload == outer["response"]
        assert list(payload)[:2] == ["code", "message"]
        assert list(payload)[-1] == "timestamp"
        if response.headers.get("idempotent-replayed") != "true":  # That is as old as what it repeats.
            assert abs(payload["timestamp"] - self._now()) < 300
        return Answer(response, response.status_code, payload, outer["private_key_used"])


@contextmanager
def serving(app: ASGIApp, deadlines: Deadlines = PATIENT) -> Iterator[str]:
    """Serve an application on a free port, from a thread of this process; yields its base URL."""
    # `hanaper serve` switches uvicorn's own reading of X-Forwarded-For off, too.
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            http=partial(HttpProtocol, deadlines=deadlines),  # type: ignore[arg-type]  # it is only called
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server stopped at once"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
