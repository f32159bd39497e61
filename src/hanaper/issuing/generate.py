"""The main job: draw license keys, sign the answer, store both, and only then hand the answer out.

Sign, then commit, then answer (decision 0002). The signature is made outside any transaction, so no lock is held
meanwhile; the keys, the batch and the signature are committed together; and nothing leaves before the commit.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hanaper import log
from hanaper.access.authenticate import Caller
from hanaper.clock import Clock
from hanaper.issuing import rules, store
from hanaper.issuing.custom import NoSuchFunction
from hanaper.issuing.draw import CannotDraw, Draw
from hanaper.issuing.formats import Recipe, format_of
from hanaper.issuing.generators import recipe_of
from hanaper.keystore import store as keys
from hanaper.licenses import store as licenses
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.signing.service import SignedAnswer, SigningService
from hanaper.storage.configuration import ConfigurationChanged, Snapshot
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

Result = TypeVar("Result")

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
    """A generator with its product, as they stand."""

    generator_id: int
    generator_is_active: bool
    product_id: int
    product_is_active: bool
    product_key_id: int | None
    recipe: Recipe
    activation_limit: int
    validity: int


async def generate(
    order: Order,
    caller: Caller,
    request_id: str,
    snapshot: Snapshot,
    *,
    storage: Storage,
    signing: SigningService,
    clock: Clock,
) -> Batched:
    """Issue license keys.

    Drawing and signing are done where they stand, on the event loop: handing them to a thread costs more than it gains
    (decision 0008). Only waiting for the commit lets other requests go on.

    Raises:
        Refusal: 806 no such generator, 805 no such product, 902 the keys are not to be had. Nothing is stored.
        ConfigurationChanged: begin again with a newer snapshot. Nothing is stored.
        Unavailable: the database does not answer.
    """
    plan = await snapshot.get(("generator", order.generator), lambda session: _load(session, order.generator))
    # A generator of somebody else's product is answered like one that does not exist.
    if plan is None or not plan.generator_is_active or not caller.may_use(plan.product_id):
        raise Refusal(codes.GENERATOR_NOT_FOUND_ASSIGN)
    if not plan.product_is_active:
        raise Refusal(codes.PRODUCT_NOT_FOUND_ASSIGN)
    if plan.product_key_id is not None and not signing.holds(plan.product_key_id):
        await asyncio.to_thread(signing.hold, plan.product_key_id)
    try:
        draw = await _here_or_in_a_thread(plan, Draw, format_of(plan.recipe), order.quantity)
        while True:
            license_keys = draw.keys
            answer = signing.answer(
                codes.GENERATED_LICENSE_KEYS, {"licenseKeys": license_keys}, product_key_id=plan.product_key_id
            )
            batch = store.NewBatch(
                version=snapshot.version,
                request_id=request_id,
                api_key_id=caller.api_key_id,
                product_id=plan.product_id,
                generator_id=plan.generator_id,
                quantity=order.quantity,
                signing_key_id=answer.key_id,
                signed_at=answer.timestamp,
                signature=answer.signature,
                payload=answer.payload,
                activation_limit=plan.activation_limit if order.activation_limit is None else order.activation_limit,
                validity=plan.validity if order.validity is None else order.validity,
                created_at=clock(),
            )
            try:
                batch_id = await store.keep(storage, batch)
            except licenses.KeysCollide:
                taken = await asyncio.to_thread(
                    storage.read, lambda session: licenses.already_stored(session, draw.keys)
                )
                if not taken:
                    raise  # Not a collision after all: some other constraint is violated, which is a bug.
                await _here_or_in_a_thread(plan, draw.replace, taken)
            else:
                if batch_id is None:
                    raise ConfigurationChanged
                return Batched(answer, batch_id, license_keys)
    except (CannotDraw, NoSuchFunction) as error:
        _logger.warning(
            "no license keys generated", generator_id=plan.generator_id, reason=str(error), where=log.where(error)
        )
        raise Refusal(codes.NO_LICENSE_KEYS_CREATED, product_key_id=plan.product_key_id) from error


async def _here_or_in_a_thread(plan: _Plan, work: Callable[..., Result], *arguments: object) -> Result:
    """Nobody knows how long a custom function takes; all others must not wait for it."""
    if plan.recipe.method == rules.CUSTOM:
        return await asyncio.to_thread(work, *arguments)
    return work(*arguments)


def _load(session: Session, reference: int | str) -> _Plan | None:
    found = store.find(session, reference)
    if found is None:
        return None
    generator, product = found
    return _Plan(
        generator_id=generator.id,
        generator_is_active=generator.status == 1,
        product_id=product.id,
        product_is_active=product.status == "active" and product.deleted_at is None,
        product_key_id=keys.active_id(session, product.id),
        recipe=recipe_of(generator),
        activation_limit=generator.activation_limit,
        validity=generator.validity,
    )
