"""Assigning a license key that is named by its text (protocol.md 4.5)."""

from dataclasses import dataclass
from datetime import datetime

from hanaper.access.authenticate import Caller
from hanaper.activation.activate import Place, activate_checked
from hanaper.activation.outcome import Outcome, of_row
from hanaper.licenses import activation_store, rules
from hanaper.licenses.check import Checked, existing
from hanaper.licenses.models import LicenseKey
from hanaper.licenses.move import move
from hanaper.licenses.rules import State
from hanaper.products.store import Facts
from hanaper.protocol import codes
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom license keys are given to; None where nothing was said."""

    name: str | None = None
    email: str | None = None


def assign(session: Session, license_key: str, owner: Owner, *, caller: Caller, now: datetime) -> bool:
    """Assign an available or reserved license key of an active product.

    Its row is locked: of parallel calls one succeeds.

    Returns:
        Whether it was to be had: not where there is none, or it is assigned or blocked.
    """
    found = existing(session, license_key, caller)
    if found is None or not found[1].is_active or found[0].status not in rules.ASSIGNABLE:
        return False
    _give(session, *found, owner, scope=caller.scope, now=now)
    return True


def assign_and_activate(
    session: Session, license_key: str, owner: Owner, place: Place, *, caller: Caller, now: datetime
) -> Outcome:
    """Assign a license key and activate it on an identifier, both or neither.

    Returns:
        300; 203, 204, 801, 215.
    """
    found = existing(session, license_key, caller)
    if found is None:
        return Outcome(codes.INVALID_OR_ALREADY_ASSIGNED)
    row, product = found
    if not product.is_active:
        return of_row(codes.PRODUCT_INACTIVE, product.key_id, row)
    if row.status == rules.BLOCKED:
        return of_row(codes.LICENSE_BLOCKED, product.key_id, row)
    if row.status not in rules.ASSIGNABLE:
        return of_row(codes.INVALID_OR_ALREADY_ASSIGNED, product.key_id, row)
    if not place.identifier:
        return of_row(codes.IDENTIFIER_REQUIRED, product.key_id, row)
    _give(session, row, product, owner, scope=caller.scope, now=now)
    activation = activation_store.find(session, row.id, place.identifier, scope=caller.scope)
    return activate_checked(session, Checked(None, row, product, activation), place, scope=caller.scope, now=now)


def _give(session: Session, row: LicenseKey, product: Facts, owner: Owner, *, scope: Scope, now: datetime) -> None:
    move(session, row, State.ASSIGNED, product, scope=scope, now=now)
    row.owner_name = owner.name
    row.owner_email = owner.email
