"""Request shapes of create-license-keys: the documented form, and that of the SDKs (protocol.md 4.4)."""

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hanaper.licenses.rules import license_key_fault
from hanaper.licenses.schemas import (
    GENERATOR,
    OWNER_EMAIL,
    OWNER_NAME,
    PRODUCT,
    VALIDITY,
    ActivationLimit,
    Status,
    Validity,
)
from hanaper.web.fields import NamedReference, Reference, RequestShape, Text, WireMoment, storable


def _license_keys(value: object) -> list[str]:
    """An array, or the JSON text of one. What cannot be a license key is left out."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise PydanticCustomError("array", "a JSON array is needed") from None
    if not isinstance(value, list):
        raise PydanticCustomError("array", "a JSON array is needed")
    texts = [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value]
    trimmed = [text.strip() for text in texts if isinstance(text, str) and storable(text)]
    return [text for text in trimmed if license_key_fault(text) is None]


class CreateRequest(RequestShape):
    """The parameters of POST /create-license-keys, as documented."""

    license_keys: Annotated[list[str], BeforeValidator(_license_keys)]
    product_id: NamedReference = Field(validation_alias=PRODUCT)
    activation_limit: ActivationLimit
    validity: Validity = Field(validation_alias=VALIDITY)
    status: Status
    owner_name: Text | None = Field(default=None, validation_alias=OWNER_NAME)
    owner_email: Text | None = Field(default=None, validation_alias=OWNER_EMAIL)
    assigned_at: WireMoment | None = Field(default=None)


class WantedLicense(RequestShape):
    """One element of `licenses`: a license key that is to be generated."""

    product_id: NamedReference | None = Field(default=None, validation_alias=PRODUCT)
    generator_id: Reference = Field(validation_alias=GENERATOR)
    activation_limit: ActivationLimit | None = Field(default=None)
    validity: Validity | None = Field(default=None, validation_alias=VALIDITY)
    owner_name: Text | None = Field(default=None, validation_alias=OWNER_NAME)
    owner_email: Text | None = Field(default=None, validation_alias=OWNER_EMAIL)


class RegisterRequest(RequestShape):
    """Either form, told apart by `licenses`: its shape is chosen when that is known."""

    model_config = ConfigDict(extra="allow")

    licenses: object = Field(default=None)

    @model_validator(mode="before")
    @classmethod
    def _with_names(cls, given: dict[str, object]) -> dict[str, object]:
        """Without what has no name that is text: it is kept with the rest here, and pydantic would trip over it."""
        return {name: value for name, value in given.items() if storable(name)}

    def license_keys_asked(self) -> int:
        """How many license keys are named or wanted, also where not all of them are good."""
        given = (self.model_extra or {}).get("license_keys") if self.licenses is None else self.licenses
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except (ValueError, RecursionError):
                return 0
        return len(given) if isinstance(given, list) else 0

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        """That of the documented form."""
        return CreateRequest.model_json_schema(*arguments, **options)
