"""Activating a license key on an identifier (protocol.md 4.3, 6.3)."""

from dataclasses import dataclass
from datetime import datetime

from hanaper.access.authenticate import Caller
from hanaper.activation.outcome import Outcome, of_row
from hanaper.licenses import activation_store, rules
from hanaper.licenses.check import Checked, check
from hanaper.licenses.models import Activation
from hanaper.protocol import codes
from hanaper.settings import ExpiryRule
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


@dataclass(frozen=True, slots=True)
class Place:
    """Where a license key is used.

    Attributes:
        identifier: a domain, a device; empty where none was named.
        post_url: is told when the activation ends from our side; empty for nobody.
        ip: of the request; empty where it cannot be told.
        user_agent: of the request.
    """

    identifier: str
    post_url: str = ""
    ip: str = ""
    user_agent: str = ""


def activate(
    session: Session, license_key: str, place: Place, *, caller: Caller, expiry: ExpiryRule, now: datetime
) -> Outcome:
    """Activate a license key. Its row is locked, so that parallel calls cannot overshoot the limit.

    Args:
        license_key: empty where none was named.
        expiry: for whom the end of the validity counts.

    Returns:
        300; 301 where it is active there already, and nothing changes; 302 at the limit; or the check that failed.
    """
    checked = check(
        session, license_key, place.identifier, caller=caller, expiry=expiry, now=now, wants_activation=False
    )
    if checked is None:
        return Outcome(codes.INVALID_LICENSE_KEY)
    if checked.refusal is not None:
        return of_row(checked.refusal, checked.product.key_id, checked.row)
    return activate_checked(session, checked, place, scope=caller.scope, now=now)


def activate_checked(session: Session, checked: Checked, place: Place, *, scope: Scope, now: datetime) -> Outcome:
    """The same for a license key that has passed its check, and is locked."""
    row, key_id, activation = checked.row, checked.product.key_id, checked.activation
    if activation is not None and activation.status == rules.ACTIVE:
        return of_row(codes.LICENSE_ALREADY_ACTIVE, key_id, row, activation)
    if rules.limit_reached(row.activation_limit, activation_store.count(session, row.id, scope=scope)):
        return of_row(codes.ACTIVATION_LIMIT_REACHED, key_id, row)
    if activation is None:
        activation = Activation(identifier=place.identifier, created_at=now)
    activation.status = rules.ACTIVE
    activation.post_url = place.post_url
    activation.ip = place.ip
    activation.user_agent = place.user_agent
    activation.activated_at = activation.updated_at = now
    activation_store.keep(session, activation, row, scope=scope)
    return of_row(codes.LICENSE_ACTIVATED, key_id, row, activation)
