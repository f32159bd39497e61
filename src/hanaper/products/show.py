"""A product as it goes over the wire (protocol.md 4.7)."""

from hanaper.clock import iso_z
from hanaper.products import store
from hanaper.products.models import Product
from hanaper.protocol.payload import JsonValue
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


def metadata_of(session: Session, product_id: int, *, scope: Scope) -> list[JsonValue]:
    """What is attached to a product, in the order it was attached."""
    attached = store.metadata(session, [product_id], scope=scope)[product_id]
    return [{"key": row.key, "value": row.value} for row in attached]


def rows(session: Session, *, scope: Scope) -> list[JsonValue]:
    """Rows of 810."""
    products = store.listed(session, scope=scope)
    attached = store.metadata(session, [product.id for product in products], scope=scope)
    return [
        {
            **row(product),
            "meta_data": [{"key": meta.key, "value": meta.value} for meta in attached[product.id]],
        }
        for product in products
    ]


def row(product: Product) -> dict[str, JsonValue]:
    """A row of 810 but for its `meta_data`."""
    return {
        "id": product.id,
        "external_reference": product.external_reference,
        "source": product.source,
        "name": product.name,
        "post_url": product.post_url,
        "description": product.description,
        "status": product.status,
        "require_non_expired": product.require_non_expired,
        "created_at": iso_z(product.created_at),
        "updated_at": iso_z(product.updated_at),
    }
