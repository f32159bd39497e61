"""POST /create-license-keys (protocol.md 4.4)."""

from typing import Any

from fastapi import APIRouter

from hanaper import log
from hanaper.issuing.mint import CannotMint
from hanaper.keystore import store as keys
from hanaper.licenses import rules, store
from hanaper.products import store as products
from hanaper.protocol import codes
from hanaper.protocol.payload import JsonValue
from hanaper.refusal import Refusal
from hanaper.registration.generate_each import BadElement, generate_each
from hanaper.registration.register import Terms, register
from hanaper.registration.schemas import CreateRequest, RegisterRequest, WantedLicense
from hanaper.signing.answer import SignedAnswer
from hanaper.storage.session import Session
from hanaper.web.call import Call
from hanaper.web.endpoint import endpoint
from hanaper.web.fields import bad_field, error_text, validate
from hanaper.web.parameters import clean

COLLISIONS = (store.KeysCollide,)
"""Another request stored an equal license key at the same moment: then it is a duplicate, or another one is drawn."""

router = APIRouter(tags=["license keys"])
_logger = log.get(__name__)


@endpoint(
    router,
    "POST",
    "create-license-keys",
    shape=RegisterRequest,
    bad_fields=codes.INCORRECT_DATA_LICENSE_CREATE,
    license_keys=RegisterRequest.license_keys_asked,
)
def create_license_keys(call: Call[RegisterRequest]) -> SignedAnswer:
    """Store license keys made elsewhere, or generate one for each element of `licenses`: 900; 901, 902."""
    given = call.fields.model_extra or {}
    if call.fields.licenses is None:
        fields = validate(CreateRequest, given, context={}, code=codes.INCORRECT_DATA_LICENSE_CREATE)
        return call.write(lambda session: _register(session, call, fields), again=COLLISIONS)
    wanted = _elements(call)
    answer = call.write(lambda session: _generate(session, call, wanted), again=COLLISIONS)
    call.services.meter.generated(len(wanted))
    return answer


def _register(session: Session, call: Call[RegisterRequest], fields: CreateRequest) -> SignedAnswer:
    scope = call.caller.scope
    product = products.find(session, fields.product_id, scope=scope)
    if product is None:
        raise bad_field(codes.INCORRECT_DATA_LICENSE_CREATE, "product_id")
    key_id = keys.active_id(session, product.id, scope=scope)
    if not fields.license_keys:
        raise Refusal(codes.NO_LICENSE_KEYS_CREATED, product_key_id=key_id)
    state = rules.named_state(fields.status)
    assert state is not None  # noqa: S101 -- the shape has looked
    terms = Terms(
        fields.activation_limit, fields.validity, state, fields.owner_name, fields.owner_email, fields.assigned_at
    )
    now = call.services.clock()
    created, duplicate = register(session, fields.license_keys, product.id, terms, scope=scope, now=now)
    content: dict[str, JsonValue] = {"created": created, "duplicate": duplicate}
    return call.services.signing.answer(codes.LICENSE_KEYS_CREATION_RESULT, content, product_key_id=key_id)


def _generate(session: Session, call: Call[RegisterRequest], wanted: list[WantedLicense]) -> SignedAnswer:
    try:
        rows = generate_each(session, wanted, caller=call.caller, now=call.services.clock())
    except BadElement as bad:
        errors: dict[str, JsonValue] = {f"licenses.{bad.number}.{bad.field}": [error_text("selected", bad.field)]}
        raise Refusal(codes.INCORRECT_DATA_LICENSE_CREATE, {"errors": errors}) from None
    except CannotMint as error:
        _logger.warning("no license keys generated", reason=str(error))
        raise Refusal(codes.NO_LICENSE_KEYS_CREATED, product_key_id=error.product_key_id) from error
    license_keys = [row.license_key for row in rows]
    product_ids = {row.product_id for row in rows}
    # License keys of several products have no key in common.
    key_id = None
    if len(product_ids) == 1:
        key_id = keys.active_id(session, product_ids.pop(), scope=call.caller.scope)
    content: dict[str, JsonValue] = {"created": len(license_keys), "duplicate": 0, "license_keys": license_keys}
    return call.services.signing.answer(codes.LICENSE_KEYS_CREATION_RESULT, content, product_key_id=key_id)


def _elements(call: Call[RegisterRequest]) -> list[WantedLicense]:
    """The elements of `licenses`, each checked.

    Raises:
        Refusal: 901, with every bad field of every element; 902 where there are none.
    """
    code = codes.INCORRECT_DATA_LICENSE_CREATE
    given = call.fields.licenses
    most = call.services.settings.max_quantity
    if not isinstance(given, list):
        raise bad_field(code, "licenses", "array")
    if not given:
        raise Refusal(codes.NO_LICENSE_KEYS_CREATED)
    if len(given) > most:
        raise Refusal(code, {"errors": {"licenses": [error_text("less_than_equal", "licenses", le=most)]}})
    errors: dict[str, Any] = {}
    wanted: list[WantedLicense] = []
    for number, element in enumerate(given):
        if not isinstance(element, dict):
            errors[f"licenses.{number}"] = [error_text("array", f"licenses.{number}")]
            continue
        try:
            wanted.append(validate(WantedLicense, clean(element), context={}, code=code))
        except Refusal as refusal:
            found = refusal.payload["errors"]
            assert isinstance(found, dict)  # noqa: S101 -- narrows the type
            errors.update({f"licenses.{number}.{name}": texts for name, texts in found.items()})
    if errors:
        raise Refusal(code, {"errors": errors})
    return wanted
