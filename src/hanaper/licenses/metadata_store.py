"""Queries about the metadata of license keys."""

from collections.abc import Sequence

from sqlalchemy import and_, delete, select
from sqlalchemy.orm import Session

from hanaper.licenses.models import LicenseKeyMeta


def listed(session: Session, license_key_id: int) -> Sequence[LicenseKeyMeta]:
    """What is attached to a license key, in the order it was attached."""
    query = select(LicenseKeyMeta).where(LicenseKeyMeta.license_key_id == license_key_id)
    return session.scalars(query.order_by(LicenseKeyMeta.id)).all()


def find(session: Session, license_key_id: int, key: str) -> LicenseKeyMeta | None:
    """What is attached to a license key under a name."""
    query = select(LicenseKeyMeta).where(LicenseKeyMeta.license_key_id == license_key_id, LicenseKeyMeta.key == key)
    return session.scalars(query).one_or_none()


def detach(session: Session, license_key_id: int, key: str) -> bool:
    """Take away what is attached under a name; False where there is none."""
    named = and_(LicenseKeyMeta.license_key_id == license_key_id, LicenseKeyMeta.key == key)
    return session.execute(delete(LicenseKeyMeta).where(named).returning(LicenseKeyMeta.id)).first() is not None


def keep(session: Session, row: LicenseKeyMeta) -> int:
    """Store what is attached to a license key; its id."""
    session.add(row)
    session.flush()
    return row.id
