"""From a presented API key to a caller (protocol.md 2.2)."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hanaper.access import abilities, key_format, networks, store
from hanaper.access.networks import Address, Network
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.storage.configuration import Snapshot
from hanaper.storage.scope import EVERYTHING, Scope
from hanaper.storage.session import Session

_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking.

    Attributes:
        api_key_id: id of the API key; None for the command line, which may do everything.
        scope: the products that exist as far as it is concerned.
    """

    api_key_id: int | None
    scope: Scope


OPERATOR = Caller(None, EVERYTHING)
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


@dataclass(frozen=True, slots=True)
class Presented:
    """An API key as it came.

    Attributes:
        key: in its normal form; None where there is none, or it cannot be one.
        digest: of it.
    """

    key: str | None
    digest: bytes


def presented(api_key: str | None, pepper: bytes) -> Presented:
    """Digest what came as an API key."""
    key = key_format.normal(api_key) if api_key else None
    return Presented(key, _NOBODY if key is None else key_format.digest(pepper, key))


@dataclass(frozen=True, slots=True)
class _ApiKey:
    """An API key, as requests need it."""

    digest: bytes
    kind: str
    status: str
    expires_at: datetime | None
    allowed_networks: tuple[Network, ...]
    abilities: frozenset[str]
    caller: Caller


@dataclass(frozen=True, slots=True)
class _Everybody:
    """Whom there is: the digests of all API keys, and the block list, each entry with its end, None for never."""

    digests: frozenset[bytes]
    networks: tuple[tuple[Network, datetime | None], ...]
    identifiers: Mapping[str, datetime | None]

    def blocks_address(self, address: Address | None, now: datetime) -> bool:
        return address is not None and any(
            address in network and (until is None or until > now) for network, until in self.networks
        )

    def blocks_identifier(self, identifier: str, now: datetime) -> bool:
        if identifier not in self.identifiers:
            return False
        until = self.identifiers[identifier]
        return until is None or until > now


async def is_known(snapshot: Snapshot, given: Presented) -> bool:
    """Whether there is an API key with this digest, whatever it may do. No look-up for a wrong one (decision 0022).

    Raises:
        ConfigurationChanged: begin again with a newer snapshot.
        Unavailable: the database does not answer.
    """
    return given.key is not None and given.digest in (await snapshot.get("everybody", _load_everybody)).digests


async def authenticate(
    snapshot: Snapshot, credentials: Credentials, given: Presented, *, endpoint: str, now: datetime
) -> Caller:
    """Find the caller, and check that this endpoint is open to him.

    Order: block list (address), key, status and expiry, address allowlist, ability, block list (identifier).

    Raises:
        Refusal: 150, 100, 101, 103, 102.
        ConfigurationChanged: begin again with a newer snapshot.
        Unavailable: the database does not answer.
    """
    everybody = await snapshot.get("everybody", _load_everybody)
    if everybody.blocks_address(credentials.address, now):
        raise Refusal(codes.ACCESS_DENIED)
    key, digest = given.key, given.digest
    known = key is not None and digest in everybody.digests
    found = await snapshot.get(("API key", digest), lambda session: _load(session, digest)) if known else None
    matches = hmac.compare_digest(found.digest if found is not None else _NOBODY, digest)
    if found is None or not matches or (key == key_format.PUBLISHED_SAMPLE and found.kind != "demo"):
        raise Refusal(codes.INVALID_API_KEY)
    if found.status != "active" or (found.expires_at is not None and found.expires_at <= now):
        raise Refusal(codes.INACTIVE_API_KEY)
    if found.allowed_networks and not networks.contains(found.allowed_networks, credentials.address):
        raise Refusal(codes.IP_NOT_ALLOWED)
    if not abilities.allows(found.abilities, endpoint):
        raise Refusal(codes.INSUFFICIENT_PERMISSIONS)
    if credentials.identifier and everybody.blocks_identifier(credentials.identifier, now):
        raise Refusal(codes.ACCESS_DENIED)
    return found.caller


def _load(session: Session, digest: bytes) -> _ApiKey | None:
    row = store.find_api_key(session, digest)
    if row is None:
        return None
    return _ApiKey(
        digest=row.digest,
        kind=row.kind,
        status=row.status,
        expires_at=row.expires_at,
        allowed_networks=tuple(networks.read_network(network) for network in row.allowed_networks),
        abilities=frozenset(row.abilities),
        caller=Caller(row.id, EVERYTHING if row.product_ids is None else Scope(frozenset(row.product_ids))),
    )


def _load_everybody(session: Session) -> _Everybody:
    rows = store.block_list(session)
    return _Everybody(
        digests=frozenset(store.digests(session)),
        networks=tuple((networks.read_network(row.value), row.expires_at) for row in rows if row.kind == "address"),
        identifiers={row.value: row.expires_at for row in rows if row.kind == "identifier"},
    )
