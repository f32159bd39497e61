"""Attaching a name and a value to a license key (protocol.md 4.6)."""

from datetime import datetime

from hanaper.licenses import metadata_store
from hanaper.licenses.models import LicenseKey, LicenseKeyMeta
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


def attach(session: Session, to: LicenseKey, key: str, value: str, *, scope: Scope, now: datetime) -> int:
    """Attach a value under a name to a license key, which has to be locked, in place of what was there.

    Returns:
        Its id.
    """
    row = metadata_store.find(session, to.id, key, scope=scope)
    if row is None:
        row = LicenseKeyMeta(key=key, value=value, created_at=now, updated_at=now)
        return metadata_store.keep(session, row, to, scope=scope)
    row.value = value
    row.updated_at = now
    return row.id
