"""Queries about products."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hanaper.products.models import Product


class SlugTaken(Exception):
    """Another product has this slug."""


def add(session: Session, product: Product) -> None:
    """Store a product.

    Raises:
        SlugTaken: another one has its slug.
    """
    try:
        session.add(product)
        session.flush()
    except IntegrityError as error:
        raise SlugTaken from error


def find(session: Session, reference: int | str) -> Product | None:
    """A product that is not deleted, by id (a number) or by UUID or slug (text)."""
    if isinstance(reference, int):
        name = Product.id == reference
    else:
        name = (Product.uuid == reference.lower()) | (Product.slug == reference)
    return session.scalars(select(Product).where(name, Product.deleted_at.is_(None))).one_or_none()


def listed(session: Session) -> Sequence[Product]:
    """All products that are not deleted, in order of id."""
    return session.scalars(select(Product).where(Product.deleted_at.is_(None)).order_by(Product.id)).all()
