"""Moving a license key from one state to another (protocol.md 6.2)."""

from datetime import datetime

from hanaper.licenses import activation_store, rules
from hanaper.licenses.models import LicenseKey
from hanaper.licenses.rules import State
from hanaper.outbound import store as outbound
from hanaper.products.store import Facts
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


class MoveForbidden(Exception):
    """There is no way from the one state to the other: what is revoked stays revoked."""


def move(session: Session, row: LicenseKey, target: State, product: Facts, *, scope: Scope, now: datetime) -> None:
    """Move a license key, which has to be locked. Staying where it is changes nothing.

    Assigning starts the validity, unless it had begun before a block. What becomes available or reserved again forgets
    its owner. Whatever cannot be used on a device any more ends its activations, save a suspension: that may end.

    Args:
        target: a stored state.

    Raises:
        MoveForbidden: the table of moves has no such move.
    """
    origin = rules.stored_state(row.status, row.block_reason)
    if not rules.may_move(origin, target):
        raise MoveForbidden
    if target is origin:
        return
    row.status, row.block_reason = target.stored
    row.updated_at = now
    if target is State.ASSIGNED:
        row.assigned_at = row.assigned_at or now
    elif target in (State.AVAILABLE, State.RESERVED) and row.assigned_at is not None:
        row.owner_name = row.owner_email = row.assigned_at = None
    if target not in (State.ASSIGNED, State.SUSPENDED):
        end_activations(session, row, product, scope=scope, now=now)


def end_activations(
    session: Session,
    row: LicenseKey,
    product: Facts,
    *,
    scope: Scope,
    now: datetime,
    identifier: str | None = None,
) -> int:
    """End activations of a license key from our side, and have each one told that named a `post_url`.

    Args:
        identifier: only the one of this; None: all.

    Returns:
        How many ended.
    """
    ended = 0
    for activation in activation_store.active(session, row.id, scope=scope):
        if identifier is not None and activation.identifier != identifier:
            continue
        activation.status = rules.INACTIVE
        activation.updated_at = now
        ended += 1
        url = activation.post_url or product.post_url
        if url:
            fields = {"license_key": row.license_key, "identifier": activation.identifier}
            outbound.queue(session, url, fields, now=now)
    return ended
