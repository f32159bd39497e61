"""Request shapes of the register of license keys (protocol.md 4.3, 4.4, 4.6)."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from hanaper.licenses.rules import LONGEST_VALIDITY_DAYS, MOST_ACTIVATIONS, named_state
from hanaper.web.fields import (
    LONGEST_TEXT,
    MetaValue,
    NamedReference,
    RequestShape,
    Text,
    UsableText,
    UsableUrl,
    WholeNumber,
    WireMoment,
    meta_value,
    storable,
)
from hanaper.web.parameters import IDENTIFIERS

MOST_PER_PAGE = 1000
# The documented example has ten rows of more than 900,000 (protocol.md 4.4).
PER_PAGE = 10


def _activation_limit(value: int) -> int:
    """-1 is another way to say unlimited (protocol.md 8, row 22)."""
    if value < -1:
        raise PydanticCustomError("greater_than_equal", "too few", {"ge": 0})
    if value > MOST_ACTIVATIONS:
        raise PydanticCustomError("less_than_equal", "too many", {"le": MOST_ACTIVATIONS})
    return max(value, 0)


def _metadata(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise PydanticCustomError("array", "an object is needed")
    attached = {name: meta_value(item) for name, item in value.items()}
    if not all(0 < len(name) <= LONGEST_TEXT and storable(name) and text for name, text in attached.items()):
        raise PydanticCustomError("selected", "names and values are needed")
    return attached


def _status(value: object) -> str:
    if not isinstance(value, str) or named_state(value) is None:
        raise PydanticCustomError("selected", "there is no such status")
    return value


ActivationLimit: TypeAlias = Annotated[WholeNumber, AfterValidator(_activation_limit)]
Validity: TypeAlias = Annotated[WholeNumber, Field(ge=0, le=LONGEST_VALIDITY_DAYS)]
Status: TypeAlias = Annotated[str, BeforeValidator(_status)]

LICENSE_KEY = AliasChoices("license_key", "entitlement_key")
PRODUCT = AliasChoices("product_id", "product_uuid", "productId", "product_slug")
GENERATOR = AliasChoices("generator_id", "generator_uuid")
OWNER_EMAIL = AliasChoices("owner_email", "customer_email")
OWNER_NAME = AliasChoices("owner_name", "customer_name")
VALIDITY = AliasChoices("validity", "validity_days")


class LicenseRequest(RequestShape):
    """Names a license key, and what it is used on. Nothing here can be wrong: what is unusable counts as absent."""

    license_key: UsableText = Field(default="", validation_alias=LICENSE_KEY)
    identifier: UsableText = Field(default="", validation_alias=AliasChoices(*IDENTIFIERS))


class ActivateRequest(LicenseRequest):
    """The parameters of POST /activate."""

    post_url: UsableUrl = Field(default="")


class MetaRequest(LicenseRequest):
    """The parameters of the endpoints of license key metadata."""

    key: UsableText = Field(default="", validation_alias=AliasChoices("key", "meta_key"))
    value: MetaValue = Field(default="", validation_alias=AliasChoices("value", "meta_value"))


class UpdateRequest(RequestShape):
    """The parameters of POST /update-license-key. What is absent stays as it is."""

    license_key: Text = Field(validation_alias=LICENSE_KEY)
    product_id: NamedReference | None = Field(default=None, validation_alias=PRODUCT)
    activation_limit: ActivationLimit | None = Field(default=None)
    validity: Validity | None = Field(default=None, validation_alias=VALIDITY)
    status: Status | None = Field(default=None)
    owner_name: Text | None = Field(default=None, validation_alias=OWNER_NAME)
    owner_email: Text | None = Field(default=None, validation_alias=OWNER_EMAIL)
    assigned_at: WireMoment | None = Field(default=None)
    metadata: Annotated[dict[str, str], BeforeValidator(_metadata)] = Field(default_factory=dict)


class DeleteRequest(RequestShape):
    """The parameters of POST /delete-license-key."""

    license_key: UsableText = Field(default="", validation_alias=LICENSE_KEY)


class ListRequest(RequestShape):
    """The parameters of GET /get-license-keys."""

    product_id: NamedReference | None = Field(default=None, validation_alias=PRODUCT)
    status: Text | None = Field(default=None)
    owner_email: Text | None = Field(default=None, validation_alias=OWNER_EMAIL)
    page: WholeNumber = Field(default=1, ge=1, le=2**31 - 1)
    per_page: WholeNumber = Field(default=PER_PAGE, ge=1, le=MOST_PER_PAGE)

    @field_validator("status")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return None if value is None else _status(value)
