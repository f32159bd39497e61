"""Metadata of license keys over HTTP (protocol.md 4.6)."""

from fastapi import APIRouter

from hanaper.licenses import metadata_store
from hanaper.licenses.attach import attach
from hanaper.licenses.check import check
from hanaper.licenses.models import LicenseKey
from hanaper.licenses.schemas import MetaRequest
from hanaper.products import store as products
from hanaper.protocol import codes
from hanaper.protocol.codes import Code
from hanaper.refusal import Refusal
from hanaper.signing.answer import SignedAnswer
from hanaper.storage.session import Session
from hanaper.web.call import Call
from hanaper.web.endpoint import endpoint

router = APIRouter(tags=["license keys"])


@endpoint(router, "POST", "create-license-key-meta", shape=MetaRequest, bad_fields=codes.META_KEY_REQUIRED_CREATE)
def create_license_key_meta(call: Call[MetaRequest]) -> SignedAnswer:
    """Attach a value to a license key: 453 with `meta_id`; 450, 451, 452 and the codes of the check."""

    def work(session: Session) -> SignedAnswer:
        row, product = _checked(session, call)
        _require(call.fields.key, codes.META_KEY_REQUIRED_CREATE, product)
        _require(call.fields.value, codes.META_VALUE_REQUIRED_CREATE, product)
        if metadata_store.find(session, row.id, call.fields.key, scope=call.caller.scope) is not None:
            raise Refusal(codes.META_KEY_ALREADY_EXISTS_CREATE, product_key_id=product.key_id)
        return _attached(session, call, row, product, codes.METADATA_CREATED)

    return call.write(work)


@endpoint(router, "POST", "update-license-key-meta", shape=MetaRequest, bad_fields=codes.META_KEY_REQUIRED_UPDATE)
def update_license_key_meta(call: Call[MetaRequest]) -> SignedAnswer:
    """Replace a value attached to a license key: 353 with `meta_id`; 350, 351, 352 and the codes of the check."""

    def work(session: Session) -> SignedAnswer:
        row, product = _checked(session, call)
        _require(call.fields.key, codes.META_KEY_REQUIRED_UPDATE, product)
        _require(call.fields.value, codes.META_VALUE_REQUIRED_UPDATE, product)
        if metadata_store.find(session, row.id, call.fields.key, scope=call.caller.scope) is None:
            raise Refusal(codes.META_KEY_NOT_EXISTS_UPDATE, product_key_id=product.key_id)
        return _attached(session, call, row, product, codes.METADATA_UPDATED)

    return call.write(work)


@endpoint(router, "POST", "delete-license-key-meta", shape=MetaRequest, bad_fields=codes.META_KEY_REQUIRED_DELETE)
def delete_license_key_meta(call: Call[MetaRequest]) -> SignedAnswer:
    """Take a value away from a license key: 252; 250, 251 and the codes of the check."""

    def work(session: Session) -> SignedAnswer:
        row, product = _checked(session, call)
        _require(call.fields.key, codes.META_KEY_REQUIRED_DELETE, product)
        if not metadata_store.detach(session, row.id, call.fields.key, scope=call.caller.scope):
            raise Refusal(codes.META_KEY_NOT_EXISTS_DELETE, product_key_id=product.key_id)
        return call.services.signing.answer(codes.METADATA_DELETED, {}, product_key_id=product.key_id)

    return call.write(work)


def _checked(session: Session, call: Call[MetaRequest]) -> tuple[LicenseKey, products.Facts]:
    """The license key, if its check lets metadata be changed; an identifier is optional (protocol.md 4.6).

    Raises:
        Refusal: 210 or another code of the check.
    """
    fields = call.fields
    checked = check(
        session,
        fields.license_key,
        fields.identifier,
        caller=call.caller,
        expiry=call.services.settings.expiry,
        now=call.services.clock(),
        wants_identifier=False,
    )
    if checked is None:
        raise Refusal(codes.INVALID_LICENSE_KEY)
    if checked.refusal is not None:
        raise Refusal(checked.refusal, product_key_id=checked.product.key_id)
    return checked.row, checked.product


def _require(text: str, code: Code, product: products.Facts) -> None:
    if not text:
        raise Refusal(code, product_key_id=product.key_id)


def _attached(
    session: Session, call: Call[MetaRequest], row: LicenseKey, product: products.Facts, code: Code
) -> SignedAnswer:
    fields, now = call.fields, call.services.clock()
    meta_id = attach(session, row, fields.key, fields.value, scope=call.caller.scope, now=now)
    return call.services.signing.answer(code, {"meta_id": meta_id}, product_key_id=product.key_id)
