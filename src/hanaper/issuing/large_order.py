"""Orders of more than a thousand license keys (decision 0009).

In one transaction they would keep every other writer waiting for seconds. Their keys are stored a few at a time, taken
but there for nobody, while others' requests go in between; one short transaction at the end records the signed batch
and makes all of them exist.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from hanaper.access.authenticate import Caller
from hanaper.audit.record import By, about, record
from hanaper.clock import Clock
from hanaper.idempotency.store import Keyed, Repeated, claim, complete, look_up
from hanaper.issuing import staging
from hanaper.issuing.batch_store import ACTION
from hanaper.issuing.cap_store import CapReached, cap_of, count_on
from hanaper.issuing.custom import NoSuchFunction
from hanaper.issuing.draw import CannotDraw, Draw
from hanaper.issuing.formats import format_of
from hanaper.issuing.generate import not_to_be_had
from hanaper.issuing.models import Batch
from hanaper.issuing.plan import Order, Plan, plan_for
from hanaper.licenses import store as licenses
from hanaper.licenses.key_formats import KeyFormat
from hanaper.protocol import codes
from hanaper.protocol.long_payload import LongPayload
from hanaper.protocol.payload import encode_items
from hanaper.refusal import Unavailable
from hanaper.signing.answer import SignedAnswer
from hanaper.signing.service import SigningService
from hanaper.storage.configuration import ConfigurationChanged, Snapshot
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

LARGEST_AT_ONCE = 1000
KEYS_PER_PIECE = 250
_CODE = codes.GENERATED_LICENSE_KEYS


@dataclass(frozen=True, slots=True)
class LargeOrders:
    """Issues large orders, one at a time in a process: what one of them holds in memory is enough."""

    storage: Storage
    signing: SigningService
    clock: Clock
    turn: asyncio.Semaphore

    async def issue(
        self,
        order: Order,
        caller: Caller,
        request_id: str,
        snapshot: Snapshot,
        keyed: Keyed | None = None,
        address: str = "",
    ) -> SignedAnswer:
        """Issue license keys.

        Args:
            keyed: the request under its idempotency key, if it has one.
            address: where the request comes from, for the audit log.

        Raises:
            Refusal: 806 no such generator, 805 no such product, 902 the keys are not to be had, or the cap is reached.
                Nothing is there.
            ConfigurationChanged: begin again with a newer snapshot. Nothing is there.
            Repeated: a twin of the request was carried out. Nothing is there.
            Unavailable: the database does not answer.
        """
        plan = await plan_for(order, caller, snapshot)
        await self.signing.ready(plan.product_key_id)
        async with self.turn:
            # A twin may have had the turn before.
            if keyed is not None and (await self.storage.ask(look_up, keyed.scope)).replay is not None:
                raise Repeated
            await self.clear()
            now = self.clock()
            reserved = await asyncio.to_thread(
                self.storage.write, lambda session: staging.reserve(session, order.quantity, now)
            )
            try:
                by = By(caller.api_key_id, address, request_id)
                return await self._issue(order, plan, by, snapshot, reserved, keyed)
            except Exception as error:
                # Where that does not work now, `clear` will do it. What is told is why the order failed.
                with suppress(Unavailable):
                    await asyncio.to_thread(staging.discard, self.storage, reserved.batch_id)
                if isinstance(error, CannotDraw | NoSuchFunction | CapReached):
                    raise not_to_be_had(error, plan.generator_id, plan.product_key_id) from error
                if isinstance(error, staging.Abandoned):
                    raise Unavailable("a large order stood still for so long that it was cleared away") from error
                raise

    async def clear(self) -> None:
        """Clear away what processes that died have left."""
        dead = await asyncio.to_thread(self.storage.read, lambda session: staging.abandoned(session, self.clock()))
        for batch_id in dead:
            await asyncio.to_thread(staging.discard, self.storage, batch_id)

    async def _issue(
        self,
        order: Order,
        plan: Plan,
        by: By,
        snapshot: Snapshot,
        reserved: staging.Reserved,
        keyed: Keyed | None,
    ) -> SignedAnswer:
        if plan.capped:
            await asyncio.to_thread(self.storage.read, lambda session: need_room(session, plan, order.quantity))
        form = format_of(plan.recipe)
        if form.key_space is not None and form.key_space < order.quantity:
            raise CannotDraw(f"{order.quantity} keys asked of a key space of {form.key_space}")
        payload = LongPayload({"code": _CODE.on_wire, "message": _CODE.message}, "licenseKeys")
        for start in range(0, order.quantity, KEYS_PER_PIECE):
            quantity = min(KEYS_PER_PIECE, order.quantity - start)
            ids = reserved.ids[start : start + quantity]
            part = staging.Reserved(reserved.batch_id, ids)
            payload.add(await self._stage(plan, form, quantity, part))
        answer = await asyncio.to_thread(self.signing.finish, _CODE, payload, product_key_id=plan.product_key_id)
        batch = Batch(
            id=reserved.batch_id,
            request_id=by.request_id,
            api_key_id=by.api_key_id,
            product_id=plan.product_id,
            generator_id=plan.generator_id,
            quantity=order.quantity,
            signing_key_id=answer.key_id,
            signed_at=answer.timestamp,
            signature=answer.signature,
            created_at=self.clock(),
        )

        def finish(session: Session) -> None:
            if keyed is not None:
                claim(session, keyed)
                complete(session, keyed, answer)
            if not staging.finish(session, batch, snapshot.version, scope=plan.scope):
                raise ConfigurationChanged
            if plan.capped:
                count_on(session, plan.generator_id, order.quantity, scope=plan.scope)
            about(session, generator=plan.generator_id, product=plan.product_id)
            record(session, ACTION, now=batch.created_at, by=by, code=_CODE.number, batch_id=batch.id)

        await asyncio.to_thread(self.storage.write, finish)
        return answer

    async def _stage(self, plan: Plan, form: KeyFormat, quantity: int, reserved: staging.Reserved) -> list[str]:
        draw = await plan.draw(Draw, form, quantity)
        while True:
            piece = staging.Piece(
                batch_id=reserved.batch_id,
                scope=plan.scope,
                product_id=plan.product_id,
                generator_id=plan.generator_id,
                activation_limit=plan.activation_limit,
                validity=plan.validity,
                array=b"[" + encode_items(draw.keys) + b"]",
                ids=reserved.ids,
                now=self.clock(),
            )
            try:
                await staging.stage(self.storage, piece)
            except licenses.KeysCollide:
                await plan.draw(draw.replace, await licenses.taken(self.storage, draw.suspects))
            else:
                return draw.keys


def need_room(session: Session, plan: Plan, quantity: int) -> None:
    """Look before thousands of license keys are stored for nothing. What counts is counted at the end.

    Raises:
        CapReached: there is no room for them under the generator's cap.
    """
    row = cap_of(session, plan.generator_id, scope=plan.scope)
    if row is not None and row.issued + quantity > row.cap:
        raise CapReached
