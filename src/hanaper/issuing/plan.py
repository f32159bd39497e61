"""From an order to a plan: the generator as it stands, and whether this caller may use it now."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TypeVar

from hanaper.access.authenticate import Caller
from hanaper.issuing import cap_store, rules, store
from hanaper.issuing.formats import Recipe
from hanaper.issuing.generators import recipe_of
from hanaper.keystore import store as keys
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.storage.configuration import Snapshot
from hanaper.storage.patience import unhurried
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session

MOST_CUSTOM_AT_ONCE = 8

Result = TypeVar("Result")


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
class Plan:
    """A generator with its product, as they stand. The terms are the order's where it names its own.

    Attributes:
        scope: of who asked; what is made by this plan is made within it.
    """

    scope: Scope
    generator_id: int
    generator_is_active: bool
    product_id: int
    product_is_active: bool
    product_key_id: int | None
    recipe: Recipe
    activation_limit: int
    validity: int
    capped: bool

    async def draw(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Call what draws: where it stands, or in a thread where a custom function is called.

        Nobody knows how long that takes, and all others must not wait for it.
        """
        if self.recipe.method == rules.CUSTOM:
            with unhurried():
                return await asyncio.get_running_loop().run_in_executor(_custom_threads(), work, *arguments)
        return work(*arguments)


async def plan_for(order: Order, caller: Caller, snapshot: Snapshot) -> Plan:
    """The plan of an order.

    Raises:
        Refusal: 806 no such generator, 805 no such product.
        ConfigurationChanged: begin again with a newer snapshot.
        Unavailable: the database does not answer.
    """
    plan = await snapshot.get_within(caller.scope, ("generator", order.generator), partial(_load, order.generator))
    if plan is None or not plan.generator_is_active:
        raise Refusal(codes.GENERATOR_NOT_FOUND_ASSIGN)
    if not plan.product_is_active:
        raise Refusal(codes.PRODUCT_NOT_FOUND_ASSIGN)
    return replace(
        plan,
        scope=caller.scope,
        activation_limit=plan.activation_limit if order.activation_limit is None else order.activation_limit,
        validity=plan.validity if order.validity is None else order.validity,
    )


def _load(reference: int | str, session: Session, scope: Scope) -> Plan | None:
    found = store.find(session, reference, scope=scope)
    if found is None:
        return None
    generator, product = found
    return Plan(
        scope=scope,
        generator_id=generator.id,
        generator_is_active=generator.status == 1,
        product_id=product.id,
        product_is_active=product.status == "active" and product.deleted_at is None,
        product_key_id=keys.active_id(session, product.id, scope=scope),
        recipe=recipe_of(generator),
        activation_limit=generator.activation_limit,
        validity=generator.validity,
        capped=cap_store.cap_of(session, generator.id, scope=scope) is not None,
    )


@cache
def _custom_threads() -> ThreadPoolExecutor:
    """Threads of their own: functions that hang must not keep others from the database."""
    return ThreadPoolExecutor(MOST_CUSTOM_AT_ONCE, thread_name_prefix="hanaper-custom")
