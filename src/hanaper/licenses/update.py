"""Changing a license key (protocol.md 4.4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hanaper.access.authenticate import Caller
from hanaper.licenses import check, rules
from hanaper.licenses.attach import attach
from hanaper.licenses.models import LicenseKey
from hanaper.licenses.move import MoveForbidden, move
from hanaper.licenses.rules import State
from hanaper.products import store as products
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to become of a license key. None: stays as it is.

    Attributes:
        product: id, UUID or slug.
        activation_limit: 0 is unlimited. Fewer than there are activations ends none of them.
        validity: days, 0 is for ever. A longer one renews a license key that has expired.
        status: a status of the wire, or `suspended` or `revoked`.
        assigned_at: when the validity began.
        metadata: to be attached, or to replace what is attached, by name.
    """

    product: int | str | None = None
    activation_limit: int | None = None
    validity: int | None = None
    status: str | None = None
    owner_name: str | None = None
    owner_email: str | None = None
    assigned_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class NotFound(Exception):
    """There is no such license key, as far as the caller is concerned."""


class BadChange(Exception):
    """A change that is not possible.

    Attributes:
        field: the name of what is wrong, as on the wire.
    """

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def update(
    session: Session, license_key: str, changes: Changes, *, caller: Caller, now: datetime
) -> tuple[LicenseKey, products.Facts]:
    """Change a license key.

    Returns:
        The row, and the product it belongs to now.

    Raises:
        NotFound: there is no such license key.
        BadChange: no such product, or one that is not active where a license key is to be assigned; no such status, or
            no way there. Nothing is changed.
    """
    found = check.existing(session, license_key, caller)
    if found is None:
        raise NotFound
    row, product = found
    product = _other_product(session, row, changes.product, caller.scope) or product
    if changes.status is not None:
        _move(session, row, changes.status, product, scope=caller.scope, now=now)
    for name in ("activation_limit", "validity", "owner_name", "owner_email"):
        value = getattr(changes, name)
        if value is not None:
            setattr(row, name, value)
    if changes.assigned_at is not None and row.assigned_at is not None:
        row.assigned_at = changes.assigned_at
    for name, text in changes.metadata.items():
        attach(session, row, name, text, scope=caller.scope, now=now)
    row.updated_at = now
    return row, product


def _move(
    session: Session, row: LicenseKey, word: str, product: products.Facts, *, scope: Scope, now: datetime
) -> None:
    target = rules.named_state(word)
    if target is None:
        raise BadChange("status")
    if word == rules.BLOCKED and row.status == rules.BLOCKED:
        return  # A block that is asked for again does not lift a revocation.
    if target is State.ASSIGNED and row.status in rules.ASSIGNABLE and not product.is_active:
        raise BadChange("product_id")
    try:
        move(session, row, target, product, scope=scope, now=now)
    except MoveForbidden as error:
        raise BadChange("status") from error


def _other_product(
    session: Session, row: LicenseKey, reference: int | str | None, scope: Scope
) -> products.Facts | None:
    if reference is None:
        return None
    found = products.find(session, reference, scope=scope)
    facts = None if found is None else products.facts(session, found.id, scope=scope)
    if facts is None:
        raise BadChange("product_id")
    row.product_id = facts.id
    return facts
