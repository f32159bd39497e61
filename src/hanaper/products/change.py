"""Changing and deleting a product, for its operator."""

from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from hanaper.products import rules, store
from hanaper.products.models import Product
from hanaper.refusal import Invalid
from hanaper.storage.session import Session
from hanaper.web.fields import LONGEST_URL, Url, storable

_URL: TypeAdapter[str] = TypeAdapter(Url)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to become of a product. None: stays as it is.

    Attributes:
        name: 1 to 255 printable characters.
        description: free text.
        status: `active` or `inactive`.
        require_non_expired: whether an expired license key fails verification.
        post_url: is told of activations that end from our side; empty for nobody.
    """

    name: str | None = None
    description: str | None = None
    status: str | None = None
    require_non_expired: bool | None = None
    post_url: str | None = None


def change(session: Session, product: int | str, changes: Changes, *, now: datetime) -> Product:
    """Change a product.

    Args:
        product: id, UUID or slug.
        changes: at least one.

    Raises:
        Invalid: there is no such product, nothing is to be changed, or a value breaks a rule.
    """
    if changes == Changes():
        raise Invalid("nothing was named that is to be changed")
    fault = _fault(changes)
    if fault is not None:
        raise Invalid(fault)
    row = _locked(session, product)
    for name in ("name", "description", "status", "post_url"):
        value = getattr(changes, name)
        if value is not None:
            setattr(row, name, value)
    if changes.require_non_expired is not None:
        row.require_non_expired = int(changes.require_non_expired)
    row.updated_at = now
    return row


def delete(session: Session, product: int | str, *, now: datetime) -> Product:
    """Delete a product. Its license keys and generators are gone with it; its slug stays taken.

    Raises:
        Invalid: there is no such product.
    """
    row = _locked(session, product)
    row.deleted_at = row.updated_at = now
    return row


def _locked(session: Session, product: int | str) -> Product:
    row = store.locked(session, product)
    if row is None:
        raise Invalid(f"there is no product {product!r}: see `hanaper product list`")
    return row


def _fault(changes: Changes) -> str | None:
    if changes.name is not None and (fault := rules.name_fault(changes.name)) is not None:
        return fault
    if changes.description is not None and not storable(changes.description):
        return "a description holds no NUL characters, and nothing that is not UTF-8"
    if changes.post_url and not _is_url(changes.post_url):
        return f"a post_url begins with http:// or https:// and has at most {LONGEST_URL:,} printable characters"
    return None


def _is_url(text: str) -> bool:
    try:
        _URL.validate_python(text)
    except ValidationError:
        return False
    return True
