"""Request shapes of products (protocol.md 4.7)."""

from pydantic import AliasChoices, Field

from hanaper.web.fields import NamedReference, RequestShape


class ProductRequest(RequestShape):
    """Names one product, by id, UUID or slug, under any of its names."""

    product_id: NamedReference = Field(
        validation_alias=AliasChoices("product_id", "product_uuid", "productId", "product_slug")
    )
