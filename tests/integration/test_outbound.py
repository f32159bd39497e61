"""Delivering what is queued: when, how often, by whom; and what happens when something breaks meanwhile."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import structlog
from prometheus_client import CollectorRegistry
from psycopg import sql
from sqlalchemy import event, insert, select, update
from tests.conftest import SAMPLE_KEY, Installation, client_of
from tests.support.api import serving
from tests.support.metrics import figures_of
from tests.support.postgresql import PostgresqlServer
from tests.support.receiver import Handler, receiving, status

from hanaper.app import create_app, open_services
from hanaper.metrics.prometheus import PrometheusMeter
from hanaper.outbound import deliver, store
from hanaper.outbound.background import Background
from hanaper.outbound.deliver import LEASE, Delivered, Deliverer
from hanaper.outbound.models import OutgoingCall
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

START = datetime(2026, 11, 25, 12, tzinfo=UTC)
FIELDS = {"license_key": "AAAA-BBBB ÄÖ&=", "identifier": "shop.example"}
BODY = "license_key=AAAA-BBBB+%C3%84%C3%96%26%3D&identifier=shop.example"
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def deliverer(services: Services, clock: SetClock) -> Deliverer:
    return Deliverer(services.storage, clock, private_networks=True, longest_s=30)


def queue(storage: Storage, url: str, now: datetime = START) -> None:
    storage.write(lambda session: store.queue(session, url, FIELDS, now=now))


def rows(storage: Storage) -> list[OutgoingCall]:
    return storage.read(lambda session: list(session.scalars(select(OutgoingCall).order_by(OutgoingCall.id))))


def row(storage: Storage) -> tuple[str, int, str, datetime]:
    (only,) = rows(storage)
    return only.state, only.attempts, only.outcome, only.due_at


def test_a_call_is_made_once(services: Services, deliverer: Deliverer, clock: SetClock) -> None:
    with receiving() as receiver:
        queue(services.storage, receiver.url())
        clock.move(SECOND)
        assert deliverer.deliver_due() == Delivered(done=1)
        assert receiver.bodies() == [BODY]
        assert row(services.storage) == ("done", 1, "answered 204", START + SECOND)
        clock.move(timedelta(days=1))
        assert deliverer.deliver_due() == Delivered()
        assert receiver.bodies() == []


def test_a_call_that_fails_is_tried_five_times(services: Services, deliverer: Deliverer, clock: SetClock) -> None:
    with receiving(status(503)) as receiver:
        queue(services.storage, receiver.url())
        for attempt, minutes in enumerate((1, 5, 15, 60), 1):
            assert deliverer.deliver_due() == Delivered(again=1)
            assert row(services.storage) == ("waiting", attempt, "answered 503", clock.now + minutes * MINUTE)
            clock.move(minutes * MINUTE - SECOND)
            assert deliverer.deliver_due() == Delivered()
            clock.move(SECOND)
        assert deliverer.deliver_due() == Delivered(failed=1)
        assert row(services.storage) == ("failed", 5, "answered 503", clock.now)
        clock.move(timedelta(days=1))
        assert deliverer.deliver_due() == Delivered()
        assert receiver.bodies() == [BODY] * 5


def test_a_later_attempt_succeeds(services: Services, deliverer: Deliverer, clock: SetClock) -> None:
    with receiving(status(500)) as receiver:
        queue(services.storage, receiver.url())
        assert deliverer.deliver_due() == Delivered(again=1)
        receiver.answer = status(200)
        clock.move(MINUTE)
        assert deliverer.deliver_due() == Delivered(done=1)
        assert row(services.storage)[:3] == ("done", 2, "answered 200")


def test_what_becomes_of_calls_is_counted(services: Services, clock: SetClock) -> None:
    registry = CollectorRegistry()
    deliverer = Deliverer(services.storage, clock, private_networks=True, meter=PrometheusMeter(registry))
    with receiving(status(503)) as receiver:
        queue(services.storage, receiver.url())
        for _ in range(5):
            deliverer.deliver_due()
            clock.move(60 * MINUTE)
        receiver.answer = status(200)
        queue(services.storage, receiver.url(), clock.now)
        queue(services.storage, receiver.url(), clock.now)
        queue(services.storage, receiver.url(), clock.now + MINUTE)
        deliverer.deliver_due()
        deliverer.tell_waiting()
    figures = figures_of(registry)
    assert figures.by("hanaper_outgoing_calls_total", "outcome") == {("again",): 4, ("failed",): 1, ("done",): 2}
    assert figures["hanaper_outgoing_calls_waiting"] == 1


def test_a_private_address_is_a_failed_attempt(services: Services, clock: SetClock) -> None:
    with receiving() as receiver:
        queue(services.storage, receiver.url())
        assert Deliverer(services.storage, clock).deliver_due() == Delivered(again=1)
        assert row(services.storage)[:3] == ("waiting", 1, "refused: 127.0.0.1 is not a public address")
        assert receiver.bodies() == []


def test_a_slow_server_holds_up_its_own_calls_only(services: Services, clock: SetClock) -> None:
    fast_done = threading.Event()

    def slow(handler: Handler) -> None:
        # Were the calls made one after the other, nobody would ever be told.
        assert fast_done.wait(60)
        status(200)(handler)

    def fast(handler: Handler) -> None:
        status(200)(handler)
        fast_done.set()

    with receiving(slow) as one, receiving(fast) as other:
        queue(services.storage, one.url(), START - SECOND)
        queue(services.storage, other.url())
        deliverer = Deliverer(services.storage, clock, private_networks=True, longest_s=60)
        assert deliverer.deliver_due() == Delivered(done=2)


def test_several_deliverers_never_make_a_call_twice(installation: Installation, clock: SetClock) -> None:
    """Each with connections of its own, as the processes of a machine and replicas have them."""
    storages = [Storage.open(installation.settings) for _ in range(4)]

    def answer(handler: Handler) -> None:
        threading.Event().wait(0.01)
        status(204)(handler)

    with receiving(answer) as receiver:
        for number in range(60):
            queue(storages[0], receiver.url(f"/{number}"))
        deliverers = [Deliverer(storage, clock, private_networks=True, longest_s=60) for storage in storages]
        with ThreadPoolExecutor(len(deliverers)) as threads:
            done = sum(delivered.done for delivered in threads.map(Deliverer.deliver_due, deliverers))
        lines: Counter[str] = Counter()
        while not receiver.received.empty():
            lines[receiver.received.get().line] += 1
    assert lines == {f"POST /{number} HTTP/1.1": 1 for number in range(60)}
    assert done == 60
    assert {(call.state, call.attempts) for call in rows(storages[0])} == {("done", 1)}
    for storage in storages:
        storage.close()


def test_a_claimed_call_is_nobody_elses_until_its_lease_is_over(
    services: Services, deliverer: Deliverer, clock: SetClock
) -> None:
    """A process that dies between the claim and the record leaves a call that is made again."""
    with receiving() as receiver:
        queue(services.storage, receiver.url())
        claimed = services.storage.write(lambda session: store.claim(session, clock(), LEASE))
        assert claimed is not None
        assert "AAAA" not in repr(claimed)
        clock.move(LEASE - SECOND)
        assert deliverer.deliver_due() == Delivered()
        clock.move(SECOND)
        assert deliverer.deliver_due() == Delivered(done=1)
        assert row(services.storage)[:2] == ("done", 2)


@pytest.mark.parametrize("again_at", [START + 5 * MINUTE, None])
def test_a_failure_told_too_late_changes_nothing(
    services: Services, clock: SetClock, again_at: datetime | None
) -> None:
    queue(services.storage, "http://shop.example/")
    late = services.storage.write(lambda session: store.claim(session, clock(), LEASE))
    clock.move(LEASE)
    current = services.storage.write(lambda session: store.claim(session, clock(), LEASE))
    assert late is not None
    assert current is not None
    before = row(services.storage)

    def fail(session: object) -> bool:
        return store.record_failure(session, late, "late", again_at=again_at, now=clock())  # type: ignore[arg-type]

    assert not services.storage.write(fail)
    assert row(services.storage) == before
    services.storage.write(lambda session: store.record_done(session, late, "answered 200", now=clock()))
    assert row(services.storage)[0] == "done"
    assert not services.storage.write(
        lambda session: store.record_failure(session, current, "late", again_at=again_at, now=clock())
    )
    assert row(services.storage)[0] == "done"


def test_a_call_whose_last_attempt_was_cut_short_is_tried_once_more(services: Services, deliverer: Deliverer) -> None:
    with receiving(status(500)) as receiver:
        queue(services.storage, receiver.url())
        services.storage.write(lambda session: session.execute(update(OutgoingCall).values(attempts=5)))
        assert deliverer.deliver_due() == Delivered(failed=1)
        assert row(services.storage)[:2] == ("failed", 6)


def test_where_nothing_is_due_it_costs_one_query(
    services: Services, deliverer: Deliverer, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(services.storage, "http://shop.example/", clock.now + SECOND)
    monkeypatch.setattr(deliver, "Thread", None)
    statements: list[str] = []

    @event.listens_for(services.storage.engine, "before_cursor_execute")
    def _count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    assert deliverer.deliver_due() == Delivered()
    assert [statement for statement in statements if statement != "BEGIN"] == statements[-1:]
    assert statements[-1].startswith("SELECT outgoing_calls.id")


def test_nothing_of_the_license_key_is_logged(services: Services, deliverer: Deliverer, clock: SetClock) -> None:
    with structlog.testing.capture_logs() as logged, receiving(status(500)) as receiver:
        queue(services.storage, receiver.url("/path-secret?token=secret"))
        for _ in range(5):
            deliverer.deliver_due()
            clock.move(timedelta(hours=1))
        receiver.answer = status(200)
        queue(services.storage, receiver.url("/path-secret?token=secret"), clock.now)
        deliverer.deliver_due()
    assert Counter(line["event"] for line in logged) == {
        "a call failed, it will be made again": 4,
        "a call was given up": 1,
        "a call was made": 1,
    }
    assert "AAAA" not in str(logged)
    assert "secret" not in str(logged)


def test_what_ended_long_ago_is_purged_in_chunks(services: Services, deliverer: Deliverer, clock: SetClock) -> None:
    def old(state: str, due_at: datetime) -> dict[str, object]:
        moments = {"due_at": due_at, "created_at": START, "updated_at": START}
        return {"url": "http://shop.example/", "body": "", "state": state, "attempts": 1, "outcome": "", **moments}

    gone = [old("done", START), old("failed", START)] * store.PURGED_AT_ONCE
    kept = [old("waiting", START), old("done", START + SECOND), old("failed", START + SECOND)]
    services.storage.write(lambda session: session.execute(insert(OutgoingCall), gone + kept))
    clock.move(timedelta(days=30, milliseconds=500))
    assert deliverer.purge() == len(gone)
    assert [call.state for call in rows(services.storage)] == ["waiting", "done", "failed"]
    assert deliverer.purge() == 0


@pytest.fixture
def background(services: Services, clock: SetClock) -> Iterator[Callable[..., Background]]:
    """Makes what runs beside the server, and stops it."""
    # Servers of other tests may run in this process, with a thread of the same name.
    others = set(threading.enumerate())
    made = []

    def make(**options: Any) -> Background:
        deliverer = Deliverer(services.storage, clock, private_networks=True, **options)
        made.append(Background(deliverer, look_every_s=0.01))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()
    for thread in set(threading.enumerate()) - others:
        if thread.name in ("hanaper-call", "hanaper-deliverer"):
            thread.join(60)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not come to that")


@contextmanager
def away(storage: Storage, request: pytest.FixtureRequest) -> Iterator[None]:
    """Takes the database away and brings it back, however often somebody tries to connect meanwhile."""
    file = storage.database.file
    if file is not None:
        kept = file.rename(file.with_name("kept.db"))
        file.mkdir()
        yield
        file.rmdir()
        kept.rename(file)
        return
    name = storage.database.url.database
    assert name is not None
    server: PostgresqlServer = request.getfixturevalue("postgresql_server")
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


def test_it_goes_on_after_the_database_was_away(
    services: Services, background: Callable[..., Background], request: pytest.FixtureRequest
) -> None:
    with structlog.testing.capture_logs() as logged, receiving() as receiver:
        running = background()
        with away(services.storage, request):
            wait_until(lambda: bool(logged))
            threading.Event().wait(0.3)  # looks go on, and it is told once
        queue(services.storage, receiver.url())
        assert receiver.received.get(timeout=60).body == BODY
        wait_until(lambda: rows(services.storage)[0].state == "done")
        running.stop()
    assert [line["event"] for line in logged] == ["outgoing calls wait until this has passed", "a call was made"]


def test_it_goes_on_after_what_nobody_thought_of(services: Services) -> None:
    asked: list[int] = []

    def clock() -> datetime:
        asked.append(1)
        if len(asked) <= 3:
            raise ZeroDivisionError
        return START

    with structlog.testing.capture_logs() as logged, receiving() as receiver:
        queue(services.storage, receiver.url())
        running = Background(Deliverer(services.storage, clock, private_networks=True), look_every_s=0.01)
        running.start()
        assert receiver.received.get(timeout=60).body == BODY
        running.stop()
    assert [line["event"] for line in logged] == ["outgoing calls wait until this has passed", "a call was made"]


def test_the_stop_does_not_wait_for_a_slow_server(
    services: Services, background: Callable[..., Background], clock: SetClock
) -> None:
    arrived, released = threading.Event(), threading.Event()

    def held(handler: Handler) -> None:
        arrived.set()
        released.wait()
        status(204)(handler)

    with receiving(held) as receiver:
        queue(services.storage, receiver.url())
        # Longer than any test: if the stop waited, it would be seen.
        running = background(longest_s=3600)
        assert arrived.wait(60)
        running.stop()
        assert not released.is_set()
        released.set()
        for thread in threading.enumerate():
            if thread.name == "hanaper-call":
                thread.join(60)
        # Nobody recorded what came of it: by then the database may be closed.
        assert row(services.storage) == ("waiting", 1, "", clock.now + LEASE)


def test_the_stop_gives_a_call_a_moment_to_end(services: Services, background: Callable[..., Background]) -> None:
    arrived = threading.Event()

    def short(handler: Handler) -> None:
        arrived.set()
        threading.Event().wait(0.1)
        status(204)(handler)

    with receiving(short) as receiver:
        queue(services.storage, receiver.url())
        running = background(longest_s=60)
        assert arrived.wait(60)
        running.stop()
        assert row(services.storage)[:2] == ("done", 1)


def test_deleting_a_license_key_tells_who_asked_to_be_told(installation: Installation) -> None:
    settings = installation.settings.model_copy(update={"outbound_private_networks": True})
    services = open_services(settings)
    with receiving() as receiver, serving(create_app(services)) as base_url:
        api = client_of(base_url, installation.installed)

        def post(endpoint: str, **fields: object) -> dict[str, object]:
            answer = api.post(f"/api/v1/{endpoint}", {"api_key": SAMPLE_KEY, **fields})
            assert answer.status == 200
            return answer.payload

        keys = post("generate", generator_id=1, quantity=1)["licenseKeys"]
        assert isinstance(keys, list)
        key = keys[0]
        assert post("assign-license-key", license_key=key, email="a@example.com")["code"] == 800
        place = {"license_key": key, "identifier": "shop.example", "post_url": receiver.url("/ended?id=7")}
        assert post("activate", **place)["code"] == 300
        assert receiver.bodies() == []
        assert post("delete-license-key", license_key=key)["code"] == 850
        received = receiver.received.get(timeout=60)
        assert received.line == "POST /ended?id=7 HTTP/1.1"
        assert received.body == f"license_key={key}&identifier=shop.example"
        wait_until(lambda: rows(services.storage)[0].state == "done")
        api.http.close()
