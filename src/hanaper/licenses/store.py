"""Queries about license keys."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypedDict, TypeVar

from sqlalchemy import Select, Table, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hanaper.licenses.models import LicenseKey, StagedBatch
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
    table = LicenseKey.__table__
    assert isinstance(table, Table)  # noqa: S101 -- narrows SQLAlchemy's FromClause
    try:
        session.execute(insert(table), [{"license_key": key, **common} for key in license_keys])
    except IntegrityError as error:
        raise KeysCollide from error


async def taken(storage: Storage, license_keys: Sequence[str]) -> set[str]:
    """Those of some license keys that keep the others from being stored.

    Raises:
        KeysCollide: there are none: some other constraint is violated, which is a bug.
        Unavailable: the database does not answer.
    """
    found = await asyncio.to_thread(storage.read, lambda session: already_stored(session, license_keys))
    if not found:
        raise KeysCollide
    return found


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
    """How many license keys there are that are not deleted, and not of a batch that is still being stored."""
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


_Query = TypeVar("_Query", bound=Select[Any])


def _filtered(query: _Query, product_id: int | None, status: str | None) -> _Query:
    staged = LicenseKey.batch_id.in_(select(StagedBatch.batch_id))
    query = query.where(LicenseKey.deleted_at.is_(None), LicenseKey.batch_id.is_(None) | ~staged)
    if product_id is not None:
        query = query.where(LicenseKey.product_id == product_id)
    if status is not None:
        query = query.where(LicenseKey.status == status)
    return query
