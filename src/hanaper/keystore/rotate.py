"""Exchanging a signing key: pending, active, verify-only, destroyed (reliability.md 4.4).

    announce    a new key is there and its public half is published; nothing is signed with it yet
    activate    it signs from now on; the one before is kept to verify by
    destroy     the private half of a key that signs no more is deleted, and its public half published no more

Each step is one transaction, and draws a new version of the configuration: no answer whose transaction begins after it
is signed by the old key (decision 0007). A crash between steps leaves a key that signs.
"""

from datetime import datetime, timedelta

from hanaper.keystore import store
from hanaper.keystore.keys import Keystore, NewKey
from hanaper.keystore.models import SigningKey
from hanaper.refusal import Invalid
from hanaper.storage.session import Session

KEPT = timedelta(days=30)
"""How long a key that signs no more is kept, for operators who find that they need it once more."""


def announce(
    session: Session, pair: NewKey, *, product_id: int | None, keystore: Keystore, now: datetime
) -> SigningKey:
    """Store a key that will sign later.

    Args:
        session: of the transaction.
        pair: generated before the transaction began.
        product_id: whose key; None for the global one.
        keystore: encrypts the private half.
        now: the time of day.

    Raises:
        Invalid: there is one that waits already, or none to be followed.
    """
    had = store.of_owner(session, product_id)
    if not any(key.state == store.ACTIVE for key in had):
        raise Invalid(f"{owner_of(product_id)} has no signing key that a new one could follow")
    for key in had:
        if key.state == store.PENDING:
            raise Invalid(
                f"signing key {key.kid} of {owner_of(product_id)} waits already: activate it, or withdraw it with "
                f"`hanaper signing-key retire {key.kid}`"
            )
    version = max(key.version for key in had) + 1
    return keystore.add(session, pair, product_id=product_id, version=version, state=store.PENDING, now=now)


def activate(session: Session, kid: str, *, keystore: Keystore, now: datetime) -> SigningKey:
    """Let a key that waits sign, and the one before it no more.

    Raises:
        Invalid: there is no such key, or it does not wait.
        Misconfigured: it cannot be opened; nothing is changed.
        Unavailable: it is in a token that does not answer; nothing is changed.
    """
    named = _named(session, kid)
    keys = store.of_owner(session, named.product_id)
    if named.state != store.PENDING:
        raise Invalid(f"signing key {kid} is {shown(named.state)}: only a pending one can be activated")
    keystore.open(named)
    for key in keys:
        if key.state == store.ACTIVE:
            key.state, key.retired_at = store.VERIFY_ONLY, now
    # There is never more than one active key of an owner, not even for a moment.
    session.flush()
    named.state = store.ACTIVE
    session.flush()
    return named


def destroy(session: Session, kid: str, *, early: bool, now: datetime) -> SigningKey:
    """Delete the private half of a key, and publish its public half no more.

    The public half stays in the database, so that the record of what it signed can be checked. A key in a token is
    deleted there by the caller, once this is committed.

    Args:
        session: of the transaction.
        kid: names the key.
        early: also within the thirty days after it has signed last.
        now: the time of day.

    Raises:
        Invalid: there is no such key, it signs, or it is too early.
    """
    key = _named(session, kid)
    store.of_owner(session, key.product_id)
    if key.state == store.ACTIVE:
        raise Invalid(f"signing key {kid} signs: activate another one first, see `hanaper signing-key rotate`")
    if key.state == store.DESTROYED:
        raise Invalid(f"signing key {kid} is destroyed already")
    if key.retired_at is not None and not early and now < key.retired_at + KEPT:
        raise Invalid(
            f"signing key {kid} signed until {key.retired_at:%Y-%m-%d}: it can be destroyed from "
            f"{key.retired_at + KEPT:%Y-%m-%d} on, or at once with --early"
        )
    key.state, key.retired_at = store.DESTROYED, key.retired_at or now
    if key.token is None:
        key.private_ciphertext = b""
    session.flush()
    return key


def owner_of(product_id: int | None) -> str:
    """Whose key it is, for people."""
    return "the installation" if product_id is None else f"product {product_id}"


def shown(state: str) -> str:
    """A state, for people."""
    return state.replace("_", "-")


def _named(session: Session, kid: str) -> SigningKey:
    key = store.by_kid(session, kid)
    if key is None:
        raise Invalid(f"there is no signing key {kid!r}: see `hanaper signing-key list`")
    return key
