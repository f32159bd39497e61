"""Deleting a license key (protocol.md 4.4)."""

from datetime import datetime

from hanaper.access.authenticate import Caller
from hanaper.licenses import check
from hanaper.licenses.move import end_activations
from hanaper.products.store import Facts
from hanaper.storage.session import Session


def delete(session: Session, license_key: str, *, caller: Caller, now: datetime) -> Facts | None:
    """Delete a license key. Its text stays taken, so that nobody gets it again; its activations end.

    Returns:
        The product it belonged to; None where there was no such license key.
    """
    found = check.existing(session, license_key, caller)
    if found is None:
        return None
    row, product = found
    row.deleted_at = row.updated_at = now
    end_activations(session, row, product, scope=caller.scope, now=now)
    return product
