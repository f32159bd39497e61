"""Request shapes of products (protocol.md 4.7)."""

from typing import Annotated, Any, TypeAlias

from pydantic import AliasChoices, BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from hanaper.web.fields import Flag, LongText, MetaValue, NamedReference, RequestShape, Text, Url, UsableText

_PRODUCT = AliasChoices("product_id", "product_uuid", "productId", "product_slug")


def _source(value: object) -> str:
    if value not in ("internal", "envato"):
        raise PydanticCustomError("selected", "there is no such source")
    return str(value)


def _status(value: object) -> str:
    if value not in ("active", "inactive"):
        raise PydanticCustomError("selected", "there is no such status")
    return str(value)


Source: TypeAlias = Annotated[str, BeforeValidator(_source), WithJsonSchema({"enum": ["internal", "envato"]})]
Status: TypeAlias = Annotated[str, BeforeValidator(_status), WithJsonSchema({"enum": ["active", "inactive"]})]


class ProductRequest(RequestShape):
    """Names one product, by id, UUID or slug, under any of its names."""

    product_id: NamedReference = Field(validation_alias=_PRODUCT)


class ListProductsRequest(RequestShape):
    """The parameters of GET /get-all-products: none."""


class CreateProductRequest(RequestShape):
    """The parameters of POST /create-product.

    The SDKs send a name and little else, always as JSON and never with a `source`; a form has to name everything
    (protocol.md 4.7).
    """

    source: Source
    name: Text
    description: LongText
    require_non_expired: Flag
    status: Status
    external_reference: Text = Field(default="")
    slug: Text = Field(default="")
    post_url: Url = Field(default="")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, given: Any, info: ValidationInfo) -> Any:
        context: dict[str, Any] = info.context or {}
        if context.get("json") and "source" not in given:
            defaults = {"description": "", "require_non_expired": 0, "status": "active"}
            return {**defaults, **given, "source": "internal"}
        return given


class UpdateProductRequest(RequestShape):
    """The parameters of POST /update-product. What is absent stays as it is."""

    product_id: NamedReference = Field(validation_alias=_PRODUCT)
    source: Source | None = Field(default=None)
    name: Text | None = Field(default=None)
    description: LongText | None = Field(default=None)
    require_non_expired: Flag | None = Field(default=None)
    status: Status | None = Field(default=None)
    external_reference: Text | None = Field(default=None)
    post_url: Url | None = Field(default=None)


class ProductMetaRequest(RequestShape):
    """The parameters of the endpoints of product metadata. What is unusable counts as absent."""

    product_id: NamedReference = Field(validation_alias=_PRODUCT)
    key: UsableText = Field(default="", validation_alias=AliasChoices("key", "meta_key"))
    value: MetaValue = Field(default="", validation_alias=AliasChoices("value", "meta_value"))
