"""Queries of issuing: generators, and what they have made."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from hanaper.issuing.models import Batch, Generator
from hanaper.products.models import Product
from hanaper.storage.scope import Scope, within


@dataclass(frozen=True, slots=True)
class Issued:
    """What a generator has made so far."""

    batches: int
    keys: int


def add(session: Session, row: Generator, *, scope: Scope) -> None:
    """Store a generator; its id is known afterwards."""
    scope.require(row.product_id)
    session.add(row)
    session.flush()


def find(session: Session, reference: int | str, *, scope: Scope) -> tuple[Generator, Product] | None:
    """A generator with its product, by id (a number) or UUID (text). Deleted products are found too."""
    name = Generator.id == reference if isinstance(reference, int) else Generator.uuid == reference
    query = select(Generator, Product).join(Product, Generator.product_id == Product.id)
    row = session.execute(query.where(name, within(scope, Generator.product_id))).one_or_none()
    return None if row is None else (row[0], row[1])


def listed(session: Session, *, scope: Scope, product: int | str | None = None) -> Sequence[Generator]:
    """Generators of products that are not deleted, in order of id.

    Args:
        product: only this product's, by id (a number) or by UUID or slug (text).
    """
    query = select(Generator).join(Product, Generator.product_id == Product.id)
    query = query.where(Product.deleted_at.is_(None), within(scope, Generator.product_id))
    if product is not None:
        named = Product.id == product
        if isinstance(product, str):
            named = (Product.uuid == product) | (Product.slug == product)
        query = query.where(named)
    return session.scalars(query.order_by(Generator.id)).all()


def batches_of(session: Session, request_id: str, *, scope: Scope) -> Sequence[tuple[int, int]]:
    """Ids and quantities of the batches that one request or command made, in order of id."""
    query = select(Batch.id, Batch.quantity).where(Batch.request_id == request_id, within(scope, Batch.product_id))
    return [(row[0], row[1]) for row in session.execute(query.order_by(Batch.id))]


def issued(session: Session, *, scope: Scope) -> dict[int, Issued]:
    """What each generator has made.

    Added up from the batches: a counter in the generator's row would be one row that all requests have to lock.
    """
    query = select(Batch.generator_id, func.count(), func.sum(Batch.quantity)).where(within(scope, Batch.product_id))
    found = session.execute(query.group_by(Batch.generator_id))
    return {row[0]: Issued(batches=row[1], keys=int(row[2])) for row in found}
