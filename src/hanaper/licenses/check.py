"""The check of a license key that verification, activation and metadata have in common (protocol.md 4.3)."""

from dataclasses import dataclass
from datetime import datetime

from hanaper.access.authenticate import Caller
from hanaper.audit.record import about
from hanaper.licenses import activation_store, rules, store
from hanaper.licenses.models import Activation, LicenseKey
from hanaper.products import store as products
from hanaper.protocol.codes import Code
from hanaper.settings import ExpiryRule
from hanaper.storage.session import Session


@dataclass(frozen=True, slots=True)
class Checked:
    """A license key that exists for the caller, and what came of its check.

    Attributes:
        refusal: the first check it failed; None where it passed.
        activation: of the identifier, also one that has ended.
    """

    refusal: Code | None
    row: LicenseKey
    product: products.Facts
    activation: Activation | None


def existing(
    session: Session, license_key: str | int, caller: Caller, *, lock: bool = True
) -> tuple[LicenseKey, products.Facts] | None:
    """A license key with its product; None where there is none as far as the caller is concerned.

    Args:
        license_key: its text, or (a number) its id.
        lock: keep others from changing it until the transaction ends.
    """
    look_up = store.locked if lock else store.find
    row = look_up(session, license_key, scope=caller.scope) if license_key else None
    product = None if row is None else products.facts(session, row.product_id, scope=caller.scope)
    if row is None or product is None:
        return None
    if lock:
        about(session, licenses=[row.id], license_key=row.license_key, product=row.product_id)
    return row, product


def check(
    session: Session,
    license_key: str,
    identifier: str,
    *,
    caller: Caller,
    expiry: ExpiryRule,
    now: datetime,
    wants_identifier: bool = True,
    wants_activation: bool = True,
    lock: bool = True,
) -> Checked | None:
    """Find and check a license key.

    Args:
        license_key: empty where none was named.
        identifier: empty where none was named.
        expiry: for whom the end of the validity counts.
        wants_identifier: whether one has to be named.
        wants_activation: whether an identifier that is named has to be activated.
        lock: keep others from changing it until the transaction ends.

    Returns:
        None where there is no such license key: 210.
    """
    found = existing(session, license_key, caller, lock=lock)
    if found is None:
        return None
    row, product = found
    activation = activation_store.find(session, row.id, identifier, scope=caller.scope) if identifier else None
    facts = rules.Facts(
        product_is_active=product.is_active,
        status=row.status,
        identifier=identifier,
        expired=expiry_counts(expiry, product) and rules.is_expired(row.assigned_at, row.validity, now),
        activated=activation is not None and activation.status == rules.ACTIVE,
    )
    refusal = rules.refusal_of(facts, wants_identifier=wants_identifier, wants_activation=wants_activation)
    return Checked(refusal, row, product, activation)


def expiry_counts(expiry: ExpiryRule, product: products.Facts) -> bool:
    """Whether the end of the validity is a reason to refuse (protocol.md 4.3, step 6)."""
    return expiry == "always" or (expiry == "product" and product.require_non_expired)
