"""Verifying a license key: the hot path of every licensed program (protocol.md 4.3).

One statement reads the license keys that are asked for at the same time, their activations and the version of the
configuration; products are remembered by that version. Nothing is locked and nothing written.
"""

from datetime import datetime
from functools import partial

from hanaper.access.authenticate import Caller
from hanaper.activation.outcome import Activated, Outcome
from hanaper.licenses import activation_store, rules
from hanaper.licenses.activation_store import Asked
from hanaper.licenses.check import expiry_counts
from hanaper.products import store as products
from hanaper.protocol import codes
from hanaper.settings import ExpiryRule
from hanaper.storage.configuration import ConfigurationChanged, Snapshot
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage


async def verify(
    license_key: str,
    identifier: str,
    *,
    caller: Caller,
    snapshot: Snapshot,
    storage: Storage,
    expiry: ExpiryRule,
    now: datetime,
) -> Outcome:
    """Check a license key on an identifier.

    Args:
        license_key: empty where none was named.
        identifier: empty where none was named.
        expiry: for whom the end of the validity counts.

    Returns:
        200, or the first check that failed.

    Raises:
        ConfigurationChanged: begin again with a newer snapshot.
        Unavailable: the database does not answer.
    """
    use = await storage.ask(activation_store.uses, Asked(license_key, identifier, caller.scope))
    if use.version != snapshot.version:
        raise ConfigurationChanged
    if use.license_key_id is None:
        return Outcome(codes.INVALID_LICENSE_KEY)
    product = await snapshot.get_within(caller.scope, ("product", use.product_id), partial(_load, use.product_id))
    if product is None:
        return Outcome(codes.INVALID_LICENSE_KEY)
    facts = rules.Facts(
        product_is_active=product.is_active,
        status=use.status,
        identifier=identifier,
        expired=expiry_counts(expiry, product) and rules.is_expired(use.assigned_at, use.validity, now),
        activated=use.activation_id is not None,
    )
    refusal = rules.refusal_of(facts)
    if refusal is not None:
        return Outcome(refusal, product.key_id)
    activation = None
    if use.activation_id is not None and use.activated_at is not None:
        activation = Activated(use.activation_id, identifier, use.activated_at)
    return Outcome(
        codes.VALID_LICENSE_KEY,
        product.key_id,
        expires_at=rules.expires_at(use.assigned_at, use.validity),
        activation=activation,
    )


def _load(product_id: int, session: Session, scope: Scope) -> products.Facts | None:
    return products.facts(session, product_id, scope=scope)
