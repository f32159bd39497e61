"""Many who want the same license key at the same moment, from two serving processes (protocol.md 6.3).

The processes are stopped while the requests arrive, so that all of them are there when the work begins.
"""

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import delete, select, text
from tests.e2e.conftest import client
from tests.support.api import Answer, Api
from tests.support.postgresql import PostgresqlServer
from tests.support.processes import ForkServer, Hanaper, Server, clean_environment
from tests.support.raw import connected, receive

from hanaper.licenses.models import Activation, LicenseKey, LicenseKeyMeta
from hanaper.products.models import ProductMeta
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
WORKERS = 2


@dataclass(frozen=True)
class Crowd:
    """A running server with two processes, and what is stored behind it."""

    server: Server
    api: Api
    storage: Storage

    def post(self, endpoint: str, /, **fields: object) -> Answer:
        (answer,) = self.at_once([(endpoint, fields)])
        return answer

    def at_once(self, calls: Sequence[tuple[str, dict[str, object]]]) -> list[Answer]:
        """Send requests that all arrive before the first one is begun; each answer is checked, and has status 200."""
        url = self.server.url
        with ExitStack() as stack:
            for pid in self.server.workers:
                os.kill(pid, signal.SIGSTOP)
            try:
                connections = [stack.enter_context(connected(url)) for _ in calls]
                for connection, (endpoint, fields) in zip(connections, calls, strict=True):
                    connection.sendall(request(endpoint, fields))
            finally:
                for pid in self.server.workers:
                    os.kill(pid, signal.SIGCONT)
            answers = [self.api.check(receive(connection, "POST")) for connection in connections]
        assert Counter(answer.status for answer in answers) == {200: len(calls)}, [
            answer.payload for answer in answers if answer.status != 200
        ]
        return answers

    def register(self, *license_keys: str, status: str = "assigned", limit: int = 0) -> None:
        answer = self.post("create-license-keys", **registered(license_keys, status=status, limit=limit))
        assert (answer.code, answer.payload["created"]) == (900, len(license_keys))

    def license_keys(self) -> dict[str, LicenseKey]:
        """All that are stored, by their text."""
        rows = self.storage.read(lambda session: session.scalars(select(LicenseKey)).all())
        assert len({row.license_key for row in rows}) == len(rows)
        return {row.license_key: row for row in rows}

    def activations(self, *, status: str = "active") -> list[str]:
        """Identifiers of the activations that are stored."""
        query = select(Activation.identifier).where(Activation.status == status)
        return sorted(self.storage.read(lambda session: session.scalars(query).all()))


def request(endpoint: str, fields: dict[str, object]) -> bytes:
    body = urlencode({"api_key": SAMPLE_KEY, **fields}).encode()
    return (
        b"POST /api/v1/%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (endpoint.encode(), len(body), body)
    )


def registered(license_keys: Sequence[str], *, status: str = "available", limit: int = 0) -> dict[str, object]:
    """The fields that register license keys."""
    return {
        "license_keys": json.dumps(license_keys),
        "product_id": 1,
        "activation_limit": limit,
        "validity": 0,
        "status": status,
    }


def codes(answers: Sequence[Answer]) -> Counter[int | str]:
    return Counter(answer.code for answer in answers)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared(
    request: pytest.FixtureRequest, forks: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crowd]:
    """One server for all tests on a database."""
    folder = tmp_path_factory.mktemp("crowd")
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("made_with_demo").folder
        environment = {}
    else:
        postgresql: PostgresqlServer = request.getfixturevalue("postgresql_server")
        name, template = request.getfixturevalue("postgresql_template")
        environment = {"HANAPER_DATABASE_URL": postgresql.url(postgresql.create_database(name))}
    shutil.copytree(template, folder / "data")
    environment["HANAPER_DATA_DIR"] = str(folder / "data")
    hanaper = Hanaper(forks, folder, clean_environment(**environment))
    with (
        hanaper.serving("--workers", str(WORKERS)) as server,
        client(server.url, hanaper) as api,
        Storage.open(hanaper.settings) as storage,
    ):
        server.wait_for("Application startup complete.", times=WORKERS)
        yield Crowd(server, api, storage)
        assert server.stop() == 0


@pytest.fixture
def crowd(shared: Crowd) -> Crowd:
    """Nothing has been registered yet."""

    def empty(session: Session) -> None:
        for model in (Activation, LicenseKeyMeta, LicenseKey, ProductMeta):
            session.execute(delete(model))

    shared.storage.write(empty)
    return shared


def test_no_more_activations_than_the_limit_allows(crowd: Crowd) -> None:
    crowd.register("K", limit=5)

    def activating(numbers: range) -> list[tuple[str, dict[str, object]]]:
        return [("activate", {"license_key": "K", "identifier": f"host-{number:02}"}) for number in numbers]

    answers = crowd.at_once(activating(range(32)))
    assert codes(answers) == {300: 5, 302: 27}
    active = [f"host-{number:02}" for number, answer in enumerate(answers) if answer.code == 300]
    assert crowd.activations() == active
    assert crowd.activations(status="inactive") == []

    # All five leave, and others come, at the same time: each who comes takes a place that somebody has left.
    leaving: list[tuple[str, dict[str, object]]] = [
        ("deactivate", {"license_key": "K", "identifier": identifier}) for identifier in active
    ]
    coming = activating(range(32, 59))
    mixed = [call for pair in zip(coming, leaving, strict=False) for call in pair] + coming[len(leaving) :]
    counted = codes(crowd.at_once(mixed))
    assert counted["400"] == 5
    assert 1 <= counted[300] <= 5
    assert counted == {"400": 5, 300: counted[300], 302: 27 - counted[300]}
    assert len(crowd.activations()) == counted[300]
    assert crowd.activations(status="inactive") == active


def test_an_identifier_is_activated_once(crowd: Crowd) -> None:
    crowd.register("K", limit=5)
    calls: list[tuple[str, dict[str, object]]] = [("activate", {"license_key": "K", "identifier": "host"})] * 32
    assert codes(crowd.at_once(calls)) == {300: 1, 301: 31}
    assert crowd.activations() == ["host"]
    calls = [("deactivate", {"license_key": "K", "identifier": "host"})] * 32
    assert codes(crowd.at_once(calls)) == {"400": 1, 401: 31}
    assert (crowd.activations(), crowd.activations(status="inactive")) == ([], ["host"])


def test_no_license_key_is_drawn_twice(crowd: Crowd) -> None:
    pool = {f"K{number:03}" for number in range(200)}
    crowd.register(*sorted(pool), status="available")
    answers = crowd.at_once(
        [
            (
                "random-assign-license-keys",
                {"product_id": 1, "owner_email": f"{number}@example.com", "quantity": 1, "generate": 0},
            )
            for number in range(300)
        ]
    )
    assert codes(answers) == {803: 200, 802: 100}
    assert {answer.payload["available_quantity"] for answer in answers if answer.code == 802} == {0}
    drawn = {
        row["license_key"]: row for answer in answers if answer.code == 803 for row in answer.payload["license_keys"]
    }
    assert drawn.keys() == pool
    stored = crowd.license_keys()
    assert stored.keys() == pool
    owners = {
        row["license_key"]: f"{number}@example.com"
        for number, answer in enumerate(answers)
        if answer.code == 803
        for row in answer.payload["license_keys"]
    }
    assert {text: row.owner_email for text, row in stored.items()} == owners
    assert {row.status for row in stored.values()} == {"assigned"}
    assert all(row.assigned_at is not None for row in stored.values())


def test_several_are_drawn_whole_or_not_at_all(crowd: Crowd) -> None:
    pool = {f"K{number:03}" for number in range(100)}
    crowd.register(*sorted(pool), status="available")
    answers = crowd.at_once(
        [
            (
                "random-assign-license-keys",
                {"product_id": 1, "owner_email": f"{number}@example.com", "quantity": 7, "generate": 0},
            )
            for number in range(30)
        ]
    )
    counted = codes(answers)
    assert counted == {803: counted[803], 802: 30 - counted[803]}
    # Nobody is refused for what somebody else only holds for a moment: 98 of the 100 find an owner.
    assert counted[803] == 14
    assert {answer.payload["available_quantity"] for answer in answers if answer.code == 802} == {2}
    drawn = [row["license_key"] for answer in answers if answer.code == 803 for row in answer.payload["license_keys"]]
    assert len(set(drawn)) == len(drawn) == 7 * counted[803]
    stored = crowd.license_keys()
    assert {text for text, row in stored.items() if row.status == "assigned"} == set(drawn)
    assert {row.status for text, row in stored.items() if text not in drawn} <= {"available"}


def test_what_is_generated_for_many_is_different_for_all(crowd: Crowd) -> None:
    pool = {f"K{number:03}" for number in range(50)}
    crowd.register(*sorted(pool), status="available")
    answers = crowd.at_once(
        [
            (
                "random-assign-license-keys",
                {"product_id": 1, "owner_email": f"{number}@example.com", "quantity": 3, "generate": 1},
            )
            for number in range(40)
        ]
    )
    assert codes(answers) == {803: 40}
    owners = {
        row["license_key"]: f"{number}@example.com"
        for number, answer in enumerate(answers)
        for row in answer.payload["license_keys"]
    }
    assert len(owners) == 120
    stored = crowd.license_keys()
    assert {text: row.owner_email for text, row in stored.items() if row.status == "assigned"} == owners
    # Nothing was generated that nobody got.
    assert {text for text, row in stored.items() if row.status != "assigned"} <= pool
    assert {row.status for row in stored.values()} <= {"assigned", "available"}


def test_a_license_key_is_assigned_to_one(crowd: Crowd) -> None:
    crowd.register("K", status="available")
    answers = crowd.at_once(
        [("assign-license-key", {"license_key": "K", "email": f"{number}@example.com"}) for number in range(64)]
    )
    assert codes(answers) == {800: 1, 801: 63}
    (winner,) = [number for number, answer in enumerate(answers) if answer.code == 800]
    assert crowd.license_keys()["K"].owner_email == f"{winner}@example.com"


def test_a_license_key_is_assigned_and_activated_for_one(crowd: Crowd) -> None:
    crowd.register("K", status="available")
    answers = crowd.at_once(
        [
            (
                "assign-and-activate-license-key",
                {"license_key": "K", "identifier": f"host-{number}", "owner_email": f"{number}@example.com"},
            )
            for number in range(32)
        ]
    )
    assert codes(answers) == {300: 1, 801: 31}
    (winner,) = [number for number, answer in enumerate(answers) if answer.code == 300]
    assert crowd.license_keys()["K"].owner_email == f"{winner}@example.com"
    assert crowd.activations() == [f"host-{winner}"]


@pytest.mark.parametrize("number", [2, 100])
@pytest.mark.parametrize("order", ["the same", "the opposite"])
def test_a_license_key_is_registered_once(crowd: Crowd, order: str, number: int) -> None:
    wanted = [f"K{number:03}" for number in range(number)]
    turned = wanted if order == "the same" else wanted[::-1]
    answers = crowd.at_once(
        [("create-license-keys", registered(wanted)), ("create-license-keys", registered(turned))] * 20
    )
    assert codes(answers) == {900: 40}
    assert sum(answer.payload["created"] for answer in answers) == number
    assert {answer.payload["created"] + answer.payload["duplicate"] for answer in answers} == {number}
    assert crowd.license_keys().keys() == set(wanted)


def test_a_name_is_attached_to_a_license_key_once(crowd: Crowd) -> None:
    crowd.register("K")
    answers = crowd.at_once(
        [("create-license-key-meta", {"license_key": "K", "key": "seats", "value": number}) for number in range(40)]
    )
    assert codes(answers) == {453: 1, 452: 39}
    (winner,) = [number for number, answer in enumerate(answers) if answer.code == 453]
    rows = crowd.storage.read(lambda session: session.scalars(select(LicenseKeyMeta)).all())
    assert [(row.id, row.key, row.value) for row in rows] == [
        (answers[winner].payload["meta_id"], "seats", str(winner))
    ]


def test_a_name_is_attached_to_a_product_once(crowd: Crowd) -> None:
    answers = crowd.at_once(
        [("create-product-meta", {"product_id": 1, "key": "color", "value": f"v{number}"}) for number in range(40)]
    )
    assert codes(answers) == {273: 1, 272: 39}
    (winner,) = [number for number, answer in enumerate(answers) if answer.code == 273]
    rows = crowd.storage.read(lambda session: session.scalars(select(ProductMeta)).all())
    assert [(row.key, row.value) for row in rows] == [("color", f"v{winner}")]


@contextmanager
def holding(crowd: Crowd, license_key: str) -> Iterator[None]:
    """Somebody has a license key's row locked, and takes his time."""
    with crowd.storage.engine.connect() as connection, Session(connection) as session:
        query = text("SELECT id FROM license_keys WHERE license_key = :license_key FOR UPDATE")
        assert session.scalar(query, {"license_key": license_key}) is not None
        yield


@pytest.mark.parametrize("shared", ["postgresql"], indirect=True)
def test_who_draws_at_random_does_not_wait_for_others_who_do(crowd: Crowd) -> None:
    crowd.register("K1", "K2", status="available")
    fields: dict[str, Any] = {"product_id": 1, "owner_email": "a@example.com", "quantity": 1, "generate": 0}
    for held, free in (("K1", "K2"), ("K1", None)):
        with holding(crowd, held):
            answer = crowd.api.post("/api/v1/random-assign-license-keys", {"api_key": SAMPLE_KEY, **fields})
            if free is None:
                # Not 802: there is one, and whoever holds it may let go of it.
                assert (answer.code, answer.status) == (1705, 503)
            else:
                assert [row["license_key"] for row in answer.payload["license_keys"]] == [free]
    answer = crowd.post("random-assign-license-keys", **fields)
    assert [row["license_key"] for row in answer.payload["license_keys"]] == ["K1"]
    answer = crowd.post("random-assign-license-keys", **fields)
    assert (answer.code, answer.payload["available_quantity"]) == (802, 0)


@pytest.mark.parametrize("shared", ["postgresql"], indirect=True)
def test_who_registers_in_another_order_waits_and_is_told_of_duplicates(crowd: Crowd) -> None:
    """Both orders end in the same one in the database: two that wait for each other would be a deadlock."""
    statement = text(
        """INSERT INTO license_keys (product_id, source, license_key, activation_limit, validity, status, created_at,
        updated_at) VALUES (1, 'manual', :license_key, 0, 0, 'available', now(), now())"""
    )
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with ThreadPoolExecutor(1) as threads, crowd.storage.engine.connect() as connection:
        connection.execute(statement, {"license_key": "K1"})
        told = threads.submit(crowd.post, "create-license-keys", **registered(["K2", "K1"]))
        with crowd.storage.engine.connect() as other:
            while not other.scalar(waiting):
                assert not told.done()
                other.rollback()
        connection.execute(statement, {"license_key": "K2"})
        connection.commit()
        answer = told.result()
    assert (answer.code, answer.payload["created"], answer.payload["duplicate"]) == (900, 0, 2)
