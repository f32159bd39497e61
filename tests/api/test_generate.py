"""POST /generate, as a caller sees it."""

import re

import pytest
from tests.conftest import SAMPLE_KEY
from tests.support.api import Api, Encoding

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.parametrize("encoding", ["form", "multipart", "json"])
@pytest.mark.parametrize("base_path", ["/api/v1", "/v1"])
def test_the_documented_request_gives_ten_signed_keys(api: Api, encoding: Encoding, base_path: str) -> None:
    fields = {"api_key": SAMPLE_KEY, "generator_id": "1", "quantity": "10"}
    answer = api.post(f"{base_path}/generate", fields, encoding=encoding)
    assert answer.status == 200
    assert answer.signed_by == "product"
    assert list(answer.payload) == ["code", "message", "licenseKeys", "timestamp"]
    assert answer.payload["code"] == 815
    assert answer.payload["message"] == "Generated license keys"
    keys = answer.payload["licenseKeys"]
    assert len(set(keys)) == 10
    assert all(UUID4.fullmatch(key) for key in keys)
