"""Queries about activations, and the one about license keys and activations together."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import Session

from hanaper.licenses import rules
from hanaper.licenses.models import Activation, LicenseKey
from hanaper.storage.scope import POSTGRESQL_WITHIN, SQLITE_WITHIN, Scope, owner_within

_IDS_PER_QUERY = 1000


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


@dataclass(frozen=True, slots=True)
class Asked:
    """A license key and an identifier, as they came.

    Attributes:
        scope: where the license key is looked for.
    """

    license_key: str
    identifier: str
    scope: Scope


def uses(cursor: DBAPICursor, dialect: str, asked: Sequence[Asked]) -> Sequence[Use]:
    """License keys that are not deleted, each with its activation: a group read, see `storage.reader`.

    Args:
        asked: each with a scope of its own.

    Returns:
        For each what was found, all at one moment.
    """
    if dialect == "sqlite":
        given = [(one.license_key, one.identifier, one.scope.numbers) for one in asked]
        cursor.execute(_SQLITE_USES, (json.dumps(given),))
        rows = cursor.fetchall()
        # SQLite has no moments: they are texts, as SQLAlchemy writes them.
        return [replace(Use(*row), assigned_at=_moment(row[5]), activated_at=_moment(row[7])) for row in rows]
    cursor.execute(
        _POSTGRESQL_USES,
        (
            [one.license_key for one in asked],
            [one.identifier for one in asked],
            [one.scope.array for one in asked],
        ),
    )
    return [Use(*row) for row in cursor.fetchall()]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def find(session: Session, license_key_id: int, identifier: str, *, scope: Scope) -> Activation | None:
    """The activation of an identifier, also one that has ended."""
    named = Activation.license_key_id == license_key_id, Activation.identifier == identifier
    return session.scalars(select(Activation).where(*named, _within(scope))).one_or_none()


def active(session: Session, license_key_id: int, *, scope: Scope) -> Sequence[Activation]:
    """The active activations of a license key, in order of id."""
    mine = Activation.license_key_id == license_key_id, Activation.status == rules.ACTIVE
    return session.scalars(select(Activation).where(*mine, _within(scope)).order_by(Activation.id)).all()


def count(session: Session, license_key_id: int, *, scope: Scope) -> int:
    """How many activations of a license key are active."""
    mine = Activation.license_key_id == license_key_id, Activation.status == rules.ACTIVE
    return session.scalars(select(func.count(Activation.id)).where(*mine, _within(scope))).one()


def counts(session: Session, license_key_ids: Sequence[int], *, scope: Scope) -> dict[int, int]:
    """How many activations of each of some license keys are active; those without any are left out."""
    found: dict[int, int] = {}
    for start in range(0, len(license_key_ids), _IDS_PER_QUERY):
        part = license_key_ids[start : start + _IDS_PER_QUERY]
        query = select(Activation.license_key_id, func.count()).where(
            Activation.license_key_id.in_(part), Activation.status == rules.ACTIVE, _within(scope)
        )
        found.update((row[0], row[1]) for row in session.execute(query.group_by(Activation.license_key_id)))
    return found


def keep(session: Session, activation: Activation, of: LicenseKey, *, scope: Scope) -> None:
    """Store an activation of a license key; its id is known afterwards."""
    scope.require(of.product_id)
    activation.license_key_id = of.id
    session.add(activation)
    session.flush()


def _within(scope: Scope) -> ColumnElement[bool]:
    return owner_within(scope, Activation.license_key_id, LicenseKey.id, LicenseKey.product_id)


_USES = """
    SELECT (SELECT version FROM configuration_version), found.id, coalesce(found.product_id, 0),
        coalesce(found.status, ''), coalesce(found.validity, 0), found.assigned_at, active.id, active.activated_at
    FROM {asked}
    LEFT JOIN license_keys AS found ON found.license_key = {license_key} AND found.deleted_at IS NULL AND {within}
        AND NOT EXISTS (SELECT 1 FROM staged_batches WHERE staged_batches.batch_id = found.batch_id)
    LEFT JOIN activations AS active ON active.license_key_id = found.id AND active.identifier = {identifier}
        AND active.status = 'active'
    ORDER BY {place}
"""
_SQLITE_USES = _USES.format(
    asked="json_each(?) AS asked",
    license_key="asked.value ->> 0",
    identifier="asked.value ->> 1",
    within=SQLITE_WITHIN.format(scope="asked.value ->> 2", product_id="found.product_id"),
    place="asked.key",
)
_POSTGRESQL_USES = _USES.format(
    asked="unnest(%s::text[], %s::text[], %s::text[]) WITH ORDINALITY AS asked (license_key, identifier, scope, place)",
    license_key="asked.license_key",
    identifier="asked.identifier",
    within=POSTGRESQL_WITHIN.format(scope="asked.scope", product_id="found.product_id"),
    place="asked.place",
)
