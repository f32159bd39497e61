"""Assigning license keys drawn from what is available, and generating what is missing (protocol.md 4.5).

Parallel calls never get the same license key: what one of them draws is locked, and the others pass it over. So several
that want many at once may each hold a part, and none get enough though there is enough for one: then they let go of it
and try again, and only what is really not there is a reason to refuse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hanaper import log
from hanaper.access.authenticate import Caller
from hanaper.assignment.assign import Owner
from hanaper.audit.record import about
from hanaper.issuing import store as generators
from hanaper.issuing.mint import CannotMint, Terms, mint, usable
from hanaper.issuing.models import Generator
from hanaper.licenses import store
from hanaper.licenses.models import LicenseKey
from hanaper.products import store as products
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session

_logger = log.get(__name__)


class Contended(Exception):
    """There are enough license keys, but others hold some of them; the transaction must be rolled back and repeated."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants.

    Attributes:
        product: id, UUID or slug.
        quantity: how many license keys.
        generate: whether what is missing is generated.
        generator: id or UUID; only its license keys are drawn, and what is missing is generated with it.
    """

    product: int | str
    quantity: int
    generate: bool = False
    generator: int | str | None = None


@dataclass(frozen=True, slots=True)
class Assigned:
    """What somebody got.

    Attributes:
        rows: in order of id.
        generated: how many of them there had not been before.
    """

    rows: Sequence[LicenseKey]
    generated: int


def random_assign(session: Session, wish: Wish, owner: Owner, *, caller: Caller, now: datetime) -> Assigned:
    """Assign license keys, as many as are wanted or none.

    Raises:
        Refusal: 805 no such product, 806 no such generator, 802 with `available_quantity`, 902 no new ones to be had.
        Contended: others hold what is missing; see there.
        KeysCollide: one that was generated is stored already, or one that was drawn is another's; the transaction must
            be rolled back, and may be repeated.
    """
    scope = caller.scope
    product = products.find(session, wish.product, scope=scope)
    if product is None or product.status != "active":
        raise Refusal(codes.PRODUCT_NOT_FOUND_ASSIGN)
    named = None if wish.generator is None else usable(session, wish.generator, caller)
    if wish.generator is not None and (named is None or named.product_id != product.id):
        raise Refusal(codes.GENERATOR_NOT_FOUND_ASSIGN)
    drawn = store.draw_available(
        session, product.id, wish.quantity, scope=scope, generator_id=None if named is None else named.id
    )
    missing = wish.quantity - len(drawn)
    if missing and not wish.generate and named is None:
        available = store.count_available(session, product.id, scope=scope)
        if available >= wish.quantity:
            raise Contended
        raise Refusal(codes.INSUFFICIENT_LICENSE_KEYS, {"available_quantity": available})
    ids = [row.id for row in drawn]
    if missing:
        generator = named or _first_active(session, product.id, scope)
        try:
            ids += mint(session, generator, missing, Terms(), scope=scope, now=now)
        except CannotMint as error:
            _logger.warning("no license keys generated", generator_id=generator.id, reason=str(error))
            raise Refusal(codes.NO_LICENSE_KEYS_CREATED, product_key_id=error.product_key_id) from error
    assigned = store.assign(session, ids, scope=scope, owner_name=owner.name, owner_email=owner.email, now=now)
    if assigned != len(ids):
        raise store.KeysCollide  # Somebody had one of them after all: never hand out what is another's.
    about(session, licenses=ids, product=product.id)
    return Assigned(store.rows(session, ids, scope=scope), missing)


def _first_active(session: Session, product_id: int, scope: Scope) -> Generator:
    for generator in generators.listed(session, scope=scope, product=product_id):
        if generator.status == 1:
            return generator
    raise Refusal(codes.GENERATOR_NOT_FOUND_ASSIGN)
