"""Entering one license key in the register by hand."""

from datetime import datetime

from hanaper.audit.record import about
from hanaper.licenses import rules, store
from hanaper.products import store as products
from hanaper.refusal import Invalid
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


def create(
    session: Session,
    license_key: str,
    product: int | str,
    *,
    scope: Scope,
    activation_limit: int,
    validity: int,
    now: datetime,
) -> None:
    """Store a license key that was made elsewhere, status available.

    Args:
        license_key: 1 to 255 printable characters.
        product: id, UUID or slug.
        activation_limit: 0 is unlimited.
        validity: days, 0 is for ever.

    Raises:
        Invalid: a value breaks a rule, there is no such product, or the key is stored already. The text does not
            repeat the key.
    """
    fault = rules.license_key_fault(license_key) or rules.terms_fault(activation_limit, validity)
    if fault is not None:
        raise Invalid(fault)
    found = products.find(session, product, scope=scope)
    if found is None:
        raise Invalid(f"there is no product {product!r}: see `hanaper product list`")
    common: store.NewLicenseKeys = {
        "product_id": found.id,
        "generator_id": None,
        "batch_id": None,
        "source": rules.MANUAL,
        "activation_limit": activation_limit,
        "validity": validity,
        "status": rules.AVAILABLE,
        "created_at": now,
        "updated_at": now,
    }
    about(session, product=found.id, license_key=license_key)
    try:
        store.add(session, [license_key], common, scope=scope)
    except store.KeysCollide as error:
        raise Invalid("this license key is stored already") from error
