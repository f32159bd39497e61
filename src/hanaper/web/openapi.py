"""What OpenAPI says of an endpoint. The framework cannot see it: one route reads three encodings."""

from typing import Any

from hanaper.web.fields import RequestShape

ENVELOPE: dict[str, Any] = {
    "type": "object",
    "required": ["response", "response_base64", "private_key_used", "signature"],
    "additionalProperties": False,
    "properties": {
        "response": {
            "type": "object",
            "required": ["code", "message", "timestamp"],
            "properties": {
                "code": {"anyOf": [{"type": "integer"}, {"const": "400"}]},
                "message": {"type": "string"},
                "timestamp": {"type": "integer"},
            },
        },
        "response_base64": {"type": "string", "contentEncoding": "base64"},
        "private_key_used": {"enum": ["product", "global"]},
        "signature": {"type": "string", "contentEncoding": "base64"},
    },
}

_API_KEY = {"type": "string", "description": "Or in `Authorization: Bearer`, or in `X-API-Key`."}


def operation(method: str, shape: type[RequestShape]) -> dict[str, Any]:
    """The OpenAPI operation of an endpoint: parameters of a GET, body of a POST, and the envelope for every status."""
    schema = shape.model_json_schema(by_alias=False)
    properties: dict[str, Any] = {"api_key": _API_KEY, **schema.get("properties", {})}
    required = schema.get("required", [])
    answer = {"content": {"application/json": {"schema": ENVELOPE}}}
    described: dict[str, Any] = {
        "responses": {
            "200": {"description": "A signed answer, also to refusals", **answer},
            "4XX": {"description": "A signed refusal", **answer},
            "5XX": {"description": "A signed failure", **answer},
        }
    }
    if method == "GET":
        described["parameters"] = [
            {"name": name, "in": "query", "required": name in required, "schema": property_}
            for name, property_ in properties.items()
        ]
        return described
    body = {"schema": {"type": "object", "properties": properties, "required": required}}
    described["requestBody"] = {
        "content": dict.fromkeys(("application/x-www-form-urlencoded", "multipart/form-data", "application/json"), body)
    }
    return described
