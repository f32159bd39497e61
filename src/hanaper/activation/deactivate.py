"""Deactivating a license key on an identifier (protocol.md 4.3)."""

from datetime import datetime

from hanaper.access.authenticate import Caller
from hanaper.activation.outcome import Outcome, of_row
from hanaper.licenses import activation_store, rules
from hanaper.licenses.check import existing
from hanaper.protocol import codes
from hanaper.storage.session import Session


def deactivate(session: Session, license_key: str, identifier: str, *, caller: Caller, now: datetime) -> Outcome:
    """End the use of a license key on an identifier. Its own client asks for it, so nobody is told.

    A license key that is blocked or has expired can be deactivated, too: that gives a place back and takes nothing.

    Args:
        license_key: empty where none was named.
        identifier: empty where none was named.

    Returns:
        "400"; 401 where it is not active there, or never was; 210, 215.
    """
    found = existing(session, license_key, caller)
    if found is None:
        return Outcome(codes.INVALID_LICENSE_KEY)
    row, product = found
    if not identifier:
        return of_row(codes.IDENTIFIER_REQUIRED, product.key_id, row)
    activation = activation_store.find(session, row.id, identifier, scope=caller.scope)
    if activation is None or activation.status != rules.ACTIVE:
        return of_row(codes.LICENSE_ALREADY_INACTIVE, product.key_id, row, activation)
    activation.status = rules.INACTIVE
    activation.updated_at = now
    return of_row(codes.LICENSE_DEACTIVATED, product.key_id, row, activation)
