"""Generating the license keys that the SDKs ask for one by one (protocol.md 4.4)."""

from collections.abc import Sequence
from datetime import datetime

from hanaper.access.authenticate import Caller
from hanaper.issuing.mint import Terms, mint, usable
from hanaper.licenses import store
from hanaper.licenses.models import LicenseKey
from hanaper.products import store as products
from hanaper.registration.schemas import WantedLicense
from hanaper.storage.session import Session


class BadElement(Exception):
    """An element that names no generator, or one of another product.

    Attributes:
        number: of the element, from 0.
        field: what is wrong.
    """

    def __init__(self, number: int, field: str) -> None:
        super().__init__(f"{number}: {field}")
        self.number = number
        self.field = field


def generate_each(
    session: Session, wanted: Sequence[WantedLicense], *, caller: Caller, now: datetime
) -> list[LicenseKey]:
    """Generate a license key for each element, assigned where the element names an owner.

    Returns:
        Their rows, in order of the elements.

    Raises:
        BadElement: there is no such generator, or it is of another product. Nothing is stored.
        CannotMint: the license keys are not to be had.
        KeysCollide: see `mint`.
    """
    scope = caller.scope
    alike: dict[WantedLicense, list[int]] = {}
    for number, element in enumerate(wanted):
        alike.setdefault(element, []).append(number)
    made: dict[int, LicenseKey] = {}
    for element, numbers in alike.items():
        generator = usable(session, element.generator_id, caller)
        if generator is None:
            raise BadElement(numbers[0], "generator_id")
        if element.product_id is not None:
            product = products.find(session, element.product_id, scope=scope)
            if product is None or product.id != generator.product_id:
                raise BadElement(numbers[0], "product_id")
        terms = Terms(element.activation_limit, element.validity)
        ids = mint(session, generator, len(numbers), terms, scope=scope, now=now)
        if element.owner_email is not None:
            owner = {"owner_name": element.owner_name, "owner_email": element.owner_email}
            store.assign(session, ids, scope=scope, **owner, now=now)
        made.update(zip(numbers, store.rows(session, ids, scope=scope), strict=True))
    return [made[number] for number in range(len(wanted))]
