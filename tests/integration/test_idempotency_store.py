"""Idempotency records on real databases: who writes one has the request, everybody else finds it."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from secrets import token_bytes
from threading import Thread
from threading import enumerate as enumerate_threads
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, func, insert, literal_column, select, text
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs
from tests.integration.test_record import keep, new_batch, texts_of
from tests.support.world import counts, execute

from hanaper.idempotency import purge, store
from hanaper.idempotency.models import IdempotencyRecord
from hanaper.idempotency.purge import Purger
from hanaper.idempotency.store import Found, InFlight, Keyed, Repeated, Replay
from hanaper.issuing import batch_store
from hanaper.issuing.batch_store import NewBatch
from hanaper.issuing.models import Batch
from hanaper.licenses.models import LicenseKey
from hanaper.licenses.store import KeysCollide
from hanaper.protocol import codes
from hanaper.refusal import Unavailable
from hanaper.signing.answer import SignedAnswer
from hanaper.storage.configuration import ConfigurationChanged, current_version
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
only_postgresql = pytest.mark.parametrize("shared", ["postgresql"], indirect=True)


@pytest.fixture
def services(shared: Services) -> Services:
    """Nothing has been asked yet."""
    for model in (LicenseKey, Batch, IdempotencyRecord):
        execute(shared.storage, delete(model))
    return shared


@pytest.fixture
def storage(services: Services) -> Storage:
    return services.storage


def keyed(**columns: Any) -> Keyed:
    given = {"scope": token_bytes(32), "api_key_id": 1, "endpoint": "generate", "fingerprint": token_bytes(32)}
    return Keyed(**{**given, "request_id": uuid4().hex, **columns})


def signed(services: Services) -> SignedAnswer:
    return services.signing.answer(codes.LICENSE_KEY_ASSIGNED, {})


def carry_out(services: Services, asked: Keyed) -> SignedAnswer:
    answer = signed(services)

    def work(session: Session) -> None:
        store.claim(session, asked)
        store.complete(session, asked, answer)

    services.storage.write(work)
    return answer


def look_up(storage: Storage, *scopes: bytes) -> list[Found]:
    """In one group."""

    async def main() -> list[Found]:
        return await asyncio.gather(*(storage.ask(store.look_up, scope) for scope in scopes))

    return asyncio.run(main())


def replays(storage: Storage, *scopes: bytes) -> list[Replay | None]:
    return [found.replay for found in look_up(storage, *scopes)]


def records(storage: Storage) -> int:
    return storage.read(lambda session: session.scalars(select(func.count()).select_from(IdempotencyRecord)).one())


# --- one at a time ---


def test_what_was_carried_out_is_found_as_it_was_sent(services: Services) -> None:
    asked = keyed()
    answer = carry_out(services, asked)
    (found,) = look_up(services.storage, asked.scope)
    assert found.replay == Replay(asked.fingerprint, answer.body, answer.code, answer.kid)
    assert found.replay.http_status == 200
    assert found.version == services.storage.read(current_version)
    row = services.storage.read(lambda session: session.get(IdempotencyRecord, asked.scope))
    assert row is not None
    assert (row.api_key_id, row.endpoint, row.request_id) == (1, "generate", asked.request_id)
    assert (row.code, row.signing_key_id, row.body) == (800, answer.key_id, answer.body)


def test_many_are_looked_up_at_once_each_gets_its_own(services: Services) -> None:
    known = [keyed() for _ in range(5)]
    answers = {asked.scope: carry_out(services, asked).body for asked in known}
    unknown = [token_bytes(32) for _ in range(5)]
    scopes = [scope for asked, other in zip(known, unknown, strict=True) for scope in (asked.scope, other, asked.scope)]
    found = replays(services.storage, *scopes)
    assert [None if replay is None else replay.body for replay in found] == [answers.get(scope) for scope in scopes]
    for replay, scope in zip(found, scopes, strict=True):
        if replay is not None:
            assert replay.fingerprint == next(asked.fingerprint for asked in known if asked.scope == scope)


def test_twins_share_the_bytes_of_their_answer(services: Services) -> None:
    """There may be many of them, and the answer to a large order is megabytes."""
    asked = keyed()
    carry_out(services, asked)
    found = replays(services.storage, *[asked.scope] * 50)
    # The first may have been read before the others were there.
    assert len({id(replay.body) for replay in found if replay is not None}) <= 2


def test_bytes_of_any_kind_come_back(services: Services) -> None:
    asked = keyed(scope=bytes(32), fingerprint=bytes(range(224, 256)))
    answer = replace(signed(services), body=bytes(range(256)) * 4000)

    def work(session: Session) -> None:
        store.claim(session, asked)
        store.complete(session, asked, answer)

    services.storage.write(work)
    (replay,) = replays(services.storage, asked.scope)
    assert replay is not None
    assert (replay.body, replay.fingerprint) == (answer.body, asked.fingerprint)


def test_what_was_taken_back_is_not_found_and_can_be_asked_again(services: Services) -> None:
    asked = keyed()

    def work(session: Session) -> None:
        store.claim(session, asked)
        store.complete(session, asked, signed(services))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        services.storage.write(work)
    assert replays(services.storage, asked.scope) == [None]
    assert carry_out(services, asked).body


def test_what_was_carried_out_is_not_carried_out_again(services: Services) -> None:
    asked = keyed()
    answer = carry_out(services, asked)
    for twin in (asked, replace(asked, fingerprint=token_bytes(32), request_id="other")):
        with pytest.raises(Repeated):
            carry_out(services, twin)
    (replay,) = replays(services.storage, asked.scope)
    assert replay is not None
    assert (replay.body, replay.fingerprint) == (answer.body, asked.fingerprint)
    assert records(services.storage) == 1


@pytest.mark.parametrize(
    "columns", [{"scope": bytes(31)}, {"fingerprint": b""}, {"endpoint": ""}, {"request_id": ""}], ids=str
)
def test_a_record_that_says_nothing_is_not_stored(services: Services, columns: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        carry_out(services, keyed(**columns))
    assert records(services.storage) == 0


def test_the_moment_is_the_databases(services: Services) -> None:
    """Whatever this process takes for the time (reliability.md T22)."""
    expression = "strftime('%Y-%m-%d %H:%M:%f', 'now')" if dialect(services.storage) == "sqlite" else "now()::text"
    before = services.storage.read(lambda session: session.scalar(text(f"SELECT {expression}")))
    asked = keyed()
    carry_out(services, asked)
    keep(services.storage, under(services.storage, keyed(), "K"))
    moments = services.storage.read(lambda session: session.scalars(select(IdempotencyRecord.created_at)).all())
    assert len(moments) == 2
    for moment in moments:
        assert moment.tzinfo is UTC
        assert (
            timedelta(0) <= moment - datetime.fromisoformat(f"{before}"[:23]).replace(tzinfo=UTC) < timedelta(minutes=1)
        )
    raw = services.storage.read(
        lambda session: session.scalars(text("SELECT length(CAST(created_at AS TEXT)) FROM idempotency_records")).all()
    )
    if dialect(services.storage) == "sqlite":
        # As SQLAlchemy writes moments: as text they are compared, and sorted.
        assert raw == [len("2026-11-25 12:00:00.000000")] * 2


def dialect(storage: Storage) -> str:
    return storage.engine.dialect.name


# --- twins of one transaction ---


@contextmanager
def another(storage: Storage) -> Iterator[Session]:
    """A transaction of somebody else's. It is up to the test how it ends."""
    with storage.engine.connect() as connection, Session(connection) as session:
        yield session


@only_postgresql
@pytest.mark.parametrize("committed", [True, False])
def test_a_twin_is_waited_for(services: Services, committed: bool) -> None:  # noqa: FBT001 -- a parameter
    asked = keyed()
    with another(services.storage) as session, ThreadPoolExecutor(1) as threads:
        store.claim(session, asked)
        second = threads.submit(carry_out, services, replace(asked, request_id="second"))
        while not services.storage.read(lambda session: session.scalar(WAITING)):
            assert not second.done()
        if committed:
            store.complete(session, asked, signed(services))
            session.commit()
            with pytest.raises(Repeated):
                second.result()
        else:
            session.rollback()
            second.result()
    row = services.storage.read(lambda session: session.get(IdempotencyRecord, asked.scope))
    assert row is not None
    assert row.request_id == (asked.request_id if committed else "second")


@only_postgresql
def test_a_twin_is_not_waited_for_for_ever(services: Services) -> None:
    asked = keyed()
    with another(services.storage) as session:
        store.claim(session, asked)

        def work(session: Session) -> None:
            assert session.scalar(text("SHOW lock_timeout")) == "5s"
            session.execute(text("SET LOCAL lock_timeout = '50ms'"))
            store.claim(session, asked)

        with pytest.raises(InFlight):
            services.storage.write(work)
        session.rollback()
    carry_out(services, asked)


@only_postgresql
def test_only_a_twin_is_waited_for(services: Services) -> None:
    with another(services.storage) as session:
        store.claim(session, keyed())
        carry_out(services, keyed())
        keep(services.storage, under(services.storage, keyed(), "K"))
        session.rollback()


@only_postgresql
def test_a_lock_of_another_kind_is_no_twin(services: Services) -> None:
    with another(services.storage) as session:
        session.execute(text("LOCK TABLE idempotency_records IN ACCESS EXCLUSIVE MODE"))
        session.execute(text("SET LOCAL lock_timeout = '50ms'"))

        def work(mine: Session) -> None:
            mine.execute(text("SET LOCAL lock_timeout = '50ms'"))
            mine.execute(text("SELECT count(*) FROM idempotency_records"))

        with pytest.raises(Unavailable):
            services.storage.write(work)


# --- in groups ---


def under(storage: Storage, asked: Keyed | None, *license_keys: str, **columns: Any) -> NewBatch:
    """A batch that was ordered under a key."""
    request_id = uuid4().hex if asked is None else asked.request_id
    body = None if asked is None else b"body of " + request_id.encode()
    return new_batch(storage, license_keys, **{"request_id": request_id, "keyed": asked, "body": body, **columns})


def body_of(batch: NewBatch) -> bytes:
    assert batch.body is not None
    return batch.body


def test_batches_with_and_without_a_key_go_together(storage: Storage) -> None:
    asked = [keyed() if number % 3 else None for number in range(12)]
    batches = [under(storage, key, f"{number}-a", f"{number}-b") for number, key in enumerate(asked)]
    ids = keep(storage, *batches)
    assert all(type(each) is int for each in ids)
    for number, batch_id in enumerate(ids):
        assert texts_of(storage, batch_id) == [f"{number}-a", f"{number}-b"]
    scopes = [key.scope for key in asked if key is not None]
    found = replays(storage, *scopes)
    assert [replay and replay.body for replay in found] == [body_of(batch) for batch in batches if batch.keyed]
    assert records(storage) == len(scopes) == 8
    assert (counts(storage).batches, counts(storage).license_keys) == (12, 24)


def test_twins_in_a_group_are_carried_out_once(storage: Storage) -> None:
    first, second = keyed(), keyed()
    batches = [
        under(storage, None, "a"),
        *(under(storage, replace(first, request_id=f"1{number}"), f"b{number}") for number in range(5)),
        under(storage, None, "c"),
        *(under(storage, replace(second, request_id=f"2{number}"), f"d{number}") for number in range(5)),
    ]
    outcomes = keep(storage, *batches)
    assert [type(outcomes[0]), type(outcomes[6])] == [int, int]
    for twins, scope in ((range(1, 6), first.scope), (range(7, 12), second.scope)):
        (done,) = [number for number in twins if type(outcomes[number]) is int]
        assert [type(outcomes[number]) for number in twins if number != done] == [Repeated] * 4
        (replay,) = replays(storage, scope)
        assert replay is not None
        assert replay.body == batches[done].body
    assert (counts(storage).batches, counts(storage).license_keys, records(storage)) == (4, 4, 2)


def test_what_was_carried_out_before_stores_nothing(storage: Storage) -> None:
    asked = keyed()
    before = under(storage, asked, "before")
    keep(storage, before)
    outcomes = keep(
        storage,
        under(storage, None, "a"),
        under(storage, replace(asked, request_id="x"), "b", "a"),
        under(storage, keyed(), "c"),
    )
    # Its license keys are nobody's: they do not stand in the neighbours' way.
    assert [type(each) for each in outcomes] == [int, Repeated, int]
    (replay,) = replays(storage, asked.scope)
    assert replay is not None
    assert replay.body == before.body
    assert (counts(storage).batches, counts(storage).license_keys, records(storage)) == (3, 3, 2)


def test_by_old_terms_nothing_is_recorded(storage: Storage) -> None:
    stale, fresh = keyed(), keyed()
    version = storage.read(current_version)
    outcomes = keep(
        storage, under(storage, stale, "a", version=version - 1), under(storage, fresh, "b"), under(storage, None, "c")
    )
    assert [type(each) for each in outcomes] == [ConfigurationChanged, int, int]
    found = replays(storage, stale.scope, fresh.scope)
    assert [replay is None for replay in found] == [True, False]
    # Then by those that hold now.
    (outcome,) = keep(storage, under(storage, stale, "a"))
    assert type(outcome) is int


def test_of_twins_by_different_terms_the_one_by_those_that_hold_is_carried_out(storage: Storage) -> None:
    asked, version = keyed(), storage.read(current_version)
    twins = [
        under(storage, replace(asked, request_id=f"{number}"), f"{number}", version=version - (number != 1))
        for number in range(3)
    ]
    assert [type(each) for each in keep(storage, *twins)] == [ConfigurationChanged, int, ConfigurationChanged]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_where_license_keys_collide_nothing_is_recorded(storage: Storage, place: int) -> None:
    keep(storage, under(storage, None, "taken"))
    asked = [keyed() for _ in range(3)]
    keys = ["a", "b", "c"]
    keys[place] = "taken"
    outcomes = keep(storage, *(under(storage, key, name) for key, name in zip(asked, keys, strict=True)))
    assert [type(each) for each in outcomes] == [KeysCollide if number == place else int for number in range(3)]
    found = replays(storage, *(key.scope for key in asked))
    assert [replay is None for replay in found] == [number == place for number in range(3)]
    (outcome,) = keep(storage, under(storage, asked[place], "drawn again"))
    assert type(outcome) is int


@only_postgresql
def test_a_group_waits_for_a_twin_of_one_of_its_requests(services: Services) -> None:
    storage, asked = services.storage, keyed()
    with another(storage) as session, ThreadPoolExecutor(1) as threads:
        store.claim(session, asked)
        batches = [under(storage, replace(asked, request_id="x"), "a"), under(storage, None, "b")]
        kept = threads.submit(keep, storage, *batches)
        while not storage.read(lambda session: session.scalar(WAITING)):
            assert not kept.done()
        store.complete(session, asked, signed(services))
        session.commit()
        assert [type(each) for each in kept.result()] == [Repeated, int]
    assert (counts(storage).batches, records(storage)) == (1, 1)


def opposite(services: Services, rounds: int, size: int) -> list[list[Any]]:
    """Two processes whose groups hold the same keys in opposite order, at the same time; what came of each key."""
    outcomes: list[list[Any]] = []
    with Storage.open(services.settings) as other, ThreadPoolExecutor(2) as threads:
        for _ in range(rounds):
            asked = sorted((keyed() for _ in range(size)), key=lambda each: each.scope)

            def all_of(storage: Storage, keys: list[Keyed]) -> list[Any]:
                return keep(
                    storage, *(under(storage, replace(key, request_id=uuid4().hex), uuid4().hex) for key in keys)
                )

            # The same order as in the index, against the opposite one.
            first = threads.submit(all_of, services.storage, asked)
            second = threads.submit(all_of, other, asked[::-1])
            outcomes += [list(pair) for pair in zip(first.result(), second.result()[::-1], strict=True)]
    return outcomes


def test_groups_of_the_same_keys_in_opposite_order_do_not_block_each_other(services: Services) -> None:
    rounds, size = 12, 32
    outcomes = opposite(services, rounds, size)
    assert sorted({type(each).__name__ for pair in outcomes for each in pair}) == ["Repeated", "int"]
    assert all([type(each) for each in pair].count(int) == 1 for pair in outcomes)
    assert (counts(services.storage).batches, records(services.storage)) == (rounds * size, rounds * size)


def claimed_while_a_group_waits(services: Services) -> list[bool]:
    """A group meets a twin of the second of its three requests, by order of scope. Which of them has it claimed?"""
    storage = services.storage
    asked = sorted((keyed() for _ in range(3)), key=lambda each: each.scope)

    def is_claimed(one: Keyed) -> bool:
        with another(storage) as mine:
            mine.execute(text("SET LOCAL lock_timeout = '50ms'"))
            try:
                store.claim(mine, one)
            except InFlight:
                return True
            return False

    with another(storage) as session, ThreadPoolExecutor(1) as threads:
        store.claim(session, asked[1])
        kept = threads.submit(keep, storage, *(under(storage, key, uuid4().hex) for key in asked[::-1]))
        while not storage.read(lambda session: session.scalar(WAITING)):
            assert not kept.done()
        found = [is_claimed(one) for one in asked]
        session.rollback()
        assert [type(each) for each in kept.result()] == [int] * 3
    return found


@only_postgresql
def test_a_group_claims_its_keys_in_one_order(services: Services) -> None:
    """So of two groups neither has a key that the other has already passed."""
    assert claimed_while_a_group_waits(services) == [True, True, False]


@only_postgresql
def test_keys_claimed_in_the_order_of_the_requests_are_found(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: it would have two groups wait for each other."""
    ordered = batch_store._POSTGRESQL_UNDER_KEYS  # noqa: SLF001 -- where the fault goes
    assert ordered.count("ORDER BY scope") == 1
    monkeypatch.setattr(batch_store, "_POSTGRESQL_UNDER_KEYS", ordered.replace("ORDER BY scope", "ORDER BY place"))
    assert claimed_while_a_group_waits(services) == [False, True, True]


# --- purging ---


def aged(storage: Storage, number: int, days: float) -> list[bytes]:
    """Records that are so old, by the clock of the database; their scopes."""
    seconds = f"{-days * 86_400:+.0f} seconds"
    moment = {
        "sqlite": f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{seconds}')",
        "postgresql": f"now() + interval '{seconds}'",
    }[dialect(storage)]
    scopes = [token_bytes(32) for _ in range(number)]
    columns = {"api_key_id": 1, "endpoint": "generate", "fingerprint": bytes(32), "request_id": "r", "code": 815}
    rows = [{**columns, "scope": scope, "signing_key_id": 2, "body": b"{}"} for scope in scopes]
    aged = insert(IdempotencyRecord).values(created_at=literal_column(moment))
    storage.write(lambda session: session.execute(aged, rows))
    return scopes


@pytest.fixture
def purger(storage: Storage) -> Iterator[Callable[..., Purger]]:
    """Makes purgers that run until the end of the test."""
    made: list[Purger] = []

    def make(**options: float) -> Purger:
        made.append(Purger(storage, **options))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.stop()


def until(condition: Callable[[], bool]) -> None:
    ends = monotonic() + 60
    while not condition():
        assert monotonic() < ends, "it does not come about"
        sleep(0.01)


def test_what_is_older_than_seven_days_goes_and_the_rest_stays(storage: Storage) -> None:
    old = [*aged(storage, 3, 7.001), *aged(storage, 1, 8), *aged(storage, 1, 4000)]
    young = [*aged(storage, 2, 6.999), *aged(storage, 1, 1), *aged(storage, 1, 0), *aged(storage, 1, -300)]
    asked = keyed()
    keep(storage, under(storage, asked, "K"))
    assert storage.read(store.has_expired)
    assert Purger(storage).purge() == len(old)
    assert replays(storage, *old) == [None] * len(old)
    assert None not in replays(storage, *young, asked.scope)
    assert not storage.read(store.has_expired)
    assert Purger(storage).purge() == 0


def test_a_record_is_there_until_it_is_purged(storage: Storage) -> None:
    """Nobody is told something new by one process and something old by another."""
    (scope,) = aged(storage, 1, 7.5)
    assert replays(storage, scope) != [None]
    with pytest.raises(Repeated):
        storage.write(lambda session: store.claim(session, keyed(scope=scope)))
    Purger(storage).purge()
    storage.write(lambda session: store.claim(session, keyed(scope=scope)))


def test_many_go_a_few_at_a_time(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    aged(storage, 1203, 10)
    aged(storage, 4, 3)
    some: list[int] = []
    once = store.purge

    def counted(session: Session) -> int:
        some.append(once(session))
        return some[-1]

    monkeypatch.setattr(store, "purge", counted)
    assert Purger(storage).purge() == 1203
    assert some == [500, 500, 203]
    assert records(storage) == 4


def test_where_nothing_is_old_nothing_is_written(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    aged(storage, 3, 6)
    monkeypatch.setattr(store, "purge", lambda _: pytest.fail("a write costs a sync of the disk"))
    assert Purger(storage).purge() == 0


def test_two_processes_purge_together(services: Services) -> None:
    aged(services.storage, 1700, 10)
    aged(services.storage, 3, 3)
    with Storage.open(services.settings) as other, ThreadPoolExecutor(2) as threads:
        purged = list(threads.map(lambda storage: Purger(storage).purge(), (services.storage, other)))
    # One of them may have left it to the other.
    assert sum(purged) == 1700
    assert records(services.storage) == 3


@only_postgresql
def test_what_another_process_purges_is_left_to_it(services: Services) -> None:
    scopes = aged(services.storage, 2, 10)
    with another(services.storage) as session:
        mine = select(IdempotencyRecord.scope).where(IdempotencyRecord.scope == scopes[0]).with_for_update()
        assert session.scalar(mine) is not None
        assert Purger(services.storage).purge() == 1
        session.rollback()
    assert Purger(services.storage).purge() == 1


def test_requests_go_in_between_while_many_are_purged(storage: Storage, purger: Callable[..., Purger]) -> None:
    aged(storage, 3000, 10)
    purger(look_every_s=0.001)
    kept = [keep(storage, under(storage, keyed(), f"K{number}"))[0] for number in range(20)]
    assert all(type(each) is int for each in kept)
    until(lambda: records(storage) == 20)


def test_it_looks_again_and_again(storage: Storage, purger: Callable[..., Purger]) -> None:
    purger(look_every_s=0.01)
    for _ in range(3):
        aged(storage, 2, 10)
        until(lambda: records(storage) == 0)


def purging() -> set[Thread]:
    """Threads that purge, those of other servers in this process too."""
    return {thread for thread in enumerate_threads() if thread.name == "hanaper-purger"}


def test_a_stop_does_not_wait_for_all_that_is_old(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "PAUSE_S", 600.0)
    aged(storage, 1200, 10)
    before = purging()
    running = Purger(storage, look_every_s=0.001)
    running.start()
    until(lambda: records(storage) == 700)
    running.stop()
    assert records(storage) == 700
    assert purging() == before


def test_a_stop_does_not_wait_for_the_next_look(storage: Storage) -> None:
    before = purging()
    running = Purger(storage)
    running.start()
    running.stop()
    assert purging() == before


def test_it_goes_on_when_the_database_is_back(storage: Storage, purger: Callable[..., Purger]) -> None:
    aged(storage, 2, 10)
    with capture_logs() as logged:
        execute(storage, text("ALTER TABLE idempotency_records RENAME TO gone"))
        purger(look_every_s=0.01)
        until(lambda: len(logged) >= 2)
        execute(storage, text("ALTER TABLE gone RENAME TO idempotency_records"))
        until(lambda: records(storage) == 0)
        until(lambda: logged[-1]["event"] == "old idempotency records deleted")
    assert {entry["event"] for entry in logged[:2]} <= {
        "old idempotency records stay until the database answers",
        "old idempotency records stay",
    }
    assert logged[-1]["records"] == 2
