"""Abilities: what an API key may do, one per endpoint path (protocol.md 2.2)."""

from collections.abc import Collection

from hanaper.refusal import Invalid

EVERYTHING = "*"

# A test holds this against the routes, so that no endpoint goes without.
ENDPOINTS = (
    "generate",
    "get-all-generators",
    "verify",
    "activate",
    "deactivate",
    "get-license-key-details",
    "create-license-keys",
    "update-license-key",
    "delete-license-key",
    "get-license-keys",
    "create-license-key-meta",
    "update-license-key-meta",
    "delete-license-key-meta",
    "assign-license-key",
    "assign-and-activate-license-key",
    "random-assign-license-keys",
    "get-available-license-keys-count",
    "create-product",
    "update-product",
    "delete-product",
    "get-all-products",
    "get-product",
    "get-product-public-key",
    "create-product-meta",
    "update-product-meta",
    "delete-product-meta",
)


def allows(abilities: Collection[str], endpoint: str) -> bool:
    """Whether a key with these abilities may call the endpoint."""
    return endpoint in abilities or EVERYTHING in abilities


def check(abilities: list[str]) -> list[str]:
    """Sort and check abilities that somebody typed.

    Raises:
        Invalid: an ability that does not exist, or none at all.
    """
    for ability in abilities:
        if ability not in (*ENDPOINTS, EVERYTHING):
            raise Invalid(f"there is no ability {ability!r}: choose from {', '.join((EVERYTHING, *ENDPOINTS))}")
    if not abilities:
        raise Invalid(f"an API key needs an ability: choose from {', '.join((EVERYTHING, *ENDPOINTS))}")
    return sorted(set(abilities))
