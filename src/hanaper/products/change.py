"""Changing and deleting a product that is locked."""

from dataclasses import dataclass, fields
from datetime import datetime

from hanaper.products.models import Product


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to become of a product, each of it fine by the rules. None: stays as it is.

    Attributes:
        source: `internal` or `envato`.
        status: `active` or `inactive`.
        require_non_expired: 1 where an expired license key fails verification, else 0.
        external_reference: what the product is called elsewhere.
        post_url: is told of activations that end from our side; empty for nobody.
    """

    source: str | None = None
    name: str | None = None
    description: str | None = None
    require_non_expired: int | None = None
    status: str | None = None
    external_reference: str | None = None
    post_url: str | None = None


def change(product: Product, changes: Changes, *, now: datetime) -> None:
    """Change a product."""
    for field in fields(changes):
        value = getattr(changes, field.name)
        if value is not None:
            setattr(product, field.name, value)
    product.updated_at = now


def delete(product: Product, *, now: datetime) -> None:
    """Delete a product. Its slug stays taken.

    Its license keys and generators are gone with it: whatever asks for one asks for its product, too.
    """
    product.deleted_at = product.updated_at = now
