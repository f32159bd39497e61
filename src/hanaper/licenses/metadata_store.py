"""Queries about the metadata of license keys."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from hanaper.licenses.models import LicenseKey, LicenseKeyMeta
from hanaper.storage.scope import Scope, owner_within


def listed(session: Session, license_key_id: int, *, scope: Scope) -> Sequence[LicenseKeyMeta]:
    """What is attached to a license key, in the order it was attached."""
    query = select(LicenseKeyMeta).where(*_attached(license_key_id, scope)).order_by(LicenseKeyMeta.id)
    return session.scalars(query).all()


def find(session: Session, license_key_id: int, key: str, *, scope: Scope) -> LicenseKeyMeta | None:
    """What is attached to a license key under a name."""
    query = select(LicenseKeyMeta).where(*_attached(license_key_id, scope), LicenseKeyMeta.key == key)
    return session.scalars(query).one_or_none()


def detach(session: Session, license_key_id: int, key: str, *, scope: Scope) -> bool:
    """Take away what is attached under a name; False where there is none."""
    gone = delete(LicenseKeyMeta).where(*_attached(license_key_id, scope), LicenseKeyMeta.key == key)
    return session.execute(gone.returning(LicenseKeyMeta.id)).first() is not None


def keep(session: Session, row: LicenseKeyMeta, of: LicenseKey, *, scope: Scope) -> int:
    """Store what is attached to a license key; its id."""
    scope.require(of.product_id)
    row.license_key_id = of.id
    session.add(row)
    session.flush()
    return row.id


def _attached(license_key_id: int, scope: Scope) -> Sequence[ColumnElement[bool]]:
    within = owner_within(scope, LicenseKeyMeta.license_key_id, LicenseKey.id, LicenseKey.product_id)
    return LicenseKeyMeta.license_key_id == license_key_id, within
