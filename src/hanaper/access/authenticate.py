"""From a presented API key to a caller (protocol.md 2.2)."""

import hmac
from dataclasses import dataclass
from datetime import datetime

from hanaper.access import abilities, key_format, networks, store
from hanaper.access.networks import Address
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.storage.session import Session

_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking.

    Attributes:
        api_key_id: id of the API key; None for the command line, which may do everything.
        product_ids: the products it is limited to; None for all.
    """

    api_key_id: int | None
    product_ids: frozenset[int] | None

    def may_use(self, product_id: int) -> bool:
        """Whether the product exists as far as this caller is concerned."""
        return self.product_ids is None or product_id in self.product_ids


OPERATOR = Caller(api_key_id=None, product_ids=None)
"""The command line."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says of its sender.

    Attributes:
        api_key: as presented; None when there was none.
        address: where it comes from; None when that cannot be told.
        identifier: the domain or device the request speaks of, if any.
    """

    api_key: str | None
    address: Address | None
    identifier: str | None = None


def authenticate(session: Session, credentials: Credentials, *, endpoint: str, pepper: bytes, now: datetime) -> Caller:
    """Find the caller, and check that this endpoint is open to him.

    Order: block list (address), key, status and expiry, address allowlist, ability, block list (identifier).

    Raises:
        Refusal: 150, 100, 101, 103, 102.
    """
    if networks.contains(store.blocked_networks(session, now), credentials.address):
        raise Refusal(codes.ACCESS_DENIED)
    key = key_format.normal(credentials.api_key) if credentials.api_key else None
    digest = key_format.digest(pepper, key) if key is not None else None
    row = store.find_api_key(session, digest) if digest is not None else None
    matches = hmac.compare_digest(row.digest if row is not None else _NOBODY, digest or _NOBODY)
    if row is None or not matches or (key == key_format.PUBLISHED_SAMPLE and row.kind != "demo"):
        raise Refusal(codes.INVALID_API_KEY)
    if row.status != "active" or (row.expires_at is not None and row.expires_at <= now):
        raise Refusal(codes.INACTIVE_API_KEY)
    if row.allowed_networks and not networks.contains(row.allowed_networks, credentials.address):
        raise Refusal(codes.IP_NOT_ALLOWED)
    if not abilities.allows(row.abilities, endpoint):
        raise Refusal(codes.INSUFFICIENT_PERMISSIONS)
    if credentials.identifier and store.identifier_is_blocked(session, credentials.identifier, now):
        raise Refusal(codes.ACCESS_DENIED)
    return Caller(row.id, None if row.product_ids is None else frozenset(row.product_ids))
