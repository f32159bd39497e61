"""License keys as the commands show them."""

from collections.abc import Sequence
from datetime import datetime

from hanaper.clock import iso_z
from hanaper.licenses import activation_store, rules
from hanaper.licenses.models import Activation, LicenseKey
from hanaper.licenses.rules import State
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session

FIELDS = (
    "id",
    "license_key",
    "product_id",
    "generator_id",
    "batch_id",
    "status",
    "owner_name",
    "owner_email",
    "activation_limit",
    "validity",
    "assigned_at",
    "source",
    "created_at",
    "updated_at",
)


def stored_row(key: LicenseKey) -> dict[str, object]:
    """What is stored of a license key."""
    row: dict[str, object] = {name: getattr(key, name) for name in FIELDS}
    for name in ("assigned_at", "created_at", "updated_at"):
        row[name] = moment(getattr(key, name))
    return row


def full_rows(session: Session, keys: Sequence[LicenseKey], *, now: datetime) -> list[dict[str, object]]:
    """The same with what follows from it: the formal state, how many activations are active, when it expires."""
    counts = activation_store.counts(session, [key.id for key in keys], scope=EVERYTHING)
    return [_full_row(key, counts.get(key.id, 0), now) for key in keys]


def full_row(session: Session, key: LicenseKey, *, now: datetime) -> dict[str, object]:
    """The same for one license key."""
    return _full_row(key, activation_store.count(session, key.id, scope=EVERYTHING), now)


def _full_row(key: LicenseKey, activations: int, now: datetime) -> dict[str, object]:
    return {
        **stored_row(key),
        "state": state(key, activations=activations, now=now).value,
        "activations": activations,
        "expires_at": moment(rules.expires_at(key.assigned_at, key.validity)),
    }


def state(key: LicenseKey, *, activations: int, now: datetime) -> State:
    """The formal state of a license key that has so many activations."""
    return rules.shown_state(
        rules.stored_state(key.status, key.block_reason),
        activations=activations,
        expired=rules.is_expired(key.assigned_at, key.validity, now),
    )


def activation_row(activation: Activation) -> dict[str, object]:
    """An activation."""
    return {
        "id": activation.id,
        "identifier": activation.identifier,
        "activated_at": moment(activation.activated_at),
        "ip": activation.ip,
        "user_agent": activation.user_agent,
        "post_url": activation.post_url,
    }


def moment(value: datetime | None) -> str | None:
    """A moment, or None for never."""
    return None if value is None else iso_z(value)
