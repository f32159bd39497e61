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


def add(session: Session, license_keys: Sequence[str], common: NewLicenseKeys) -> None:
    """Store license keys, in this order.

    Raises:
        KeysCollide: at least one is stored already; the transaction must be rolled back.
    """
    add_rows(session, [{"license_key": key, **common} for key in license_keys])


def add_rows(session: Session, rows: Sequence[Mapping[str, object]]) -> None:
    """Store license keys with all their columns, in this order.

    Raises:
        KeysCollide: at least one is stored already; the transaction must be rolled back.
    """
    table = LicenseKey.__table__
    assert isinstance(table, Table)  # noqa: S101 -- narrows SQLAlchemy's FromClause
    try:
        session.execute(insert(table), list(rows))
    except IntegrityError as error:
        raise KeysCollide from error


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


def of_batch(session: Session, batch_id: int) -> list[str]:
    """The license keys of a batch, in the order of the answer, also those that have been deleted since."""
    query = select(LicenseKey.license_key).where(LicenseKey.batch_id == batch_id).order_by(LicenseKey.id)
    return list(session.scalars(query))


def count(session: Session, *, product_id: int | None = None, status: str | None = None) -> int:
    """How many license keys there are: not deleted, nor of a deleted product, nor of a batch still being stored."""
    return session.scalars(_filtered(select(func.count(LicenseKey.id)), product_id, status)).one()


def pages(
    session: Session, *, product_id: int | None = None, status: str | None = None, page_size: int = 1000
) -> Iterator[Sequence[LicenseKey]]:
    """The license keys that `count` counts, in order of id, a page at a time."""
    query = _filtered(select(LicenseKey), product_id, status).order_by(LicenseKey.id).limit(page_size)
    last = 0
    while page := session.scalars(query.where(LicenseKey.id > last)).all():
        yield page
        last = page[-1].id
        session.expunge_all()


def find(session: Session, license_key: str | int) -> LicenseKey | None:
    """A license key that is not deleted, by its text or (a number) its id."""
    return session.scalars(_named(license_key)).one_or_none()


def locked(session: Session, license_key: str | int) -> LicenseKey | None:
    """As `find`; nobody else changes it, or its activations, until the transaction ends."""
    return session.scalars(_named(license_key).with_for_update(of=LicenseKey)).one_or_none()


def ids(session: Session, license_keys: Sequence[str]) -> list[int]:
    """Ids of stored license keys, in order of id."""
    found: list[int] = []
    for start in range(0, len(license_keys), _NAMES_PER_QUERY):
        part = license_keys[start : start + _NAMES_PER_QUERY]
        found.extend(session.scalars(select(LicenseKey.id).where(LicenseKey.license_key.in_(part))))
    return sorted(found)


def rows(session: Session, ids: Sequence[int]) -> Sequence[LicenseKey]:
    """License keys by id, as they are stored now, in order of id."""
    found: list[LicenseKey] = []
    for start in range(0, len(ids), _NAMES_PER_QUERY):
        query = select(LicenseKey).where(LicenseKey.id.in_(ids[start : start + _NAMES_PER_QUERY]))
        found.extend(session.scalars(query.execution_options(populate_existing=True)))
    return sorted(found, key=lambda row: row.id)


def draw_available(
    session: Session, product_id: int, quantity: int, *, generator_id: int | None = None
) -> Sequence[LicenseKey]:
    """Available license keys of a product, at most so many, that no parallel call gets.

    Their rows are locked, and rows that others have locked are passed over.
    """
    query = _filtered(select(LicenseKey)).where(
        LicenseKey.product_id == product_id, LicenseKey.status == rules.AVAILABLE
    )
    if generator_id is not None:
        query = query.where(LicenseKey.generator_id == generator_id)
    # In no order: sorting a million of them would cost more than the rest.
    query = query.limit(quantity).with_for_update(skip_locked=True, of=LicenseKey)
    return sorted(session.scalars(query).all(), key=lambda row: row.id)


def assign(
    session: Session, ids: Sequence[int], *, owner_name: str | None, owner_email: str | None, now: datetime
) -> int:
    """Assign license keys that may be assigned.

    Returns:
        How many of them were.
    """
    owner = {"owner_name": owner_name, "owner_email": owner_email, "assigned_at": now, "updated_at": now}
    assigned = 0
    for start in range(0, len(ids), _NAMES_PER_QUERY):
        part = ids[start : start + _NAMES_PER_QUERY]
        statement = (
            update(LicenseKey)
            .where(LicenseKey.id.in_(part), LicenseKey.status.in_(rules.ASSIGNABLE))
            .values(status=rules.ASSIGNED, **owner)
            .returning(LicenseKey.id)
            .execution_options(synchronize_session=False)
        )
        assigned += len(session.execute(statement).all())
    return assigned


@dataclass(frozen=True, slots=True)
class Filter:
    """Which license keys are listed or counted. None: whichever.

    Attributes:
        product_ids: only those of these products, for callers who are limited to some.
    """

    product_id: int | None = None
    product_ids: frozenset[int] | None = None
    status: str | None = None
    block_reason: str | None = None
    owner_email: str | None = None


def page(session: Session, wanted: Filter, *, number: int, size: int) -> Sequence[LicenseKey]:
    """A page of license keys, in order of id.

    Args:
        number: from 1.
    """
    query = _wanted(select(LicenseKey), wanted).order_by(LicenseKey.id).limit(size).offset((number - 1) * size)
    return session.scalars(query).all()


def count_available(session: Session, product_id: int, *, generator_id: int | None = None) -> int:
    """How many license keys of a product are available."""
    query = _filtered(select(func.count(LicenseKey.id)), product_id, rules.AVAILABLE)
    if generator_id is not None:
        query = query.where(LicenseKey.generator_id == generator_id)
    return session.scalars(query).one()


_Query = TypeVar("_Query", bound=Select[Any])


def _filtered(query: _Query, product_id: int | None = None, status: str | None = None) -> _Query:
    """Those that are there for everybody: not deleted, nor of a deleted product, nor of a batch still being stored."""
    staged = LicenseKey.batch_id.in_(select(StagedBatch.batch_id))
    query = query.where(LicenseKey.deleted_at.is_(None), LicenseKey.batch_id.is_(None) | ~staged)
    query = query.where(LicenseKey.product_id.in_(products.ids_not_deleted()))
    if product_id is not None:
        query = query.where(LicenseKey.product_id == product_id)
    if status is not None:
        query = query.where(LicenseKey.status == status)
    return query


def _named(license_key: str | int) -> Select[LicenseKey]:
    name = LicenseKey.id == license_key if isinstance(license_key, int) else LicenseKey.license_key == license_key
    return _filtered(select(LicenseKey).where(name))


def _wanted(query: _Query, wanted: Filter) -> _Query:
    query = _filtered(query)
    for column, value in (
        (LicenseKey.product_id, wanted.product_id),
        (LicenseKey.status, wanted.status),
        (LicenseKey.block_reason, wanted.block_reason),
        (LicenseKey.owner_email, wanted.owner_email),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.product_ids is not None:
        query = query.where(LicenseKey.product_id.in_(wanted.product_ids))
    return query
