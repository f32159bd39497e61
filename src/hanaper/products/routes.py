"""GET /get-product-public-key (protocol.md 4.7)."""

from fastapi import APIRouter

from hanaper.keystore import store as keys
from hanaper.products import store
from hanaper.products.schemas import ProductRequest
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.signing.service import SignedAnswer
from hanaper.storage.session import Session
from hanaper.web.endpoint import Call, endpoint

router = APIRouter(tags=["products"])


@endpoint(
    router,
    "GET",
    "get-product-public-key",
    shape=ProductRequest,
    bad_fields=codes.PRODUCT_PUBLIC_KEY_NOT_FOUND,
)
def get_product_public_key(call: Call[ProductRequest]) -> SignedAnswer:
    """The public key of a product: 632 with `public_key` (PEM) and `product.uuid`; 633."""

    def find(session: Session) -> tuple[str, str]:
        product = store.find(session, call.fields.product_id)
        pem = keys.public_pem(session, product.id) if product is not None and call.caller.may_use(product.id) else None
        if product is None or pem is None:
            raise Refusal(codes.PRODUCT_PUBLIC_KEY_NOT_FOUND)
        return pem, product.uuid

    pem, uuid = call.services.storage.read(find)
    return call.services.signing.answer(codes.PRODUCT_PUBLIC_KEY_FOUND, {"public_key": pem, "product": {"uuid": uuid}})
