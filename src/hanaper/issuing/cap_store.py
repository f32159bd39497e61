"""Queries about caps: counting license keys under one, and what there is (decision 0018)."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, func, or_, select, text, update
from sqlalchemy.orm import Session

from hanaper.issuing.models import Generator, GeneratorCap
from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.storage.scope import Scope, owner_within, within


class CapReached(Exception):
    """The generator may not make that many license keys any more."""


def count_on(session: Session, generator_id: int, quantity: int, *, scope: Scope) -> None:
    """Count license keys that this transaction is going to store.

    Raises:
        CapReached: there is no room for them. A generator without a cap always has room.
    """
    if session.get_bind().dialect.name == "postgresql":
        # Whoever sets a cap now waits for this transaction; or else this one waits, and then sees the cap.
        session.execute(text("LOCK TABLE license_keys IN ROW EXCLUSIVE MODE"))
    room = update(GeneratorCap).where(*_of(generator_id, scope), GeneratorCap.issued + quantity <= GeneratorCap.cap)
    counted = session.execute(
        room.values(issued=GeneratorCap.issued + quantity).returning(GeneratorCap.generator_id)
    ).first()
    if counted is None and cap_of(session, generator_id, scope=scope) is not None:
        raise CapReached


def count_made(session: Session, generator_id: int, *, scope: Scope) -> int:
    """How many license keys a generator has made, by counting. Until the end of the transaction nobody makes any."""
    if session.get_bind().dialect.name == "postgresql":
        # Others' statements lock the table before they look at the version of the configuration: they come before this
        # transaction and are counted, or after it and see its cap.
        session.execute(text("SET LOCAL statement_timeout = '10min'"))
        session.execute(text("LOCK TABLE license_keys IN SHARE MODE"))
    staged = select(StagedBatch.batch_id)
    mine = LicenseKey.generator_id == generator_id, within(scope, LicenseKey.product_id)
    there = or_(LicenseKey.batch_id.is_(None), LicenseKey.batch_id.not_in(staged))
    return session.scalars(select(func.count()).select_from(LicenseKey).where(*mine, there)).one()


def add(session: Session, row: GeneratorCap, of: Generator, *, scope: Scope) -> None:
    """Store the cap of a generator."""
    scope.require(of.product_id)
    row.generator_id = of.id
    session.add(row)
    session.flush()


def cap_of(session: Session, generator_id: int, *, scope: Scope, for_update: bool = False) -> GeneratorCap | None:
    """The cap of a generator with its count; None where it has none."""
    query = select(GeneratorCap).where(*_of(generator_id, scope))
    return session.scalars(query.with_for_update() if for_update else query).one_or_none()


def caps(session: Session, *, scope: Scope) -> dict[int, GeneratorCap]:
    """All caps, by generator."""
    return {row.generator_id: row for row in session.scalars(select(GeneratorCap).where(_within(scope)))}


def remove(session: Session, generator_id: int, *, scope: Scope) -> None:
    """Delete the cap of a generator, if it has one."""
    session.execute(delete(GeneratorCap).where(*_of(generator_id, scope)))


def _of(generator_id: int, scope: Scope) -> Sequence[ColumnElement[bool]]:
    return GeneratorCap.generator_id == generator_id, _within(scope)


def _within(scope: Scope) -> ColumnElement[bool]:
    return owner_within(scope, GeneratorCap.generator_id, Generator.id, Generator.product_id)
