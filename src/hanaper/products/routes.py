"""Products over HTTP, with their metadata and public keys (protocol.md 4.7)."""

from collections.abc import Callable

from fastapi import APIRouter

from hanaper.keystore import store as keys
from hanaper.products import rules, show, store
from hanaper.products.create import NewProduct, SlugTaken, create
from hanaper.products.models import Product
from hanaper.products.schemas import (
    CreateProductRequest,
    ListProductsRequest,
    ProductMetaRequest,
    ProductRequest,
    UpdateProductRequest,
)
from hanaper.protocol import codes
from hanaper.protocol.codes import Code
from hanaper.refusal import Refusal
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.service import SignedAnswer
from hanaper.storage.session import Session
from hanaper.web.endpoint import Call, endpoint
from hanaper.web.fields import bad_field

MOST_ATTEMPTS = 20

router = APIRouter(tags=["products"])


@endpoint(router, "POST", "create-product", shape=CreateProductRequest, bad_fields=codes.INCORRECT_DATA_PRODUCT_CREATE)
def create_product(call: Call[CreateProductRequest]) -> SignedAnswer:
    """Create a product, with a key pair of its own: 750 with `product_id`; 751."""
    fields, services = call.fields, call.services
    if call.caller.product_ids is not None:
        # It could not even see what it has made.
        raise Refusal(codes.INSUFFICIENT_PERMISSIONS)
    if rules.name_fault(fields.name) is not None:
        raise bad_field(codes.INCORRECT_DATA_PRODUCT_CREATE, "name")
    if fields.slug and rules.slug_fault(fields.slug) is not None:
        raise bad_field(codes.INCORRECT_DATA_PRODUCT_CREATE, "slug")
    pair = KeyPair.generate(services.settings.rsa_bits)

    def work(session: Session) -> SignedAnswer:
        slug = fields.slug or rules.slug_of(fields.name)
        new = NewProduct(
            name=fields.name,
            # One that was asked for has to be free; one that is made up can be made up otherwise.
            slug=slug if fields.slug else rules.free_slug(slug, store.slugs_like(session, slug[:80])),
            description=fields.description,
            require_non_expired=fields.require_non_expired == 1,
            source=fields.source,
            status=fields.status,
            external_reference=fields.external_reference,
            post_url=fields.post_url,
        )
        try:
            product = create(session, new, pair, keystore=services.keystore, now=services.clock())
        except SlugTaken:
            if fields.slug:
                raise bad_field(codes.INCORRECT_DATA_PRODUCT_CREATE, "slug") from None
            raise
        return services.signing.answer(codes.PRODUCT_CREATED, {"product_id": product.id})

    # Another request may take the made-up slug at this moment.
    for _ in range(MOST_ATTEMPTS):
        try:
            return call.configure(work)
        except SlugTaken:
            continue
    raise bad_field(codes.INCORRECT_DATA_PRODUCT_CREATE, "name")


@endpoint(router, "POST", "update-product", shape=UpdateProductRequest, bad_fields=codes.INCORRECT_DATA_PRODUCT_UPDATE)
def update_product(call: Call[UpdateProductRequest]) -> SignedAnswer:
    """Change a product: 650; 651."""
    fields, services = call.fields, call.services

    def work(session: Session) -> SignedAnswer:
        product = _locked(session, call, fields.product_id)
        if product is None:
            raise bad_field(codes.INCORRECT_DATA_PRODUCT_UPDATE, "product_id")
        if fields.name is not None and rules.name_fault(fields.name) is not None:
            raise bad_field(codes.INCORRECT_DATA_PRODUCT_UPDATE, "name")
        for name in (
            "source",
            "name",
            "description",
            "require_non_expired",
            "status",
            "external_reference",
            "post_url",
        ):
            value = getattr(fields, name)
            if value is not None:
                setattr(product, name, value)
        product.updated_at = services.clock()
        return services.signing.answer(codes.PRODUCT_UPDATED, {})

    return call.configure(work)


@endpoint(router, "POST", "delete-product", shape=ProductRequest, bad_fields=codes.PRODUCT_NOT_FOUND)
def delete_product(call: Call[ProductRequest]) -> SignedAnswer:
    """Delete a product. Its license keys and generators are gone with it: 550; 551."""

    def work(session: Session) -> SignedAnswer:
        product = _locked(session, call, call.fields.product_id)
        if product is None:
            raise Refusal(codes.PRODUCT_NOT_FOUND)
        # Whatever asks for a license key or a generator asks for its product, too.
        product.deleted_at = product.updated_at = call.services.clock()
        return call.services.signing.answer(codes.PRODUCT_DELETED, {})

    return call.configure(work)


@endpoint(router, "GET", "get-all-products", shape=ListProductsRequest, bad_fields=codes.PRODUCT_NOT_FOUND)
def get_all_products(call: Call[ListProductsRequest]) -> SignedAnswer:
    """List products: 810 with `products`."""
    products = call.services.storage.read(
        lambda session: show.rows(
            session, [product for product in store.listed(session) if call.caller.may_use(product.id)]
        )
    )
    return call.services.signing.answer(codes.ALL_PRODUCTS, {"products": products})


@endpoint(router, "GET", "get-product", shape=ProductRequest, bad_fields=codes.PRODUCT_NOT_FOUND)
def get_product(call: Call[ProductRequest]) -> SignedAnswer:
    """One product: 631 with `product`; 551."""

    def find(session: Session) -> SignedAnswer:
        product = store.find(session, call.fields.product_id)
        if product is None or not call.caller.may_use(product.id):
            raise Refusal(codes.PRODUCT_NOT_FOUND)
        shown = {
            **show.row(product),
            "meta_data": show.metadata_of(session, product.id),
            "uuid": product.uuid,
            "slug": product.slug,
        }
        return call.services.signing.answer(codes.PRODUCT_FOUND, {"product": shown})

    return call.services.storage.read(find)


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
        if not store.attach(session, product.id, fields.key, fields.value, now=call.services.clock()):
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
        row = store.meta(session, product.id, fields.key)
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
        if not store.detach(session, product.id, call.fields.key):
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
        product = _locked(session, call, call.fields.product_id)
        if product is None:
            raise Refusal(missing)
        key_id = keys.active_id(session, product.id)
        change(session, product, key_id)
        return call.services.signing.answer(done, {}, product_key_id=key_id)

    return call.write(work)


def _locked(
    session: Session,
    call: Call[UpdateProductRequest] | Call[ProductRequest] | Call[ProductMetaRequest],
    reference: int | str,
) -> Product | None:
    product = store.locked(session, reference)
    return product if product is not None and call.caller.may_use(product.id) else None


def _require(text: str, code: Code, key_id: int | None) -> None:
    if not text:
        raise Refusal(code, product_key_id=key_id)
