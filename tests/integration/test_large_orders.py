"""Orders of more than a thousand license keys, on real databases: stored in pieces, there as a whole or not at all."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update
from tests.support.world import Counts, counts, execute

from hanaper.access.authenticate import OPERATOR
from hanaper.issuing import large_order, staging, store
from hanaper.issuing.draw import MOST_REDRAWS
from hanaper.issuing.generate import Batched, generate
from hanaper.issuing.large_order import KEYS_PER_PIECE, LargeOrders
from hanaper.issuing.models import Batch, Generator
from hanaper.issuing.plan import Order
from hanaper.licenses import store as licenses
from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.protocol import envelope, payload
from hanaper.refusal import Refusal, Unavailable
from hanaper.signing.answer import SignedAnswer
from hanaper.signing.verifier import Verifier
from hanaper.storage.configuration import ConfigurationChanged
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

NOTHING = Counts(0, 0)


@pytest.fixture
def services(shared: Services) -> Services:
    """Nothing has been issued yet."""
    for model in (LicenseKey, Batch, StagedBatch):
        execute(shared.storage, delete(model))
    return shared


class Scripted:
    """A key format that draws what it is told."""

    key_space = None

    def __init__(self, draw: Callable[[int], list[str]]) -> None:
        self.draw = draw


def numbered(prefix: str = "key") -> Callable[[int], list[str]]:
    numbers = iter(range(1_000_000))
    return lambda quantity: [f"{prefix}-{next(numbers)}" for _ in range(quantity)]


async def large(services: Services, quantity: int, *, days_later: int = 0) -> SignedAnswer:
    now = services.clock() + timedelta(days=days_later)
    orders = LargeOrders(services.storage, services.signing, lambda: now, asyncio.Semaphore(1))
    return await orders.issue(Order(1, quantity), OPERATOR, "request", await services.configuration.snapshot(anew=True))


async def small(services: Services) -> Batched:
    return await generate(
        Order(1, 1),
        OPERATOR,
        "request",
        await services.configuration.snapshot(anew=True),
        storage=services.storage,
        signing=services.signing,
        clock=services.clock,
    )


def keys_of(answer: SignedAnswer) -> list[str]:
    keys: list[str] = json.loads(answer.body)["response"]["licenseKeys"]
    return keys


def all_rows(services: Services) -> list[str]:
    """All license keys there are, staged ones too."""
    return list(services.storage.read(lambda session: session.scalars(select(LicenseKey.license_key)).all()))


def staged(services: Services) -> int:
    return len(services.storage.read(lambda session: session.scalars(select(StagedBatch)).all()))


@pytest.mark.parametrize("quantity", [1001, 2500])
def test_a_large_order_is_stored_and_signed_like_any_other(services: Services, quantity: int) -> None:
    answer = asyncio.run(large(services, quantity))
    received = envelope.decode(answer.body)
    row = services.storage.read(lambda session: session.scalars(select(Batch)).one())
    stored = services.storage.read(lambda session: licenses.of_batch(session, row.id, scope=EVERYTHING))
    assert stored == keys_of(answer)
    assert len(set(stored)) == quantity == row.quantity
    rebuilt: payload.Payload = {
        "code": 815,
        "message": "Generated license keys",
        "licenseKeys": stored,
        "timestamp": row.signed_at,
    }
    assert payload.encode(rebuilt) == received.payload_bytes
    assert row.signature == received.signature
    signer = services.keystore.keyring(services.storage).signer(row.signing_key_id)
    assert Verifier.from_pem(signer.public_pem.encode()).accepts_envelope(received)
    assert (answer.key_id, answer.kid, answer.http_status, answer.code) == (row.signing_key_id, signer.kid, 200, 815)
    assert staged(services) == 0
    assert services.storage.read(lambda session: licenses.count(session, scope=EVERYTHING)) == quantity
    assert services.storage.read(lambda session: store.issued(session, scope=EVERYTHING))[1].keys == quantity


def test_its_keys_are_there_for_nobody_before_all_of_them_are(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And others are served meanwhile."""
    original = staging.stage
    seen: list[tuple[int, int, int]] = []

    async def stage(storage: Storage, piece: staging.Piece) -> None:
        await original(storage, piece)
        batched = await small(services)
        listed = [
            key
            for page in storage.read(lambda session: list(licenses.pages(session, scope=EVERYTHING)))
            for key in page
        ]
        assert {row.license_key for row in listed} >= set(batched.license_keys)
        seen.append(
            (
                storage.read(lambda session: licenses.count(session, scope=EVERYTHING)),
                len(listed),
                len(all_rows(services)),
            )
        )

    monkeypatch.setattr(staging, "stage", stage)
    asyncio.run(large(services, 4 * KEYS_PER_PIECE))
    assert seen == [(number, number, number * (1 + KEYS_PER_PIECE)) for number in (1, 2, 3, 4)]
    assert services.storage.read(lambda session: licenses.count(session, scope=EVERYTHING)) == 4 + 4 * KEYS_PER_PIECE
    assert counts(services.storage).batches == 5


def test_a_large_order_may_have_terms_of_its_own(services: Services) -> None:
    async def ordered() -> None:
        orders = LargeOrders(services.storage, services.signing, services.clock, asyncio.Semaphore(1))
        snapshot = await services.configuration.snapshot(anew=True)
        await orders.issue(Order(1, 1001, activation_limit=7, validity=0), OPERATOR, "request", snapshot)

    asyncio.run(ordered())
    terms = select(LicenseKey.activation_limit, LicenseKey.validity).distinct()
    assert services.storage.read(lambda session: session.execute(terms).all()) == [(7, 0)]


def test_its_keys_are_stored_in_the_order_of_the_answer_whichever_connection_stores_them(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = staging.stage

    async def stage(storage: Storage, piece: staging.Piece) -> None:
        await original(storage, piece)
        # A new connection for the next piece: it would count in a block of its own.
        storage.engine.dispose()
        await asyncio.gather(*(asyncio.to_thread(storage.ping) for _ in range(4)))

    monkeypatch.setattr(staging, "stage", stage)
    answer = asyncio.run(large(services, 6 * KEYS_PER_PIECE))
    batch_id = services.storage.read(lambda session: session.scalars(select(Batch.id)).one())
    assert services.storage.read(lambda session: licenses.of_batch(session, batch_id, scope=EVERYTHING)) == keys_of(
        answer
    )


def test_a_key_that_is_stored_already_is_drawn_again(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = numbered()

    def drawn(quantity: int) -> list[str]:
        # Each piece begins with a key of the piece before it.
        return ["taken", *draw(quantity - 1)] if quantity == KEYS_PER_PIECE else draw(quantity)

    monkeypatch.setattr(large_order, "format_of", lambda _: Scripted(drawn))
    answer = asyncio.run(large(services, 1500))
    assert len(set(keys_of(answer))) == 1500
    assert sorted(all_rows(services)) == sorted(keys_of(answer))


@pytest.mark.parametrize("good_pieces", [0, 1, 5])
def test_keys_that_are_not_to_be_had_leave_nothing(
    services: Services, monkeypatch: pytest.MonkeyPatch, good_pieces: int
) -> None:
    draw, calls = numbered(), []

    def drawn(quantity: int) -> list[str]:
        calls.append(quantity)
        return draw(quantity) if len(calls) <= good_pieces else ["same"] * quantity

    monkeypatch.setattr(large_order, "format_of", lambda _: Scripted(drawn))
    with pytest.raises(Refusal) as caught:
        asyncio.run(large(services, 2000))
    assert caught.value.code.number == 902
    assert caught.value.product_key_id is not None
    assert len(calls) == good_pieces + 1 + MOST_REDRAWS
    assert (all_rows(services), staged(services), counts(services.storage)) == ([], 0, NOTHING)


def test_a_key_space_that_is_too_small_is_refused_before_anything_is_stored(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = Scripted(numbered())
    monkeypatch.setattr(form, "key_space", 1999, raising=False)
    monkeypatch.setattr(large_order, "format_of", lambda _: form)
    with pytest.raises(Refusal) as caught:
        asyncio.run(large(services, 2000))
    assert caught.value.code.number == 902
    assert (all_rows(services), staged(services)) == ([], 0)


@pytest.mark.parametrize("piece", [1, 3, 4])
def test_what_changes_while_it_is_stored_throws_it_away(
    services: Services, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    original = staging.stage
    stages: list[staging.Piece] = []

    async def stage(storage: Storage, staged_piece: staging.Piece) -> None:
        stages.append(staged_piece)
        await original(storage, staged_piece)
        if len(stages) == piece:
            change = update(Generator).where(Generator.id == 1).values(validity=Generator.validity)
            await asyncio.to_thread(execute, storage, change)

    monkeypatch.setattr(staging, "stage", stage)
    with pytest.raises(ConfigurationChanged):
        asyncio.run(large(services, 4 * KEYS_PER_PIECE))
    assert (all_rows(services), staged(services), counts(services.storage)) == ([], 0, NOTHING)


class PowerCut(BaseException):
    """Ends a process where it stands."""


def die_after(monkeypatch: pytest.MonkeyPatch, pieces: int) -> None:
    original = staging.stage
    stages: list[staging.Piece] = []

    async def stage(storage: Storage, piece: staging.Piece) -> None:
        if len(stages) == pieces:
            raise PowerCut
        stages.append(piece)
        await original(storage, piece)

    monkeypatch.setattr(staging, "stage", stage)


@pytest.mark.parametrize("pieces", [0, 3])
def test_what_a_dead_process_left_is_cleared_away_in_time(
    services: Services, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    with monkeypatch.context() as context:
        die_after(context, pieces)
        with pytest.raises(PowerCut):
            asyncio.run(large(services, 2000))
    assert (len(all_rows(services)), staged(services)) == (pieces * KEYS_PER_PIECE, 1)
    assert services.storage.read(lambda session: licenses.count(session, scope=EVERYTHING)) == 0
    asyncio.run(large(services, 1001))
    assert staged(services) == 1, "it might still be alive"
    answer = asyncio.run(large(services, 1001, days_later=1))
    assert staged(services) == 0
    assert len(all_rows(services)) == 2 * 1001
    assert set(keys_of(answer)) < set(all_rows(services))


def claim(storage: Storage, batch_id: int) -> None:
    """The first step of clearing away, before any key is gone."""
    execute(storage, update(StagedBatch).where(StagedBatch.batch_id == batch_id).values(abandoned=1))


@pytest.mark.parametrize("clear", [staging.discard, claim])
@pytest.mark.parametrize("after", [1, 4])
def test_who_was_taken_for_dead_cannot_finish(
    services: Services, monkeypatch: pytest.MonkeyPatch, after: int, clear: Callable[[Storage, int], None]
) -> None:
    """It was only slow. Some of its keys are gone, so it must not be told as done."""
    original = staging.stage
    stages: list[staging.Piece] = []

    async def stage(storage: Storage, piece: staging.Piece) -> None:
        await original(storage, piece)
        stages.append(piece)
        if len(stages) == after:
            await asyncio.to_thread(clear, storage, piece.batch_id)

    monkeypatch.setattr(staging, "stage", stage)
    with pytest.raises(Unavailable, match="stood still"):
        asyncio.run(large(services, 4 * KEYS_PER_PIECE))
    assert (all_rows(services), staged(services), counts(services.storage)) == ([], 0, NOTHING)


def test_a_batch_that_is_finished_cannot_be_cleared_away(services: Services) -> None:
    asyncio.run(large(services, 1001))
    batch_id = services.storage.read(lambda session: session.scalars(select(Batch.id)).one())
    staging.discard(services.storage, batch_id)
    assert services.storage.read(lambda session: licenses.count(session, scope=EVERYTHING)) == 1001


def test_ids_of_batches_are_never_given_out_twice(services: Services) -> None:
    first = services.storage.write(lambda session: staging.reserve(session, 1001, services.clock())).batch_id
    batched = asyncio.run(small(services))
    second = services.storage.write(lambda session: staging.reserve(session, 1001, services.clock())).batch_id
    assert len({first, batched.batch_id, second}) == 3
    staging.discard(services.storage, first)
    staging.discard(services.storage, second)
    assert asyncio.run(small(services)).batch_id not in {first, batched.batch_id, second}


def test_large_orders_take_turns(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    original, at_work = staging.stage, set()
    most = 0

    async def stage(storage: Storage, piece: staging.Piece) -> None:
        nonlocal most
        at_work.add(piece.batch_id)
        most = max(most, staged(services))
        await original(storage, piece)

    monkeypatch.setattr(staging, "stage", stage)

    async def several() -> Sequence[SignedAnswer]:
        orders = LargeOrders(services.storage, services.signing, services.clock, asyncio.Semaphore(1))
        snapshot = await services.configuration.snapshot(anew=True)
        return await asyncio.gather(*(orders.issue(Order(1, 1001), OPERATOR, "r", snapshot) for _ in range(3)))

    answers = asyncio.run(several())
    assert (most, len(at_work)) == (1, 3)
    assert len({key for answer in answers for key in keys_of(answer)}) == 3003


def test_a_signature_that_does_not_verify_leaves_nothing(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hanaper.signing.verifier.Verifier.accepts_digest", lambda *_: False)
    with pytest.raises(Exception, match="does not verify"):
        asyncio.run(large(services, 1001))
    assert (all_rows(services), staged(services), counts(services.storage)) == ([], 0, NOTHING)
