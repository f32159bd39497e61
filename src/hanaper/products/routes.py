"""Products over HTTP, with their public keys (protocol.md 4.7)."""

from fastapi import APIRouter

from hanaper.keystore import store as keys
from hanaper.products import rules, show, store
from hanaper.products.change import Changes, change, delete
from hanaper.products.create import NewProduct, SlugTaken, create
from hanaper.products.schemas import (
    CreateProductRequest,
    ListProductsRequest,
    ProductRequest,
    UpdateProductRequest,
)
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.signing.answer import SignedAnswer
from hanaper.storage.session import Session
from hanaper.web.call import Call
from hanaper.web.endpoint import endpoint
from hanaper.web.fields import bad_field

router = APIRouter(tags=["products"])


@endpoint(router, "POST", "create-product", shape=CreateProductRequest, bad_fields=codes.INCORRECT_DATA_PRODUCT_CREATE)
def create_product(call: Call[CreateProductRequest]) -> SignedAnswer:
    """Create a product, with a key pair of its own: 750 with `product_id`; 751."""
    fields, services = call.fields, call.services
    if call.caller.scope.products is not None:
        # It could not even see what it has made.
        raise Refusal(codes.INSUFFICIENT_PERMISSIONS)
    if rules.name_fault(fields.name) is not None:
        raise bad_field(codes.INCORRECT_DATA_PRODUCT_CREATE, "name")
    if fields.slug and rules.slug_fault(fields.slug) is not None:
        raise bad_field(codes.INCORRECT_DATA_PRODUCT_CREATE, "slug")
    with services.keystore.new_key(services.settings.rsa_bits) as pair:

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
                product = create(
                    session, new, pair, scope=call.caller.scope, keystore=services.keystore, now=services.clock()
                )
            except SlugTaken:
                if fields.slug:
                    raise bad_field(codes.INCORRECT_DATA_PRODUCT_CREATE, "slug") from None
                raise
            return services.signing.answer(codes.PRODUCT_CREATED, {"product_id": product.id})

        # Another request may take the made-up slug at this moment.
        return call.configure(work, again=(SlugTaken,))


@endpoint(router, "POST", "update-product", shape=UpdateProductRequest, bad_fields=codes.INCORRECT_DATA_PRODUCT_UPDATE)
def update_product(call: Call[UpdateProductRequest]) -> SignedAnswer:
    """Change a product: 650; 651."""
    fields, services = call.fields, call.services
    changes = Changes(**fields.model_dump(exclude={"product_id"}))

    def work(session: Session) -> SignedAnswer:
        product = store.locked(session, fields.product_id, scope=call.caller.scope)
        if product is None:
            raise bad_field(codes.INCORRECT_DATA_PRODUCT_UPDATE, "product_id")
        if fields.name is not None and rules.name_fault(fields.name) is not None:
            raise bad_field(codes.INCORRECT_DATA_PRODUCT_UPDATE, "name")
        change(product, changes, now=services.clock())
        return services.signing.answer(codes.PRODUCT_UPDATED, {})

    return call.configure(work)


@endpoint(router, "POST", "delete-product", shape=ProductRequest, bad_fields=codes.PRODUCT_NOT_FOUND)
def delete_product(call: Call[ProductRequest]) -> SignedAnswer:
    """Delete a product. Its license keys and generators are gone with it: 550; 551."""

    def work(session: Session) -> SignedAnswer:
        product = store.locked(session, call.fields.product_id, scope=call.caller.scope)
        if product is None:
            raise Refusal(codes.PRODUCT_NOT_FOUND)
        delete(product, now=call.services.clock())
        return call.services.signing.answer(codes.PRODUCT_DELETED, {})

    return call.configure(work)


@endpoint(router, "GET", "get-all-products", shape=ListProductsRequest, bad_fields=codes.PRODUCT_NOT_FOUND)
def get_all_products(call: Call[ListProductsRequest]) -> SignedAnswer:
    """List products: 810 with `products`."""
    products = call.services.storage.read(lambda session: show.rows(session, scope=call.caller.scope))
    return call.services.signing.answer(codes.ALL_PRODUCTS, {"products": products})


@endpoint(router, "GET", "get-product", shape=ProductRequest, bad_fields=codes.PRODUCT_NOT_FOUND)
def get_product(call: Call[ProductRequest]) -> SignedAnswer:
    """One product: 631 with `product`; 551."""

    def find(session: Session) -> SignedAnswer:
        product = store.find(session, call.fields.product_id, scope=call.caller.scope)
        if product is None:
            raise Refusal(codes.PRODUCT_NOT_FOUND)
        shown = {
            **show.row(product),
            "meta_data": show.metadata_of(session, product.id, scope=call.caller.scope),
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
        scope = call.caller.scope
        product = store.find(session, call.fields.product_id, scope=scope)
        pem = None if product is None else keys.public_pem(session, product.id, scope=scope)
        if product is None or pem is None:
            raise Refusal(codes.PRODUCT_PUBLIC_KEY_NOT_FOUND)
        return pem, product.uuid

    pem, uuid = call.services.storage.read(find)
    return call.services.signing.answer(codes.PRODUCT_PUBLIC_KEY_FOUND, {"public_key": pem, "product": {"uuid": uuid}})
