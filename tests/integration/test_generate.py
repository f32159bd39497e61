"""The use case behind POST /generate on real databases: collisions, and what is recorded."""

import asyncio
import base64
import json
from dataclasses import dataclass, field

import pytest
from sqlalchemy import delete, select
from tests.support.world import counts, execute, nothing_stored

from hanaper.access.authenticate import OPERATOR, Caller
from hanaper.clock import utc_now
from hanaper.issuing import generate as use_case
from hanaper.issuing.draw import MOST_REDRAWS
from hanaper.issuing.generate import Batched, generate
from hanaper.issuing.models import Batch
from hanaper.issuing.plan import Order
from hanaper.licenses import store as licenses
from hanaper.licenses.models import LicenseKey
from hanaper.protocol import envelope, payload
from hanaper.refusal import Refusal
from hanaper.storage.scope import EVERYTHING, Scope
from hanaper.storage.session import Session
from hanaper.web.services import Services


@dataclass
class Scripted:
    """A key format that draws what it is told, and remembers what it was asked for."""

    script: list[list[str]]
    asked: list[int] = field(default_factory=list)
    key_space: int | None = None

    def draw(self, quantity: int) -> list[str]:
        self.asked.append(quantity)
        drawn = self.script[min(len(self.asked), len(self.script)) - 1]
        assert len(drawn) == quantity
        return drawn


@pytest.fixture
def services(shared: Services) -> Services:
    """Nothing has been issued yet."""
    for model in (LicenseKey, Batch):
        execute(shared.storage, delete(model))
    return shared


def store_by_hand(services: Services, *license_keys: str, deleted: bool = False) -> None:
    now = utc_now()
    common: licenses.NewLicenseKeys = {
        "product_id": 1,
        "generator_id": None,
        "batch_id": None,
        "source": "manual",
        "activation_limit": 0,
        "validity": 0,
        "status": "available",
        "created_at": now,
        "updated_at": now,
    }

    def work(session: Session) -> None:
        licenses.add(session, license_keys, common, scope=EVERYTHING)
        if deleted:
            for row in session.scalars(select(LicenseKey).where(LicenseKey.license_key.in_(license_keys))):
                row.deleted_at = now

    services.storage.write(work)


def order(services: Services, quantity: int, caller: Caller = OPERATOR) -> Batched:
    async def ordered() -> Batched:
        snapshot = await services.configuration.snapshot(anew=True)
        return await generate(
            Order(1, quantity),
            caller,
            "request-1",
            snapshot,
            storage=services.storage,
            signing=services.signing,
            clock=services.clock,
        )

    return asyncio.run(ordered())


def script(monkeypatch: pytest.MonkeyPatch, *draws: list[str]) -> Scripted:
    form = Scripted(list(draws))
    monkeypatch.setattr(use_case, "format_of", lambda _: form)
    return form


def stored_of(services: Services, batched: Batched) -> list[str]:
    query = select(LicenseKey.license_key).where(LicenseKey.batch_id == batched.batch_id).order_by(LicenseKey.id)
    return list(services.storage.read(lambda session: session.scalars(query).all()))


def answered(batched: Batched) -> list[str]:
    keys: list[str] = json.loads(batched.answer.body)["response"]["licenseKeys"]
    return keys


def test_a_key_that_is_stored_already_is_drawn_again(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    store_by_hand(services, "a", "b")
    form = script(monkeypatch, ["x", "a", "y", "b"], ["z", "a"], ["w"])
    before = counts(services.storage)
    batched = order(services, 4)
    assert form.asked == [4, 2, 1]
    assert batched.license_keys == answered(batched) == stored_of(services, batched)
    assert sorted(batched.license_keys) == ["w", "x", "y", "z"]
    after = counts(services.storage)
    assert (after.license_keys - before.license_keys, after.batches - before.batches) == (4, 1)
    received = envelope.decode(batched.answer.body)
    batch = services.storage.read(lambda session: session.get(Batch, batched.batch_id))
    assert batch is not None
    assert batch.signature == received.signature
    rebuilt = payload.encode(
        {
            "code": 815,
            "message": "Generated license keys",
            "licenseKeys": stored_of(services, batched),
            "timestamp": batch.signed_at,
        }
    )
    assert base64.b64encode(rebuilt) == received.response_base64


def test_a_key_that_was_deleted_stays_taken(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    store_by_hand(services, "a", deleted=True)
    script(monkeypatch, ["a"], ["b"])
    assert order(services, 1).license_keys == ["b"]


def test_keys_that_are_drawn_twice_in_one_batch_are_drawn_again(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = script(monkeypatch, ["a", "a", "b"], ["a"], ["c"])
    assert sorted(order(services, 3).license_keys) == ["a", "b", "c"]
    assert form.asked == [3, 1, 1]


def test_a_key_that_somebody_stores_at_this_moment_is_drawn_again(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the draw and the commit, which no look beforehand could see."""
    form = script(monkeypatch, ["a", "x"], ["y"])
    sign = services.signing.answer_meanwhile

    async def slow(*arguments: object, **more: object) -> object:
        if len(form.asked) == 1:
            store_by_hand(services, "a")
        return await sign(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(services.signing, "answer_meanwhile", slow)
    batched = order(services, 2)
    assert (
        sorted(batched.license_keys) == sorted(answered(batched)) == sorted(stored_of(services, batched)) == ["x", "y"]
    )


def test_after_eight_redraws_it_is_given_up(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    store_by_hand(services, "a")
    form = script(monkeypatch, ["a"])
    with nothing_stored(services.storage), pytest.raises(Refusal) as caught:
        order(services, 1)
    assert caught.value.code.number == 902
    assert caught.value.product_key_id is not None
    assert form.asked == [1] * (1 + MOST_REDRAWS)
    assert MOST_REDRAWS == 8


def test_the_eighth_redraw_may_still_succeed(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    store_by_hand(services, "a")
    form = script(monkeypatch, *[["a"]] * MOST_REDRAWS, ["b"])
    assert order(services, 1).license_keys == ["b"]
    assert len(form.asked) == 1 + MOST_REDRAWS


def test_redraws_are_counted_over_the_whole_batch(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = [f"taken-{number}" for number in range(MOST_REDRAWS + 1)]
    store_by_hand(services, *stored)
    form = script(monkeypatch, *[[key] for key in stored], ["free"])
    with nothing_stored(services.storage), pytest.raises(Refusal):
        order(services, 1)
    assert len(form.asked) == 1 + MOST_REDRAWS


def test_a_refused_batch_leaves_the_rest_of_it_free(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    store_by_hand(services, "a")
    script(monkeypatch, ["a", "b"], ["a"])
    with pytest.raises(Refusal):
        order(services, 2)
    script(monkeypatch, ["b", "c"])
    assert sorted(order(services, 2).license_keys) == ["b", "c"]


def test_a_violation_that_is_no_collision_is_a_bug_and_no_refusal(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would be redrawn without an end, or be told as 902."""
    form = script(monkeypatch, [""])
    with nothing_stored(services.storage), pytest.raises(licenses.KeysCollide):
        order(services, 1)
    assert form.asked == [1]


def test_many_keys_can_collide_at_once(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the databases take as parameters of one query."""
    taken = [f"taken-{number}" for number in range(2500)]
    store_by_hand(services, *taken)
    free = [f"free-{number}" for number in range(2500)]
    form = script(monkeypatch, taken + free, [f"new-{number}" for number in range(2500)])
    batched = order(services, 5000)
    assert form.asked == [5000, 2500]
    assert len(set(batched.license_keys)) == 5000
    assert set(batched.license_keys).isdisjoint(taken)
    assert stored_of(services, batched) == answered(batched)


@pytest.mark.parametrize("caller", [OPERATOR, Caller(1, EVERYTHING), Caller(1, Scope(frozenset({1})))])
def test_the_batch_names_who_asked(services: Services, caller: Caller) -> None:
    batched = order(services, 3, caller)
    batch = services.storage.read(lambda session: session.get(Batch, batched.batch_id))
    assert batch is not None
    assert (batch.api_key_id, batch.request_id, batch.quantity) == (caller.api_key_id, "request-1", 3)


def test_a_caller_finds_no_generator_of_products_that_are_not_his(services: Services) -> None:
    for caller in (Caller(1, Scope(frozenset())), Caller(1, Scope(frozenset({2, 3})))):
        with nothing_stored(services.storage), pytest.raises(Refusal) as caught:
            order(services, 1, caller)
        assert caught.value.code.number == 806
