"""Generating license keys inside a transaction, for what needs them together with something else."""

from dataclasses import dataclass
from datetime import datetime

from hanaper.access.authenticate import Caller
from hanaper.audit.record import about
from hanaper.issuing import cap_store, store
from hanaper.issuing.custom import NoSuchFunction
from hanaper.issuing.draw import CannotDraw, Draw
from hanaper.issuing.formats import format_of
from hanaper.issuing.generators import recipe_of
from hanaper.issuing.models import Generator
from hanaper.keystore import store as keys
from hanaper.licenses import rules
from hanaper.licenses import store as licenses
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session


class CannotMint(Exception):
    """The license keys are not to be had; the reason is for the log and names no key.

    Attributes:
        product_key_id: of the product whose they would have been.
    """

    def __init__(self, reason: str, product_key_id: int | None) -> None:
        super().__init__(reason)
        self.product_key_id = product_key_id


@dataclass(frozen=True, slots=True)
class Terms:
    """Instead of the generator's; None for the generator's."""

    activation_limit: int | None = None
    validity: int | None = None


def usable(session: Session, reference: int | str, caller: Caller) -> Generator | None:
    """An active generator of an active product that the caller may use; None where there is none."""
    found = store.find(session, reference, scope=caller.scope)
    if found is None:
        return None
    generator, product = found
    active = generator.status == 1 and product.status == "active" and product.deleted_at is None
    return generator if active else None


def mint(
    session: Session, generator: Generator, quantity: int, terms: Terms, *, scope: Scope, now: datetime
) -> list[int]:
    """Generate license keys and store them, status available.

    Returns:
        Their ids, in order.

    Raises:
        CannotMint: there are not that many different ones, the cap is reached, or the custom function failed.
        KeysCollide: somebody stored one of them at this moment; the transaction has to be rolled back, and may be
            repeated.
    """
    try:
        cap_store.count_on(session, generator.id, quantity, scope=scope)
        draw = Draw(format_of(recipe_of(generator)), quantity)
        while licenses.already_stored(session, draw.keys):
            draw.replace(licenses.already_stored(session, draw.suspects))
    except cap_store.CapReached as error:
        raise CannotMint("its cap is reached", keys.active_id(session, generator.product_id, scope=scope)) from error
    except (CannotDraw, NoSuchFunction) as error:
        raise CannotMint(str(error), keys.active_id(session, generator.product_id, scope=scope)) from error
    own = generator.activation_limit if terms.activation_limit is None else terms.activation_limit
    common: licenses.NewLicenseKeys = {
        "product_id": generator.product_id,
        "generator_id": generator.id,
        "batch_id": None,
        "source": rules.FROM_GENERATOR,
        "activation_limit": own,
        "validity": generator.validity if terms.validity is None else terms.validity,
        "status": rules.AVAILABLE,
        "created_at": now,
        "updated_at": now,
    }
    licenses.add(session, draw.keys, common, scope=scope)
    ids = licenses.ids(session, draw.keys, scope=scope)
    about(session, licenses=ids, generator=generator.id, product=generator.product_id)
    return ids
