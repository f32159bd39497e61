"""The description of the API, for those who switch it on."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.conftest import Installation
from tests.support.api import serving
from tests.support.malformed import FORM, JSON
from tests.support.world import World

from hanaper import __version__
from hanaper.access import abilities
from hanaper.app import create_app, open_services


def test_it_is_off_unless_asked_for(world: World) -> None:
    for path in ("/openapi.json", "/docs", "/redoc"):
        assert world.api.get(path).code == 1700


@pytest.fixture
def description(installation: Installation) -> Iterator[dict[str, Any]]:
    services = open_services(installation.settings.model_copy(update={"openapi": True}))
    with serving(create_app(services)) as base_url:
        response = httpx.get(f"{base_url}/openapi.json", trust_env=False)
        assert response.status_code == 200
        assert httpx.get(f"{base_url}/docs", trust_env=False).status_code == 404
        document: dict[str, Any] = response.json()
        yield document


def test_it_describes_every_endpoint_under_both_base_paths(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.")
    assert description["info"] == {"title": "hanaper", "version": __version__}
    expected = {f"{base}/{name}" for base in ("/api/v1", "/v1") for name in abilities.ENDPOINTS}
    assert set(description["paths"]) == expected
    identifiers = [
        operation["operationId"] for methods in description["paths"].values() for operation in methods.values()
    ]
    assert len(identifiers) == len(set(identifiers))
    for methods in description["paths"].values():
        for method, operation in methods.items():
            assert ("requestBody" in operation) == (method == "post")
            assert ("parameters" in operation) == (method == "get")
            for response in operation["responses"].values():
                envelope = response["content"]["application/json"]["schema"]
                assert envelope["required"] == ["response", "response_base64", "private_key_used", "signature"]
    assert_no_loose_ends(description, description)


def test_it_names_the_parameters_as_they_are_sent(description: dict[str, Any]) -> None:
    content = description["paths"]["/api/v1/generate"]["post"]["requestBody"]["content"]
    assert set(content) == {FORM, "multipart/form-data", JSON}
    for kind in content.values():
        schema = kind["schema"]
        assert list(schema["properties"]) == [
            "api_key",
            "generator_id",
            "quantity",
            "activation_limit",
            "validity_days",
        ]
        assert schema["required"] == ["generator_id", "quantity"]
    parameters = description["paths"]["/v1/get-product-public-key"]["get"]["parameters"]
    assert [(found["name"], found["in"], found["required"]) for found in parameters] == [
        ("api_key", "query", False),
        ("product_id", "query", True),
    ]


def assert_no_loose_ends(value: object, document: dict[str, Any]) -> None:
    """Every `$ref` leads somewhere."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            found: Any = document
            for step in value["$ref"].removeprefix("#/").split("/"):
                found = found[step]
        for item in value.values():
            assert_no_loose_ends(item, document)
    elif isinstance(value, list):
        for item in value:
            assert_no_loose_ends(item, document)
