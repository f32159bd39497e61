"""Making a product, with the key pair that signs for it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from hanaper.audit.record import about
from hanaper.keystore.keys import Keystore, NewKey
from hanaper.products import rules, store
from hanaper.products.models import Product
from hanaper.refusal import Invalid
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


class SlugTaken(Invalid):
    """Another product has the slug."""


@dataclass(frozen=True, slots=True)
class NewProduct:
    """What a product is made from.

    Attributes:
        name: 1 to 255 characters.
        slug: for addresses; made from the name when empty.
        description: free text.
        require_non_expired: whether an expired license key fails verification.
        source: `internal` or `envato`.
        status: `active` or `inactive`.
        external_reference: what the product is called elsewhere.
        post_url: is told of activations that end from our side and name no address of their own.
    """

    name: str
    slug: str = ""
    description: str = ""
    require_non_expired: bool = False
    source: str = "internal"
    status: str = "active"
    external_reference: str = ""
    post_url: str = ""


def create(
    session: Session, new: NewProduct, pair: NewKey, *, scope: Scope, keystore: Keystore, now: datetime
) -> Product:
    """Store a product and its key pair.

    Args:
        pair: generated before the transaction began.

    Raises:
        Invalid: the name or the slug breaks a rule.
        SlugTaken: the slug is taken; the transaction must be rolled back.
    """
    slug = new.slug or rules.slug_of(new.name)
    fault = rules.name_fault(new.name) or rules.slug_fault(slug)
    if fault is not None:
        raise Invalid(fault)
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in new.description):
        raise Invalid("a description holds no NUL characters, and nothing that is not UTF-8")
    product = Product(
        uuid=str(uuid4()),
        slug=slug,
        name=new.name,
        description=new.description,
        require_non_expired=int(new.require_non_expired),
        source=new.source,
        status=new.status,
        external_reference=new.external_reference,
        post_url=new.post_url,
        created_at=now,
        updated_at=now,
    )
    try:
        store.add(session, product, scope=scope)
    except store.SlugTaken as error:
        raise SlugTaken(f"another product has the slug {slug!r}: choose one with --slug") from error
    keystore.add(session, pair, product_id=product.id, now=now)
    about(session, product=product.id)
    return product
