"""Request shapes of issuing (protocol.md 4.1, 4.2)."""

from typing import Any

from pydantic import AliasChoices, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from hanaper.licenses.rules import LONGEST_VALIDITY_DAYS, MOST_ACTIVATIONS
from hanaper.web.fields import NamedReference, Reference, RequestShape, WholeNumber


class GenerateRequest(RequestShape):
    """The parameters of POST /generate."""

    generator_id: Reference = Field(validation_alias=AliasChoices("generator_id", "generator_uuid"))
    quantity: WholeNumber = Field(ge=1, validation_alias=AliasChoices("quantity", "count"))
    activation_limit: WholeNumber | None = Field(default=None)
    validity_days: WholeNumber | None = Field(
        default=None, ge=0, le=LONGEST_VALIDITY_DAYS, validation_alias=AliasChoices("validity_days", "validity")
    )

    @field_validator("quantity")
    @classmethod
    def _within_the_limit(cls, value: int, info: ValidationInfo) -> int:
        context: dict[str, Any] = info.context or {}
        if value > context["max_quantity"]:
            raise PydanticCustomError("less_than_equal", "too many", {"le": context["max_quantity"]})
        return value

    @field_validator("activation_limit")
    @classmethod
    def _unlimited(cls, value: int | None) -> int | None:
        """-1 is another way to say unlimited (protocol.md 8, row 22)."""
        if value is None:
            return None
        if value < -1:
            raise PydanticCustomError("greater_than_equal", "too few", {"ge": 0})
        if value > MOST_ACTIVATIONS:
            raise PydanticCustomError("less_than_equal", "too many", {"le": MOST_ACTIVATIONS})
        return max(value, 0)


class ListGeneratorsRequest(RequestShape):
    """The parameters of GET /get-all-generators."""

    product_id: NamedReference | None = Field(
        default=None, validation_alias=AliasChoices("product_id", "product_uuid", "productId", "product_slug")
    )
