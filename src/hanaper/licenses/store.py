"""Queries about license keys."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, TypeVar

from sqlalchemy import Select, Table, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hanaper.licenses import rules
from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.products import store as products
from hanaper.storage.scope import Scope, unsought, within
from hanaper.storage.transactions import Storage

_NAMES_PER_QUERY = 1000


class NewLicenseKeys(TypedDict):
    """What all license keys of a batch have in common."""

    product_id: int
    generator_id: int | None
    batch_id: int | None
    source: str
    activation_limit: int
    validity: int
    status: str
    created_at: datetime
    updated_at: datetime


class KeysCollide(Exception):
    """One of the license keys is stored already."""


def add(session: Session, license_keys: Sequence[str], common: NewLicenseKeys, *, scope: Scope) -> None:
    """Store license keys, in this order.

    Raises:
        KeysCollide: at least one is stored already; the transaction must be rolled back.
    """
    scope.require(common["product_id"])
    _insert(session, [{"license_key": key, **common} for key in license_keys])


def add_rows(session: Session, product_id: int, rows: Sequence[Mapping[str, object]], *, scope: Scope) -> None:
    """Store license keys of a product with all their other columns, in this order.

    Raises:
        KeysCollide: at least one is stored already; the transaction must be rolled back.
    """
    scope.require(product_id)
    _insert(session, [{**row, "product_id": product_id} for row in rows])


async def taken(storage: Storage, license_keys: Sequence[str]) -> set[str]:
    """Those of some license keys that keep the others from being stored.

    Raises:
        KeysCollide: there are none: some other constraint is violated, which is a bug.
        Unavailable: the database does not answer.
    """
    found = await stored(storage, license_keys)
    if not found:
        raise KeysCollide
    return found


async def stored(storage: Storage, license_keys: Sequence[str]) -> set[str]:
    """Those of some license keys that are stored.

    Raises:
        Unavailable: the database does not answer.
    """
    return await asyncio.to_thread(storage.read, lambda session: already_stored(session, license_keys))


def already_stored(session: Session, license_keys: Sequence[str]) -> set[str]:
    """Those of the license keys that are stored, deleted ones too."""
    found: set[str] = set()
    for start in range(0, len(license_keys), _NAMES_PER_QUERY):
        part = license_keys[start : start + _NAMES_PER_QUERY]
        found.update(session.scalars(select(LicenseKey.license_key).where(LicenseKey.license_key.in_(part))))
    return found


def of_batch(session: Session, batch_id: int, *, scope: Scope) -> list[str]:
    """The license keys of a batch, in the order of the answer, also those that have been deleted since."""
    mine = LicenseKey.batch_id == batch_id, within(scope, LicenseKey.product_id)
    return list(session.scalars(select(LicenseKey.license_key).where(*mine).order_by(LicenseKey.id)))


def count(session: Session, *, scope: Scope, product_id: int | None = None, status: str | None = None) -> int:
    """How many license keys there are: not deleted, nor of a deleted product, nor of a batch still being stored."""
    return session.scalars(_filtered(select(func.count(LicenseKey.id)), scope, product_id, status)).one()


def pages(
    session: Session, *, scope: Scope, product_id: int | None = None, status: str | None = None, page_size: int = 1000
) -> Iterator[Sequence[LicenseKey]]:
    """The license keys that `count` counts, in order of id, a page at a time."""
    query = _filtered(select(LicenseKey), scope, product_id, status).order_by(LicenseKey.id).limit(page_size)
    last = 0
    while page := session.scalars(query.where(LicenseKey.id > last)).all():
        yield page
        last = page[-1].id
        session.expunge_all()


def find(session: Session, license_key: str | int, *, scope: Scope) -> LicenseKey | None:
    """A license key that is not deleted, by its text or (a number) its id."""
    return session.scalars(_named(license_key, scope)).one_or_none()


def locked(session: Session, license_key: str | int, *, scope: Scope) -> LicenseKey | None:
    """As `find`; nobody else changes it, or its activations, until the transaction ends."""
    return session.scalars(_named(license_key, scope).with_for_update(of=LicenseKey)).one_or_none()


def ids(session: Session, license_keys: Sequence[str], *, scope: Scope) -> list[int]:
    """Ids of stored license keys, in order of id."""
    found: list[int] = []
    for start in range(0, len(license_keys), _NAMES_PER_QUERY):
        part = license_keys[start : start + _NAMES_PER_QUERY]
        mine = LicenseKey.license_key.in_(part), within(scope, unsought(LicenseKey.product_id))
        found.extend(session.scalars(select(LicenseKey.id).where(*mine)))
    return sorted(found)


def rows(session: Session, ids: Sequence[int], *, scope: Scope) -> Sequence[LicenseKey]:
    """License keys by id, as they are stored now, in order of id."""
    found: list[LicenseKey] = []
    for start in range(0, len(ids), _NAMES_PER_QUERY):
        part = ids[start : start + _NAMES_PER_QUERY]
        query = select(LicenseKey).where(LicenseKey.id.in_(part), within(scope, unsought(LicenseKey.product_id)))
        found.extend(session.scalars(query.execution_options(populate_existing=True)))
    return sorted(found, key=lambda row: row.id)


def draw_available(
    session: Session, product_id: int, quantity: int, *, scope: Scope, generator_id: int | None = None
) -> Sequence[LicenseKey]:
    """Available license keys of a product, at most so many, that no parallel call gets.

    Their rows are locked, and rows that others have locked are passed over.
    """
    query = _filtered(select(LicenseKey), scope, product_id, rules.AVAILABLE)
    if generator_id is not None:
        query = query.where(LicenseKey.generator_id == generator_id)
    # In no order: sorting a million of them would cost more than the rest.
    query = query.limit(quantity).with_for_update(skip_locked=True, of=LicenseKey)
    return sorted(session.scalars(query).all(), key=lambda row: row.id)


def assign(
    session: Session,
    ids: Sequence[int],
    *,
    scope: Scope,
    owner_name: str | None,
    owner_email: str | None,
    now: datetime,
) -> int:
    """Assign license keys that may be assigned.

    Returns:
        How many of them were.
    """
    owner = {"owner_name": owner_name, "owner_email": owner_email, "assigned_at": now, "updated_at": now}
    assigned = 0
    for start in range(0, len(ids), _NAMES_PER_QUERY):
        part = ids[start : start + _NAMES_PER_QUERY]
        mine = LicenseKey.id.in_(part), within(scope, unsought(LicenseKey.product_id))
        statement = (
            update(LicenseKey)
            .where(*mine, LicenseKey.status.in_(rules.ASSIGNABLE))
            .values(status=rules.ASSIGNED, **owner)
            .returning(LicenseKey.id)
            .execution_options(synchronize_session=False)
        )
        assigned += len(session.execute(statement).all())
    return assigned


@dataclass(frozen=True, slots=True)
class Filter:
    """Which license keys are listed. None: whichever."""

    product_id: int | None = None
    status: str | None = None
    block_reason: str | None = None
    owner_email: str | None = None


def page(session: Session, wanted: Filter, *, scope: Scope, number: int, size: int) -> Sequence[LicenseKey]:
    """A page of license keys, in order of id.

    Args:
        number: from 1.
    """
    query = _filtered(select(LicenseKey), scope, wanted.product_id, wanted.status)
    if wanted.block_reason is not None:
        query = query.where(LicenseKey.block_reason == wanted.block_reason)
    if wanted.owner_email is not None:
        query = query.where(LicenseKey.owner_email == wanted.owner_email)
    return session.scalars(query.order_by(LicenseKey.id).limit(size).offset((number - 1) * size)).all()


def count_available(session: Session, product_id: int, *, scope: Scope, generator_id: int | None = None) -> int:
    """How many license keys of a product are available."""
    query = _filtered(select(func.count(LicenseKey.id)), scope, product_id, rules.AVAILABLE)
    if generator_id is not None:
        query = query.where(LicenseKey.generator_id == generator_id)
    return session.scalars(query).one()


_Query = TypeVar("_Query", bound=Select[Any])


def _insert(session: Session, rows: list[dict[str, object]]) -> None:
    table = LicenseKey.__table__
    assert isinstance(table, Table)  # noqa: S101 -- narrows SQLAlchemy's FromClause
    try:
        session.execute(insert(table), rows)
    except IntegrityError as error:
        raise KeysCollide from error


def _filtered(query: _Query, scope: Scope, product_id: int | None = None, status: str | None = None) -> _Query:
    """Those in scope that are there: not deleted, nor of a deleted product, nor of a batch still being stored."""
    staged = LicenseKey.batch_id.in_(select(StagedBatch.batch_id))
    query = query.where(LicenseKey.deleted_at.is_(None), LicenseKey.batch_id.is_(None) | ~staged)
    query = query.where(within(scope, LicenseKey.product_id), LicenseKey.product_id.in_(products.ids_not_deleted()))
    if product_id is not None:
        query = query.where(LicenseKey.product_id == product_id)
    if status is not None:
        query = query.where(LicenseKey.status == status)
    return query


def _named(license_key: str | int, scope: Scope) -> Select[LicenseKey]:
    name = LicenseKey.id == license_key if isinstance(license_key, int) else LicenseKey.license_key == license_key
    return _filtered(select(LicenseKey).where(name), scope)
