"""The main job: draw license keys, sign the answer, store both, and only then hand the answer out.

Sign, then commit, then answer (decision 0002). The signature is made outside any transaction, so no lock is held
meanwhile; the keys, the batch and the signature are committed together; and nothing leaves before the commit.
"""

from dataclasses import dataclass
from datetime import datetime

from hanaper import log
from hanaper.access.authenticate import Caller
from hanaper.clock import Clock
from hanaper.issuing import store
from hanaper.issuing.custom import NoSuchFunction
from hanaper.issuing.draw import CannotDraw, Draw
from hanaper.issuing.formats import Recipe, format_of
from hanaper.issuing.generators import recipe_of
from hanaper.issuing.models import Batch
from hanaper.keystore import store as keys
from hanaper.licenses import store as licenses
from hanaper.licenses.rules import AVAILABLE, FROM_GENERATOR
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.signing.service import SignedAnswer, SigningService
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants.

    Attributes:
        generator: id or UUID.
        quantity: how many keys, 1 or more.
        activation_limit: instead of the generator's; None for the generator's.
        validity: days, instead of the generator's; None for the generator's.
    """

    generator: int | str
    quantity: int
    activation_limit: int | None = None
    validity: int | None = None


@dataclass(frozen=True, slots=True)
class Batched:
    """What came of an order: the signed answer, the batch it is recorded as, and the keys in it."""

    answer: SignedAnswer
    batch_id: int
    license_keys: list[str]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A generator as it stands at the moment of the order."""

    generator_id: int
    product_id: int
    product_key_id: int | None
    recipe: Recipe
    activation_limit: int
    validity: int


def generate(
    order: Order, caller: Caller, request_id: str, *, storage: Storage, signing: SigningService, clock: Clock
) -> Batched:
    """Issue license keys.

    This use case opens its own transactions: a collision has to roll one back and draw again.

    Raises:
        Refusal: 806 no such generator, 805 no such product, 902 the keys are not to be had. Nothing is stored.
        Unavailable: the database does not answer.
    """
    plan = storage.read(lambda session: _plan(session, order, caller))
    try:
        draw = Draw(format_of(plan.recipe), order.quantity)
        while True:
            license_keys = draw.keys
            answer = signing.answer(
                codes.GENERATED_LICENSE_KEYS, {"licenseKeys": license_keys}, product_key_id=plan.product_key_id
            )
            record = _Record(plan, caller, request_id, license_keys, answer, clock())
            try:
                batch_id = storage.write(record.store)
            except licenses.KeysCollide:
                taken = storage.read(lambda session: licenses.already_stored(session, draw.keys))
                if not taken:
                    raise  # Not a collision after all: some other constraint is violated, which is a bug.
                draw.replace(taken)
            else:
                return Batched(answer, batch_id, license_keys)
    except (CannotDraw, NoSuchFunction) as error:
        _logger.warning(
            "no license keys generated", generator_id=plan.generator_id, reason=str(error), where=log.where(error)
        )
        raise Refusal(codes.NO_LICENSE_KEYS_CREATED, product_key_id=plan.product_key_id) from error


@dataclass(frozen=True, slots=True)
class _Record:
    """What one batch leaves in the database."""

    plan: _Plan
    caller: Caller
    request_id: str
    license_keys: list[str]
    answer: SignedAnswer
    now: datetime

    def store(self, session: Session) -> int:
        batch = Batch(
            request_id=self.request_id,
            api_key_id=self.caller.api_key_id,
            product_id=self.plan.product_id,
            generator_id=self.plan.generator_id,
            quantity=len(self.license_keys),
            signing_key_id=self.answer.key_id,
            signed_at=self.answer.timestamp,
            signature=self.answer.signature,
            created_at=self.now,
        )
        store.add(session, batch)
        licenses.add(
            session,
            self.license_keys,
            {
                "product_id": self.plan.product_id,
                "generator_id": self.plan.generator_id,
                "batch_id": batch.id,
                "source": FROM_GENERATOR,
                "activation_limit": self.plan.activation_limit,
                "validity": self.plan.validity,
                "status": AVAILABLE,
                "created_at": self.now,
                "updated_at": self.now,
            },
        )
        return batch.id


def _plan(session: Session, order: Order, caller: Caller) -> _Plan:
    found = store.find(session, order.generator)
    # A generator of somebody else's product is answered like one that does not exist.
    if found is None or found[0].status != 1 or not caller.may_use(found[1].id):
        raise Refusal(codes.GENERATOR_NOT_FOUND_ASSIGN)
    generator, product = found
    if product.status != "active" or product.deleted_at is not None:
        raise Refusal(codes.PRODUCT_NOT_FOUND_ASSIGN)
    return _Plan(
        generator_id=generator.id,
        product_id=product.id,
        product_key_id=keys.active_id(session, product.id),
        recipe=recipe_of(generator),
        activation_limit=generator.activation_limit if order.activation_limit is None else order.activation_limit,
        validity=generator.validity if order.validity is None else order.validity,
    )
