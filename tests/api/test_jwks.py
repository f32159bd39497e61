"""The public keys at /.well-known/jwks.json, read by programs that are not ours; and answers that name one of them."""

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.conftest import SAMPLE_KEY
from tests.support.api import Api

from hanaper.keystore import rotate
from hanaper.keystore.keys import NewKey
from hanaper.signing.key_pair import KeyPair
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

GENERATE = "/api/v1/generate"
FIELDS = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 2}
pytestmark = pytest.mark.usefixtures("trusting")


@pytest.fixture(scope="module")
def pairs() -> list[KeyPair]:
    return [KeyPair.generate(2048) for _ in range(2)]


def published(api: Api) -> dict[str, dict[str, Any]]:
    answer = api.http.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "no-store"
    assert "x-signing-key-id" not in answer.headers
    keys = {key["kid"]: key for key in answer.json()["keys"]}
    assert len(keys) == len(answer.json()["keys"])
    return keys


def pem_of(key: dict[str, Any]) -> bytes:
    def number(name: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(key[name] + "=="), "big")

    made = rsa.RSAPublicNumbers(number("e"), number("n")).public_key()
    return made.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def openssl_accepts(answer: httpx.Response, pem: bytes, folder: Path) -> bool:
    outer = answer.json()
    (folder / "pem").write_bytes(pem)
    (folder / "signature").write_bytes(base64.b64decode(outer["signature"]))
    files = [str(folder / name) for name in ("pem", "signature")]
    command = ["openssl", "dgst", "-sha256", "-verify", files[0], "-signature", files[1]]
    ended = subprocess.run(command, input=outer["response_base64"].encode(), capture_output=True, check=False)
    return ended.returncode == 0


def add(session: Session, services: Services, pair: NewKey, owner: int | None, *, at_once: bool = True) -> int:
    rotate.announce(session, pair, product_id=owner, keystore=services.keystore, now=services.clock())
    if at_once:
        rotate.activate(session, pair.kid, keystore=services.keystore, now=services.clock())
    return 0


@pytest.mark.also_in_token
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_verifies_every_answer_by_the_key_it_names(
    api: Api, services: Services, elsewhere: Storage, tmp_path: Path
) -> None:
    token = services.keystore.token
    pairs = [token.generate(2048) if token else KeyPair.generate(2048) for _ in range(2)]

    def answers() -> list[httpx.Response]:
        wrong = {**FIELDS, "api_key": "0" * 36}
        return [
            api.http.post(GENERATE, data=FIELDS),
            api.http.post(GENERATE, data=wrong),
            api.http.get("/api/v1/get-all-generators", params={"api_key": SAMPLE_KEY}),
            api.http.get("/api/v1/verify"),
            api.http.get("/unknown"),
            api.http.get(GENERATE),
        ]

    old = answers()
    for pair, owner in zip(pairs, (1, None), strict=True):
        elsewhere.write(lambda session, pair=pair, owner=owner: add(session, services, pair, owner))  # type: ignore[misc]
    new = answers()
    keys = published(api)
    assert sorted(key["state"] for key in keys.values()) == ["active", "active", "verify-only", "verify-only"]
    kids = []
    for answer in [*old, *new]:
        kid = answer.headers["x-signing-key-id"]
        others = [pem_of(key) for key in keys.values() if key["kid"] != kid]
        assert openssl_accepts(answer, pem_of(keys[kid]), tmp_path), answer.text
        assert not any(openssl_accepts(answer, pem, tmp_path) for pem in others)
        assert (keys[kid]["product_id"] is None) == (answer.json()["private_key_used"] == "global")
        kids.append(kid)
    assert {keys[kid]["state"] for kid in kids[: len(old)]} == {"verify-only"}
    assert {keys[kid]["state"] for kid in kids[len(old) :]} == {"active"}


def test_a_key_is_published_before_it_signs_and_until_it_is_destroyed(
    api: Api, services: Services, elsewhere: Storage, pairs: list[KeyPair]
) -> None:
    first = api.post(GENERATE, FIELDS).http.headers["x-signing-key-id"]
    second = pairs[0].kid
    assert published(api).keys() >= {first}
    elsewhere.write(lambda session: add(session, services, pairs[0], 1, at_once=False))
    keys = published(api)
    assert (keys[first]["state"], keys[second]["state"]) == ("active", "pending")
    assert pem_of(keys[second]).decode() == pairs[0].public_pem
    assert set(keys[second]) == {"kty", "use", "alg", "kid", "n", "e", "product_id", "state"}
    # It is announced, and signs nothing: the client still expects the first.
    assert api.post(GENERATE, FIELDS).http.headers["x-signing-key-id"] == first
    elsewhere.write(
        lambda session: rotate.activate(session, second, keystore=services.keystore, now=services.clock()).id
    )
    assert published(api)[first]["state"] == "verify-only"
    elsewhere.write(lambda session: rotate.destroy(session, first, early=True, now=services.clock()).id)
    assert first not in published(api)
    assert published(api)[second]["state"] == "active"


def test_only_get_and_head(api: Api) -> None:
    assert api.http.head("/.well-known/jwks.json").status_code == 200
    assert api.check(api.http.post("/.well-known/jwks.json")).code == 1701
