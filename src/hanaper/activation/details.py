"""The details of a license key, for its user (protocol.md 4.3, code 500)."""

from datetime import datetime

from hanaper.access.authenticate import Caller
from hanaper.activation.outcome import Outcome
from hanaper.clock import plain
from hanaper.licenses import metadata_store, rules
from hanaper.licenses.check import check
from hanaper.licenses.models import LicenseKey
from hanaper.products import store as products
from hanaper.products.models import Product
from hanaper.products.show import metadata_of
from hanaper.protocol import codes
from hanaper.protocol.payload import JsonValue
from hanaper.settings import ExpiryRule
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


def details(
    session: Session, license_key: str, identifier: str, *, caller: Caller, expiry: ExpiryRule, now: datetime
) -> Outcome:
    """Look up a license key that is active on an identifier.

    Args:
        license_key: empty where none was named.
        identifier: empty where none was named.
        expiry: for whom the end of the validity counts.

    Returns:
        500 with `licenseKey` and `product`, or the check that failed.
    """
    checked = check(session, license_key, identifier, caller=caller, expiry=expiry, now=now, lock=False)
    if checked is None:
        return Outcome(codes.INVALID_LICENSE_KEY)
    if checked.refusal is not None:
        return Outcome(checked.refusal, checked.product.key_id)
    product = products.find(session, checked.product.id, scope=caller.scope)
    if product is None:  # Deleted since the check: PostgreSQL shows each statement what was committed before it.
        return Outcome(codes.INVALID_LICENSE_KEY)
    content = {
        "licenseKey": _license_key(session, checked.row, caller.scope),
        "product": _product(session, product, caller.scope),
    }
    return Outcome(codes.ACTIVE_LICENSE_FOUND, checked.product.key_id, content)


def _license_key(session: Session, row: LicenseKey, scope: Scope) -> dict[str, JsonValue]:
    end = rules.expires_at(row.assigned_at, row.validity)
    attached = metadata_store.listed(session, row.id, scope=scope)
    return {
        "id": row.id,
        "license_key": row.license_key,
        "owner_name": row.owner_name,
        "owner_email": row.owner_email,
        "activation_limit": row.activation_limit,
        "validity": row.validity,
        "assigned_at": None if row.assigned_at is None else plain(row.assigned_at),
        "meta_data": [{"key": meta.key, "value": meta.value} for meta in attached],
        # The reference says `false` for never (protocol.md 8, row 23).
        "expires_at": False if end is None else plain(end),
    }


def _product(session: Session, product: Product, scope: Scope) -> dict[str, JsonValue]:
    return {
        "id": product.id,
        "external_reference": product.external_reference,
        "source": product.source,
        "name": product.name,
        "post_url": product.post_url,
        "description": product.description,
        "meta_data": metadata_of(session, product.id, scope=scope),
    }
