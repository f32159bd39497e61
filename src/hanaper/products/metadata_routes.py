"""Metadata of products over HTTP (protocol.md 4.7)."""

from collections.abc import Callable

from fastapi import APIRouter

from hanaper.keystore import store as keys
from hanaper.products import store
from hanaper.products.models import Product
from hanaper.products.schemas import ProductMetaRequest
from hanaper.protocol import codes
from hanaper.protocol.codes import Code
from hanaper.refusal import Refusal
from hanaper.signing.answer import SignedAnswer
from hanaper.storage.session import Session
from hanaper.web.call import Call
from hanaper.web.endpoint import endpoint

router = APIRouter(tags=["products"])


@endpoint(
    router,
    "POST",
    "create-product-meta",
    shape=ProductMetaRequest,
    bad_fields=codes.PRODUCT_NOT_FOUND_META_CREATE,
)
def create_product_meta(call: Call[ProductMetaRequest]) -> SignedAnswer:
    """Attach a value to a product: 273; 270, 271, 272, 274."""

    def change(session: Session, product: Product, key_id: int | None) -> None:
        fields = call.fields
        _require(fields.key, codes.PRODUCT_META_KEY_REQUIRED_CREATE, key_id)
        _require(fields.value, codes.PRODUCT_META_VALUE_REQUIRED_CREATE, key_id)
        scope, now = call.caller.scope, call.services.clock()
        if not store.attach(session, product.id, fields.key, fields.value, scope=scope, now=now):
            raise Refusal(codes.PRODUCT_META_KEY_ALREADY_EXISTS, product_key_id=key_id)

    return _change_meta(call, change, done=codes.PRODUCT_META_CREATED, missing=codes.PRODUCT_NOT_FOUND_META_CREATE)


@endpoint(
    router,
    "POST",
    "update-product-meta",
    shape=ProductMetaRequest,
    bad_fields=codes.PRODUCT_NOT_FOUND_META_UPDATE,
)
def update_product_meta(call: Call[ProductMetaRequest]) -> SignedAnswer:
    """Replace a value that is attached to a product: 373; 370, 371, 372, 374."""

    def change(session: Session, product: Product, key_id: int | None) -> None:
        fields = call.fields
        _require(fields.key, codes.PRODUCT_META_KEY_REQUIRED_UPDATE, key_id)
        _require(fields.value, codes.PRODUCT_META_VALUE_REQUIRED_UPDATE, key_id)
        row = store.meta(session, product.id, fields.key, scope=call.caller.scope)
        if row is None:
            raise Refusal(codes.PRODUCT_META_KEY_NOT_EXISTS_UPDATE, product_key_id=key_id)
        row.value = fields.value
        row.updated_at = call.services.clock()

    return _change_meta(call, change, done=codes.PRODUCT_META_UPDATED, missing=codes.PRODUCT_NOT_FOUND_META_UPDATE)


@endpoint(
    router,
    "POST",
    "delete-product-meta",
    shape=ProductMetaRequest,
    bad_fields=codes.PRODUCT_NOT_FOUND_META_DELETE,
)
def delete_product_meta(call: Call[ProductMetaRequest]) -> SignedAnswer:
    """Take a value away from a product: 482; 480, 481, 483."""

    def change(session: Session, product: Product, key_id: int | None) -> None:
        _require(call.fields.key, codes.PRODUCT_META_KEY_REQUIRED_DELETE, key_id)
        if not store.detach(session, product.id, call.fields.key, scope=call.caller.scope):
            raise Refusal(codes.PRODUCT_META_KEY_NOT_EXISTS_DELETE, product_key_id=key_id)

    return _change_meta(call, change, done=codes.PRODUCT_META_DELETED, missing=codes.PRODUCT_NOT_FOUND_META_DELETE)


def _change_meta(
    call: Call[ProductMetaRequest],
    change: Callable[[Session, Product, int | None], None],
    *,
    done: Code,
    missing: Code,
) -> SignedAnswer:
    def work(session: Session) -> SignedAnswer:
        product = store.locked(session, call.fields.product_id, scope=call.caller.scope)
        if product is None:
            raise Refusal(missing)
        key_id = keys.active_id(session, product.id, scope=call.caller.scope)
        change(session, product, key_id)
        return call.services.signing.answer(done, {}, product_key_id=key_id)

    return call.write(work)


def _require(text: str, code: Code, key_id: int | None) -> None:
    if not text:
        raise Refusal(code, product_key_id=key_id)
