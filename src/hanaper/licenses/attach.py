"""Attaching a name and a value to a license key (protocol.md 4.6)."""

from datetime import datetime

from hanaper.licenses import metadata_store
from hanaper.licenses.models import LicenseKeyMeta
from hanaper.storage.session import Session


def attach(session: Session, license_key_id: int, key: str, value: str, *, now: datetime) -> int:
    """Attach a value under a name, in place of what was there. The license key has to be locked.

    Returns:
        Its id.
    """
    row = metadata_store.find(session, license_key_id, key)
    if row is None:
        row = LicenseKeyMeta(license_key_id=license_key_id, key=key, value=value, created_at=now, updated_at=now)
        return metadata_store.keep(session, row)
    row.value = value
    row.updated_at = now
    return row.id
