"""What Schemathesis cannot know: how an answer is signed. It loads this file (`SCHEMATHESIS_HOOKS`)."""

import base64
import os
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.api import Api


@schemathesis.check
def signed(ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]) -> None:  # noqa: ARG001 -- as they are called
    """Every answer is an envelope whose signature verifies under the key that it names."""
    headers = [(name, value) for name, values in response.headers.items() for value in values]
    received = httpx.Response(response.status_code, headers=headers, content=response.content)
    _client(received.headers["x-signing-key-id"]).check(received)


@cache
def _client(kid: str) -> Api:
    """A client that knows the global key from a file, and the product's with this name, if it is one."""
    url = os.environ["HANAPER_TEST_URL"]
    pems = {key["kid"]: _pem(key) for key in httpx.get(f"{url}/.well-known/jwks.json", trust_env=False).json()["keys"]}
    global_pem = Path(os.environ["HANAPER_TEST_GLOBAL_KEY"]).read_text()
    return Api(url, global_pem=global_pem, product_pem=pems[kid])


def _pem(key: dict[str, str]) -> str:
    n, e = (int.from_bytes(base64.urlsafe_b64decode(key[name] + "==")) for name in ("n", "e"))
    return (
        rsa.RSAPublicNumbers(e, n).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )
