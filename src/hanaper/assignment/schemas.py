"""Request shapes of assignment (protocol.md 4.5)."""

from typing import Any

from pydantic import AliasChoices, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from hanaper.licenses.schemas import GENERATOR, LICENSE_KEY, OWNER_EMAIL, OWNER_NAME, PRODUCT
from hanaper.web.fields import Flag, NamedReference, Reference, RequestShape, Text, UsableText, UsableUrl, WholeNumber
from hanaper.web.parameters import IDENTIFIERS


class AssignRequest(RequestShape):
    """The parameters of POST /assign-license-key."""

    license_key: UsableText = Field(default="", validation_alias=LICENSE_KEY)
    email: Text | None = Field(default=None, validation_alias=AliasChoices("email", "owner_email", "customer_email"))
    owner_name: Text | None = Field(default=None, validation_alias=OWNER_NAME)


class AssignAndActivateRequest(RequestShape):
    """The parameters of POST /assign-and-activate-license-key. The SDKs may leave the name out (protocol.md 9.1)."""

    license_key: UsableText = Field(default="", validation_alias=LICENSE_KEY)
    identifier: UsableText = Field(default="", validation_alias=AliasChoices(*IDENTIFIERS))
    owner_email: Text = Field(validation_alias=OWNER_EMAIL)
    owner_name: Text | None = Field(default=None, validation_alias=OWNER_NAME)
    post_url: UsableUrl = Field(default="")


class RandomAssignRequest(RequestShape):
    """The parameters of POST /random-assign-license-keys."""

    product_id: NamedReference = Field(validation_alias=PRODUCT)
    owner_email: Text = Field(validation_alias=OWNER_EMAIL)
    owner_name: Text | None = Field(default=None, validation_alias=OWNER_NAME)
    quantity: WholeNumber = Field(ge=1, validation_alias=AliasChoices("quantity", "count"))
    generate: Flag = Field(default=0)
    generator_id: Reference | None = Field(default=None, validation_alias=GENERATOR)

    @field_validator("quantity")
    @classmethod
    def _within_the_limit(cls, value: int, info: ValidationInfo) -> int:
        context: dict[str, Any] = info.context or {}
        most = min(context["max_quantity"], MOST_AT_ONCE)
        if value > most:
            raise PydanticCustomError("less_than_equal", "too many", {"le": most})
        return value


class CountRequest(RequestShape):
    """The parameters of GET /get-available-license-keys-count."""

    product_id: NamedReference = Field(validation_alias=PRODUCT)
    generator_id: Reference | None = Field(default=None, validation_alias=GENERATOR)


MOST_AT_ONCE = 1000
"""License keys that one call assigns at most: they are in one transaction, and in one answer."""
