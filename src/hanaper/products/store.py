"""Queries about products."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hanaper.audit.record import about
from hanaper.keystore import store as keys
from hanaper.products.models import Product, ProductMeta
from hanaper.storage.scope import Scope, within


@dataclass(frozen=True, slots=True)
class Facts:
    """What the other packages need to know of a product that is not deleted.

    Attributes:
        key_id: of the signing key; None where it has none of its own.
    """

    id: int
    is_active: bool
    require_non_expired: bool
    post_url: str
    key_id: int | None


class SlugTaken(Exception):
    """Another product has this slug."""


def add(session: Session, product: Product, *, scope: Scope) -> None:
    """Store a product.

    Raises:
        SlugTaken: another one has its slug.
    """
    scope.require(product.id)
    try:
        session.add(product)
        session.flush()
    except IntegrityError as error:
        raise SlugTaken from error


def find(session: Session, reference: int | str, *, scope: Scope) -> Product | None:
    """A product that is not deleted, by id (a number) or by UUID or slug (text)."""
    return session.scalars(_found(reference, scope)).one_or_none()


def locked(session: Session, reference: int | str, *, scope: Scope) -> Product | None:
    """As `find`; nobody else changes the product until the transaction ends."""
    product = session.scalars(_found(reference, scope).with_for_update()).one_or_none()
    if product is not None:
        about(session, product=product.id)
    return product


def listed(session: Session, *, scope: Scope) -> Sequence[Product]:
    """All products that are not deleted, in order of id."""
    query = select(Product).where(Product.deleted_at.is_(None), within(scope, Product.id))
    return session.scalars(query.order_by(Product.id)).all()


def facts(session: Session, product_id: int, *, scope: Scope) -> Facts | None:
    """What the other packages need to know of a product; None where there is none, or it is deleted."""
    row = find(session, product_id, scope=scope)
    if row is None:
        return None
    return Facts(
        id=row.id,
        is_active=row.status == "active",
        require_non_expired=row.require_non_expired == 1,
        post_url=row.post_url,
        key_id=keys.active_id(session, row.id, scope=scope),
    )


def slugs_like(session: Session, slug: str) -> set[str]:
    """Slugs in use that begin with one, also those of deleted products."""
    return set(session.scalars(select(Product.slug).where(Product.slug.startswith(slug, autoescape=True))))


def ids_not_deleted() -> Select[int]:
    """A query of the ids of all products that are not deleted, for other queries."""
    return select(Product.id).where(Product.deleted_at.is_(None))


def metadata(session: Session, product_ids: Sequence[int], *, scope: Scope) -> dict[int, list[ProductMeta]]:
    """What is attached to some products, in the order it was attached."""
    found: dict[int, list[ProductMeta]] = {product_id: [] for product_id in product_ids}
    query = select(ProductMeta).where(ProductMeta.product_id.in_(product_ids), within(scope, ProductMeta.product_id))
    for row in session.scalars(query.order_by(ProductMeta.id)):
        found[row.product_id].append(row)
    return found


def meta(session: Session, product_id: int, key: str, *, scope: Scope) -> ProductMeta | None:
    """What is attached to a product under a name."""
    return session.scalars(select(ProductMeta).where(*_attached(product_id, key, scope))).one_or_none()


def attach(session: Session, product_id: int, key: str, value: str, *, scope: Scope, now: datetime) -> bool:
    """Attach a value under a new name; False where the name is in use. The product has to be locked."""
    scope.require(product_id)
    if meta(session, product_id, key, scope=scope) is not None:
        return False
    session.add(ProductMeta(product_id=product_id, key=key, value=value, created_at=now, updated_at=now))
    return True


def detach(session: Session, product_id: int, key: str, *, scope: Scope) -> bool:
    """Take away what is attached under a name; False where there is none."""
    gone = delete(ProductMeta).where(*_attached(product_id, key, scope)).returning(ProductMeta.id)
    return session.execute(gone).first() is not None


def _attached(product_id: int, key: str, scope: Scope) -> Sequence[ColumnElement[bool]]:
    return ProductMeta.product_id == product_id, ProductMeta.key == key, within(scope, ProductMeta.product_id)


def _found(reference: int | str, scope: Scope) -> Select[Product]:
    if isinstance(reference, int):
        name = Product.id == reference
    else:
        name = (Product.uuid == reference.lower()) | (Product.slug == reference)
    return select(Product).where(name, Product.deleted_at.is_(None), within(scope, Product.id))
