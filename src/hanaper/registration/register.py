"""Entering license keys that were made elsewhere (protocol.md 4.4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hanaper.audit.record import about
from hanaper.licenses import rules, store
from hanaper.licenses.rules import State
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


@dataclass(frozen=True, slots=True)
class Terms:
    """What all license keys of a request have in common.

    Attributes:
        activation_limit: 0 is unlimited.
        validity: days, 0 is for ever.
        state: a stored state.
        assigned_at: when the validity began; None for now. Only counts where the state is one of an owner.
    """

    activation_limit: int
    validity: int
    state: State
    owner_name: str | None = None
    owner_email: str | None = None
    assigned_at: datetime | None = None


def register(
    session: Session, license_keys: Sequence[str], product_id: int, terms: Terms, *, scope: Scope, now: datetime
) -> tuple[int, int]:
    """Store license keys.

    Args:
        license_keys: each fine by the rules; what is stored already, or comes twice, is passed over.

    Returns:
        How many were stored, and how many passed over.

    Raises:
        KeysCollide: somebody stored one of them at this moment; the transaction has to be rolled back, and may be
            repeated.
    """
    status, block_reason = terms.state.stored
    assigned_at = None
    if terms.state is State.ASSIGNED:
        assigned_at = terms.assigned_at or now
    elif status == rules.BLOCKED:
        assigned_at = terms.assigned_at
    # In one order for all: of two transactions that wait for each other's license keys PostgreSQL would end one.
    different = sorted(set(license_keys))
    taken = store.already_stored(session, different)
    rows: list[dict[str, object]] = [
        {
            "license_key": license_key,
            "source": rules.MANUAL,
            "owner_name": terms.owner_name,
            "owner_email": terms.owner_email,
            "activation_limit": terms.activation_limit,
            "validity": terms.validity,
            "assigned_at": assigned_at,
            "status": status,
            "block_reason": block_reason,
            "created_at": now,
            "updated_at": now,
        }
        for license_key in different
        if license_key not in taken
    ]
    if rows:
        store.add_rows(session, product_id, rows, scope=scope)
        new = [license_key for license_key in different if license_key not in taken]
        stored = store.ids(session, new, scope=scope)
        about(session, licenses=stored, product=product_id)
    return len(rows), len(license_keys) - len(rows)
