"""The main job: draw license keys, sign the answer, store both, and only then hand the answer out.

Sign, then commit, then answer (decision 0002). The signature is made outside any transaction, so no lock is held
meanwhile; the keys, the batch and the signature are committed together; and nothing leaves before the commit.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from hanaper import log
from hanaper.access.authenticate import Caller
from hanaper.audit.models import LONGEST_ADDRESS
from hanaper.clock import Clock
from hanaper.idempotency.store import Keyed
from hanaper.issuing import batch_store
from hanaper.issuing.cap_store import CapReached
from hanaper.issuing.custom import NoSuchFunction
from hanaper.issuing.draw import CannotDraw, Draw
from hanaper.issuing.formats import format_of
from hanaper.issuing.plan import Order, plan_for
from hanaper.licenses import store as licenses
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.signing.answer import SignedAnswer
from hanaper.signing.service import SigningService
from hanaper.storage.configuration import Snapshot
from hanaper.storage.transactions import Storage

_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Batched:
    """What came of an order: the signed answer, the batch it is recorded as, and the keys in it."""

    answer: SignedAnswer
    batch_id: int
    license_keys: list[str]


async def generate(
    order: Order,
    caller: Caller,
    request_id: str,
    snapshot: Snapshot,
    *,
    storage: Storage,
    signing: SigningService,
    clock: Clock,
    keyed: Keyed | None = None,
    address: str = "",
) -> Batched:
    """Issue license keys, all in one transaction. For more than a thousand see `large_order`.

    Drawing and signing are done where they stand, on the event loop: handing them to a thread costs more than it gains
    (decision 0008). Only waiting for the commit lets other requests go on.

    Args:
        keyed: the request under its idempotency key, if it has one: the answer is recorded with the batch.
        address: where the request comes from, for the audit log.

    Raises:
        Refusal: 806 no such generator, 805 no such product, 902 the keys are not to be had, or the cap is
            reached. Nothing is stored.
        ConfigurationChanged: begin again with a newer snapshot. Nothing is stored.
        Repeated: a twin of the request was carried out. Nothing is stored.
        Unavailable: the database does not answer.
    """
    plan = await plan_for(order, caller, snapshot)
    await signing.ready(plan.product_key_id)

    async def issue(draw: Draw) -> Batched:
        license_keys = draw.keys
        answer = await signing.answer_meanwhile(
            codes.GENERATED_LICENSE_KEYS, {"licenseKeys": license_keys}, product_key_id=plan.product_key_id
        )
        batch = batch_store.NewBatch(
            version=snapshot.version,
            scope=plan.scope,
            request_id=request_id,
            api_key_id=caller.api_key_id,
            product_id=plan.product_id,
            generator_id=plan.generator_id,
            quantity=order.quantity,
            signing_key_id=answer.key_id,
            signed_at=answer.timestamp,
            signature=answer.signature,
            payload=answer.payload,
            activation_limit=plan.activation_limit,
            validity=plan.validity,
            created_at=clock(),
            capped=plan.capped,
            keyed=keyed,
            body=None if keyed is None else answer.body,
            address=address[:LONGEST_ADDRESS],
        )
        return Batched(answer, await batch_store.keep(storage, batch), license_keys)

    try:
        draw = await plan.draw(Draw, format_of(plan.recipe), order.quantity)
        while not draw.is_searching:
            try:
                return await issue(draw)
            except licenses.KeysCollide:
                await plan.draw(draw.replace, await licenses.taken(storage, draw.keys))
        async with _search_turn():
            while True:
                draw.replace(await licenses.stored(storage, draw.suspects))
                with suppress(licenses.KeysCollide):
                    return await issue(draw)
    except (CannotDraw, NoSuchFunction, CapReached) as error:
        raise not_to_be_had(error, plan.generator_id, plan.product_key_id) from error


def not_to_be_had(error: Exception, generator_id: int, product_key_id: int | None) -> Refusal:
    """The refusal of an order whose keys cannot be made; the reason is for the log."""
    reason = "its cap is reached" if isinstance(error, CapReached) else str(error)
    _logger.warning("no license keys generated", generator_id=generator_id, reason=reason, where=log.where(error))
    return Refusal(codes.NO_LICENSE_KEYS_CREATED, product_key_id=product_key_id)


_search_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def _search_turn() -> asyncio.Lock:
    """Who looks through a small key space does so alone in his process: two would find the same keys left."""
    return _search_turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())
