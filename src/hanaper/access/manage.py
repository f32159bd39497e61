"""API keys as an operator manages them: made, imported, revoked; and the block list."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from hanaper.access import abilities as ability_rules
from hanaper.access import key_format, networks, store
from hanaper.access.models import ApiKey, BlockedEntry
from hanaper.refusal import Invalid
from hanaper.storage.session import Session

LONGEST_NAME = 100
LONGEST_BLOCKED = 255


@dataclass(frozen=True, slots=True)
class Terms:
    """What an API key may do.

    Attributes:
        name: for people, 1 to 100 characters.
        abilities: endpoint names, or "*".
        allowed_networks: addresses and networks it may be used from; empty for all.
        product_ids: products it is limited to; None for all.
        expires_at: when it ends; None for never.
    """

    name: str
    abilities: Sequence[str] = (ability_rules.EVERYTHING,)
    allowed_networks: Sequence[str] = ()
    product_ids: Sequence[int] | None = None
    expires_at: datetime | None = field(default=None)


def create(
    session: Session, kind: Literal["live", "test"], terms: Terms, *, pepper: bytes, now: datetime
) -> tuple[ApiKey, str]:
    """Make an API key.

    Returns:
        The row, and the key itself, which is nowhere kept: this is the only time it can be shown.

    Raises:
        Invalid: the terms break a rule.
    """
    key = key_format.new(kind)
    return _store(session, key, kind, terms, pepper=pepper, now=now), key


def import_key(session: Session, secret: str, terms: Terms, *, pepper: bytes, now: datetime) -> ApiKey:
    """Take over an API key of another system.

    Raises:
        Invalid: the key can be guessed, is the published sample, is there already, or the terms break a rule.
    """
    return _store(session, key_format.imported(secret), "imported", terms, pepper=pepper, now=now)


def add_sample(session: Session, terms: Terms, *, pepper: bytes, now: datetime) -> ApiKey:
    """Store the published sample key, for demo data only. Give it terms that can do no harm.

    Raises:
        Invalid: it is there already.
    """
    return _store(session, key_format.PUBLISHED_SAMPLE, "demo", terms, pepper=pepper, now=now)


def revoke(session: Session, api_key_id: int, *, now: datetime) -> ApiKey:
    """End an API key. It takes effect with the next request, on every replica.

    Raises:
        Invalid: there is no such key.
    """
    row = store.api_key(session, api_key_id)
    if row is None:
        raise Invalid(f"there is no API key {api_key_id}: see `hanaper api-key list`")
    row.status = "inactive"
    row.updated_at = now
    return row


def block(
    session: Session,
    kind: Literal["address", "identifier"],
    value: str,
    *,
    reason: str,
    expires_at: datetime | None,
    now: datetime,
) -> BlockedEntry:
    """Put an address, a network or an identifier on the block list.

    Raises:
        Invalid: not an address or network, too long, or there already.
    """
    value = str(networks.read_network(value)) if kind == "address" else value.strip()
    if not 0 < len(value) <= LONGEST_BLOCKED or not value.isprintable():
        raise Invalid(f"an identifier has 1 to {LONGEST_BLOCKED} printable characters")
    if len(reason) > LONGEST_BLOCKED or not (reason.isprintable() or not reason):
        raise Invalid(f"a reason has at most {LONGEST_BLOCKED} printable characters")
    row = BlockedEntry(kind=kind, value=value, reason=reason, expires_at=expires_at, created_at=now)
    try:
        store.add(session, row)
    except store.AlreadyThere as error:
        raise Invalid(f"{value!r} is on the block list already") from error
    return row


def _store(session: Session, key: str, kind: str, terms: Terms, *, pepper: bytes, now: datetime) -> ApiKey:
    if not 0 < len(terms.name) <= LONGEST_NAME or not terms.name.isprintable():
        raise Invalid(f"the name of an API key has 1 to {LONGEST_NAME} printable characters")
    if terms.expires_at is not None and terms.expires_at <= now:
        raise Invalid(f"the API key would have expired on {terms.expires_at:%Y-%m-%d %H:%M} UTC: name a later time")
    row = ApiKey(
        name=terms.name,
        kind=kind,
        digest=key_format.digest(pepper, key),
        hint=key_format.hint(key),
        status="active",
        expires_at=terms.expires_at,
        abilities=ability_rules.check(list(terms.abilities)),
        allowed_networks=[str(networks.read_network(network)) for network in terms.allowed_networks],
        product_ids=None if terms.product_ids is None else sorted(set(terms.product_ids)),
        created_at=now,
        updated_at=now,
    )
    try:
        store.add(session, row)
    except store.AlreadyThere as error:
        raise Invalid("this API key is stored already: see `hanaper api-key list`") from error
    return row
