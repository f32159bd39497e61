"""Queries about license keys."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypedDict, TypeVar

from sqlalchemy import Select, Table, and_, delete, func, insert, select, update
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hanaper.licenses import rules
from hanaper.licenses.models import Activation, LicenseKey, LicenseKeyMeta, StagedBatch
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


@dataclass(frozen=True, slots=True)
class Use:
    """A license key with its use on one identifier, and the version of the configuration it was read at.

    Attributes:
        license_key_id: None where there is no such license key.
        activation_id: None where there is no activation for the identifier, or none any more.
    """

    version: int
    license_key_id: int | None
    product_id: int
    status: str
    validity: int
    assigned_at: datetime | None
    activation_id: int | None
    activated_at: datetime | None


def uses(cursor: DBAPICursor, dialect: str, asked: Sequence[tuple[str, str]]) -> Sequence[Use]:
    """License keys that are not deleted, each with its activation: a group read, see `storage.reader`.

    Args:
        asked: license keys with identifiers.

    Returns:
        For each what was found, all at one moment.
    """
    if dialect == "sqlite":
        cursor.execute(_SQLITE_USES, (json.dumps(asked),))
        rows = cursor.fetchall()
        # SQLite has no moments: they are texts, as SQLAlchemy writes them.
        return [replace(Use(*row), assigned_at=_moment(row[5]), activated_at=_moment(row[7])) for row in rows]
    license_keys, identifiers = zip(*asked, strict=True)
    cursor.execute(_POSTGRESQL_USES, (list(license_keys), list(identifiers)))
    return [Use(*row) for row in cursor.fetchall()]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def locked(session: Session, license_key: str | int) -> LicenseKey | None:
    """As `find`; nobody else changes it, or its activations, until the transaction ends."""
    name = LicenseKey.id == license_key if isinstance(license_key, int) else LicenseKey.license_key == license_key
    return session.scalars(_filtered(select(LicenseKey).where(name)).with_for_update(of=LicenseKey)).one_or_none()


def find(session: Session, license_key: str | int) -> LicenseKey | None:
    """A license key that is not deleted, by its text or (a number) its id."""
    name = LicenseKey.id == license_key if isinstance(license_key, int) else LicenseKey.license_key == license_key
    return session.scalars(_filtered(select(LicenseKey).where(name))).one_or_none()


def activation(session: Session, license_key_id: int, identifier: str) -> Activation | None:
    """The activation of an identifier, also one that has ended."""
    query = select(Activation).where(Activation.license_key_id == license_key_id, Activation.identifier == identifier)
    return session.scalars(query).one_or_none()


def activations(session: Session, license_key_id: int) -> Sequence[Activation]:
    """The active activations of a license key, in order of id."""
    query = select(Activation).where(Activation.license_key_id == license_key_id, Activation.status == "active")
    return session.scalars(query.order_by(Activation.id)).all()


def count_activations(session: Session, license_key_id: int) -> int:
    """How many activations of a license key are active."""
    query = select(func.count()).where(Activation.license_key_id == license_key_id, Activation.status == "active")
    return session.scalars(query).one()


def activation_counts(session: Session, license_key_ids: Sequence[int]) -> dict[int, int]:
    """How many activations of each of some license keys are active; those without any are left out."""
    counts: dict[int, int] = {}
    for start in range(0, len(license_key_ids), _NAMES_PER_QUERY):
        part = license_key_ids[start : start + _NAMES_PER_QUERY]
        query = select(Activation.license_key_id, func.count()).where(
            Activation.license_key_id.in_(part), Activation.status == "active"
        )
        counts.update((row[0], row[1]) for row in session.execute(query.group_by(Activation.license_key_id)))
    return counts


def metadata(session: Session, license_key_id: int) -> Sequence[LicenseKeyMeta]:
    """What is attached to a license key, in the order it was attached."""
    query = select(LicenseKeyMeta).where(LicenseKeyMeta.license_key_id == license_key_id)
    return session.scalars(query.order_by(LicenseKeyMeta.id)).all()


def meta(session: Session, license_key_id: int, key: str) -> LicenseKeyMeta | None:
    """What is attached to a license key under a name."""
    query = select(LicenseKeyMeta).where(LicenseKeyMeta.license_key_id == license_key_id, LicenseKeyMeta.key == key)
    return session.scalars(query).one_or_none()


def detach(session: Session, license_key_id: int, key: str) -> bool:
    """Take away what is attached under a name; False where there is none."""
    named = and_(LicenseKeyMeta.license_key_id == license_key_id, LicenseKeyMeta.key == key)
    return session.execute(delete(LicenseKeyMeta).where(named).returning(LicenseKeyMeta.id)).first() is not None


def store(session: Session, row: Activation | LicenseKeyMeta) -> int:
    """Store a row and tell its id."""
    session.add(row)
    session.flush()
    return row.id


def insert_rows(session: Session, rows: Sequence[Mapping[str, object]]) -> None:
    """Store license keys with all their columns.

    Raises:
        KeysCollide: at least one is stored already; the transaction must be rolled back.
    """
    table = LicenseKey.__table__
    assert isinstance(table, Table)  # noqa: S101 -- narrows SQLAlchemy's FromClause
    try:
        session.execute(insert(table), list(rows))
    except IntegrityError as error:
        raise KeysCollide from error


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


_USES = """
    SELECT (SELECT version FROM configuration_version), found.id, coalesce(found.product_id, 0),
        coalesce(found.status, ''), coalesce(found.validity, 0), found.assigned_at, active.id, active.activated_at
    FROM {asked}
    LEFT JOIN license_keys AS found ON found.license_key = {license_key} AND found.deleted_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM staged_batches WHERE staged_batches.batch_id = found.batch_id)
    LEFT JOIN activations AS active ON active.license_key_id = found.id AND active.identifier = {identifier}
        AND active.status = 'active'
    ORDER BY {place}
"""
_SQLITE_USES = _USES.format(
    asked="json_each(?) AS asked",
    license_key="asked.value ->> 0",
    identifier="asked.value ->> 1",
    place="asked.key",
)
_POSTGRESQL_USES = _USES.format(
    asked="unnest(%s::text[], %s::text[]) WITH ORDINALITY AS asked (license_key, identifier, place)",
    license_key="asked.license_key",
    identifier="asked.identifier",
    place="asked.place",
)
