"""Requests under an idempotency key: carried out once, and answered alike (protocol.md 7.1)."""

from typing import Any

import pytest
from tests.conftest import SAMPLE_KEY
from tests.support.api import Answer, Api
from tests.support.world import counts

from hanaper.web.services import Services

GENERATE = "/api/v1/generate"


def ask(api: Api, key: str | None, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    sent = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 3, **fields}
    named = {} if key is None else {"Idempotency-Key": key}
    return api.post(GENERATE, sent, headers={**named, **(headers or {})})


def test_a_repeated_request_is_answered_byte_for_byte_alike(api: Api, services: Services) -> None:
    first = ask(api, "order-17")
    assert (first.code, first.status) == (815, 200)
    assert "idempotent-replayed" not in first.http.headers
    again = ask(api, "order-17")
    assert again.http.content == first.http.content
    assert again.status == 200
    assert again.http.headers["idempotent-replayed"] == "true"
    assert again.http.headers["x-signing-key-id"] == first.http.headers["x-signing-key-id"]
    assert counts(services.storage).license_keys == 3


def test_another_request_under_the_same_key_is_refused(api: Api, services: Services) -> None:
    ask(api, "order-17")
    other = ask(api, "order-17", quantity=4)
    assert (other.code, other.status, other.signed_by) == (901, 409, "global")
    assert other.errors == {"idempotency_key": ["The idempotency key has been used for another request."]}
    assert counts(services.storage).license_keys == 3


@pytest.mark.parametrize("key", ["x" * 256, "a b", '""', ""])
def test_what_is_no_key_is_refused(api: Api, services: Services, key: str) -> None:
    answer = ask(api, key)
    assert (answer.code, answer.status) == (901, 200)
    assert answer.errors == {
        "idempotency_key": ["The idempotency key field must be 1 to 255 visible ASCII characters."]
    }
    assert counts(services.storage).license_keys == 0
