"""Rules about license keys, on plain values: what one may look like, its states and moves (protocol.md 6)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hanaper.protocol import codes
from hanaper.protocol.codes import Code

LONGEST_KEY = 255
"""The WooCommerce plugin's column is varchar(255) (protocol.md 5.3)."""

MOST_ACTIVATIONS = 2_147_483_647
LONGEST_VALIDITY_DAYS = 1_000_000

FROM_GENERATOR = "generator"
MANUAL = "manual"
IMPORTED = "import"

AVAILABLE = "available"
ASSIGNED = "assigned"
RESERVED = "reserved"
BLOCKED = "blocked"
STATUSES = (AVAILABLE, ASSIGNED, RESERVED, BLOCKED)
"""The four words of the wire."""

ACTIVE = "active"
INACTIVE = "inactive"
"""Of an activation."""

SUSPENDED = "suspended"
REVOKED = "revoked"


class State(StrEnum):
    """The states of a license key. The first five are stored, the last two are derived (protocol.md 6.1)."""

    AVAILABLE = "available"
    RESERVED = "reserved"
    ASSIGNED = "assigned"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    ACTIVE = "active"
    EXPIRED = "expired"

    @property
    def stored(self) -> tuple[str, str | None]:
        """Status and reason of the block, as columns."""
        if self in (State.SUSPENDED, State.REVOKED):
            return BLOCKED, self.value
        return self.value, None


MOVES: dict[State, frozenset[State]] = {
    State.AVAILABLE: frozenset({State.RESERVED, State.ASSIGNED, State.SUSPENDED, State.REVOKED}),
    State.RESERVED: frozenset({State.AVAILABLE, State.ASSIGNED, State.SUSPENDED, State.REVOKED}),
    State.ASSIGNED: frozenset({State.AVAILABLE, State.RESERVED, State.SUSPENDED, State.REVOKED}),
    State.SUSPENDED: frozenset({State.AVAILABLE, State.RESERVED, State.ASSIGNED, State.REVOKED}),
    State.REVOKED: frozenset(),
}
"""From each stored state, where to. Staying is always allowed (protocol.md 6.2)."""

ASSIGNABLE = (AVAILABLE, RESERVED)
"""Statuses that a license key named by its text can be assigned from; reserved ones are never drawn at random."""

_WORDS = {
    AVAILABLE: State.AVAILABLE,
    RESERVED: State.RESERVED,
    ASSIGNED: State.ASSIGNED,
    BLOCKED: State.SUSPENDED,
    SUSPENDED: State.SUSPENDED,
    REVOKED: State.REVOKED,
}


def stored_state(status: str, block_reason: str | None) -> State:
    """The state that two columns mean."""
    if status == BLOCKED:
        return State.REVOKED if block_reason == REVOKED else State.SUSPENDED
    return State(status)


def named_state(word: str) -> State | None:
    """The state that a caller names: a status of the wire, or `suspended` or `revoked`. None: there is no such."""
    return _WORDS.get(word)


def shown_state(stored: State, *, activations: int, expired: bool) -> State:
    """The formal state, with what is derived.

    Args:
        activations: how many there are that are active.
        expired: whether the validity has ended.
    """
    if stored is not State.ASSIGNED:
        return stored
    if expired:
        return State.EXPIRED
    return State.ACTIVE if activations else State.ASSIGNED


def may_move(origin: State, target: State) -> bool:
    """Whether a license key may go from one stored state to another."""
    return target is origin or target in MOVES[origin]


def expires_at(assigned_at: datetime | None, validity: int) -> datetime | None:
    """When a license key expires; None for never (protocol.md 6.3)."""
    if assigned_at is None or validity == 0:
        return None
    try:
        return assigned_at + timedelta(days=validity)
    except OverflowError:
        return None  # After the year 9999.


def is_expired(assigned_at: datetime | None, validity: int, now: datetime) -> bool:
    """Whether the validity has ended. The last moment still counts."""
    end = expires_at(assigned_at, validity)
    return end is not None and now > end


def limit_reached(activation_limit: int, activations: int) -> bool:
    """Whether no further activation is to be had.

    Args:
        activation_limit: 0 is unlimited.
        activations: how many there are that are active.
    """
    return 0 < activation_limit <= activations


@dataclass(frozen=True, slots=True)
class Facts:
    """What the check of a license key is decided by.

    Attributes:
        product_is_active: whether there is a product, and an active one.
        status: of the wire.
        identifier: what it is used on; empty where none was named.
        expired: whether the validity has ended, and the end counts.
        activated: whether there is an active activation for the identifier.
    """

    product_is_active: bool
    status: str
    identifier: str
    expired: bool
    activated: bool


def refusal_of(facts: Facts, *, wants_identifier: bool = True, wants_activation: bool = True) -> Code | None:
    """The first check a license key that exists fails, in the order of protocol.md 4.3; None where it passes.

    Args:
        facts: about it.
        wants_identifier: whether one has to be named.
        wants_activation: whether an identifier that is named has to be activated.
    """
    checks = (
        (not facts.product_is_active, codes.PRODUCT_INACTIVE),
        (facts.status == BLOCKED, codes.LICENSE_BLOCKED),
        (facts.status != ASSIGNED, codes.LICENSE_NOT_ASSIGNED),
        (wants_identifier and not facts.identifier, codes.IDENTIFIER_REQUIRED),
        (facts.expired, codes.LICENSE_EXPIRED),
        (wants_activation and facts.identifier != "" and not facts.activated, codes.NO_ACTIVATION_FOUND),
    )
    return next((code for failed, code in checks if failed), None)


def license_key_fault(license_key: str) -> str | None:
    """What is wrong with a license key; None when it is fine."""
    # The API trims what it is asked for, so a key with blanks around it could never be found.
    if not 0 < len(license_key) <= LONGEST_KEY or not license_key.isprintable() or license_key != license_key.strip():
        return f"a license key has 1 to {LONGEST_KEY} printable characters, and no blanks around it"
    return None


def terms_fault(activation_limit: int, validity: int) -> str | None:
    """What is wrong with the terms of a license key; None when they are fine."""
    if not 0 <= activation_limit <= MOST_ACTIVATIONS:
        return f"an activation limit is 0 (unlimited) to {MOST_ACTIVATIONS:,}, not {activation_limit}"
    if not 0 <= validity <= LONGEST_VALIDITY_DAYS:
        return f"a validity is 0 (for ever) to {LONGEST_VALIDITY_DAYS:,} days, not {validity}"
    return None
