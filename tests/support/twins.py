"""The same request many times at once, to the serving processes of one installation, one of which may be killed."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Literal
from uuid import uuid4

import httpx
from sqlalchemy import text
from tests.support.load import Acknowledged
from tests.support.processes import Hanaper, Server
from tests.support.raw import connected, receive

from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
TWINS = 64
OTHERS = 8
"""Of these, in some rounds: another request under the same key."""
LARGE = 1001
LONGEST_S = 60
TABLES = ("license_keys", "batches", "activations", "idempotency_records")

Request = Literal["generate", "activate", "create-license-keys", "large generate"]
REQUESTS: tuple[Request, ...] = ("generate", "activate", "create-license-keys", "large generate")


class Replicas:
    """The serving processes: two servers on PostgreSQL, one server's workers on SQLite.

    Attributes:
        kills: how many have been killed.
    """

    def __init__(self, hanaper: Hanaper, stack: ExitStack, environment: dict[str, str]) -> None:
        self.kills = 0
        self._hanaper = hanaper
        self._stack = stack
        self._environment = environment
        self._workers = hanaper.settings.database.startswith("sqlite")
        self._servers = [self._start()] if self._workers else [self._start(), self._start()]
        self._killed: set[int] = set()
        self.ready()

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self._servers]

    @property
    def pids(self) -> list[int]:
        """The processes that serve."""
        if not self._workers:
            return [server.process.pid for server in self._servers]
        return [pid for pid in self._servers[0].workers if pid not in self._killed]

    def ready(self) -> None:
        """Wait until there are two processes again, and both answer."""
        if self._workers:
            self._servers[0].wait_for("Application startup complete.", times=2 + len(self._killed))
        for server in self._servers:
            server.wait_for("Application startup complete.")

    def kill(self, chance: random.Random) -> None:
        """Kill one of them without warning, and have it started anew."""
        victim = chance.choice(self.pids)
        self.kills += 1
        if self._workers:
            os.kill(victim, signal.SIGKILL)
            self._killed.add(victim)
            return
        (dead,) = [server for server in self._servers if server.process.pid == victim]
        assert dead.stop(signal.SIGKILL) == -signal.SIGKILL
        self._servers.remove(dead)
        self._servers.append(self._start())

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """All of them stand still meanwhile."""
        pids = self.pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _start(self) -> Server:
        arguments = ("--workers", "2") if self._workers else ()
        return self._stack.enter_context(self._hanaper.serving(*arguments, **self._environment))


@contextmanager
def replicas(hanaper: Hanaper, **environment: str) -> Iterator[Replicas]:
    """Two serving processes for the length of a `with` block."""
    with ExitStack() as stack:
        yield Replicas(hanaper, stack, {"HANAPER_MAX_QUANTITY": "2000", **environment})


@dataclass
class Round:
    """What came of one idempotency key.

    Attributes:
        answers: by which of the two requests was sent: the last answer of each twin.
        kinds: of all answers, those that were not the last included.
        broken: how many connections ended without an answer.
    """

    request: Request
    answers: list[tuple[bool, httpx.Response]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    broken: int = 0

    @property
    def bodies(self) -> set[bytes]:
        """Of the answers that were carried out, or replayed."""
        return {answer.content for _, answer in self.answers if answer.status_code == 200}


@dataclass
class Twins:
    """Rounds of twins on one installation.

    Attributes:
        acknowledged: the batches that somebody has been given.
        without_batch: how many license keys came otherwise.
    """

    replicas: Replicas
    storage: Storage
    chance: random.Random
    acknowledged: list[Acknowledged] = field(default_factory=list)
    without_batch: int = 0

    def run(self, request: Request, *, kill: bool, others: int) -> Round:
        """One round: all twins come to an end.

        Args:
            request: what is asked.
            kill: one of the processes is killed while they are at work.
            others: so many of the twins ask for something else under the same key.
        """
        round_ = Round(request)
        path, fields, other = self._request(request)
        key = uuid4().hex.encode()
        before = self._stored()
        sent = [number < others for number in range(TWINS)]
        self.chance.shuffle(sent)
        bodies = {False: message(path, fields, key), True: message(path, other, key)}
        with ExitStack() as stack:
            with self.replicas.stopped():
                urls = self.replicas.urls
                connections = [stack.enter_context(connected(urls[number % len(urls)])) for number in range(TWINS)]
                for connection, is_other in zip(connections, sent, strict=True):
                    connection.sendall(bodies[is_other])
            if kill:
                time.sleep(self.chance.uniform(0, 0.1))
                self.replicas.kill(self.chance)
            for connection, is_other in zip(connections, sent, strict=True):
                answer: httpx.Response | None = None
                try:
                    answer = receive(connection, "POST")
                except (OSError, HTTPException):
                    round_.broken += 1
                round_.answers.append((is_other, self._until_it_is_told(round_, bodies[is_other], answer)))
        if kill:
            self.replicas.ready()
        self._judge(round_, before)
        return round_

    def _until_it_is_told(self, round_: Round, sent: bytes, answer: httpx.Response | None) -> httpx.Response:
        """The answer, or that to the same request sent again as often as it takes."""
        ends = time.monotonic() + LONGEST_S
        while True:
            if answer is not None:
                kind = self._kind(answer)
                round_.kinds[kind] += 1
                if kind in ("done", "replayed", "another request"):
                    return answer
            assert time.monotonic() < ends, f"nobody is told what came of it: {round_.kinds}"
            time.sleep(0.02)
            answer = None
            url = self.chance.choice(self.replicas.urls)
            try:
                with connected(url) as connection:
                    connection.sendall(sent)
                    answer = receive(connection, "POST")
            except (OSError, HTTPException):
                round_.broken += 1

    def _kind(self, answer: httpx.Response) -> str:
        """What an answer is. Only what the documents name is one."""
        response = answer.json()["response"]
        replayed, retry = "idempotent-replayed" in answer.headers, "retry-after" in answer.headers
        match answer.status_code, response["code"], replayed, retry:
            case 200, 815 | 300 | 900, replayed, False:
                return "replayed" if replayed else "done"
            case 409, 901, False, True:
                return "in flight"
            case 409, 901, False, False:
                return "another request"
            case 503, 1705, False, True:
                return "not now"
        raise AssertionError(f"{answer.status_code} {response} {answer.headers}")

    def _judge(self, round_: Round, before: dict[str, int]) -> None:
        """One of the two requests was carried out, once; everybody was told the same."""
        winners = {is_other for is_other, answer in round_.answers if answer.status_code == 200}
        assert len(winners) == 1, "both requests were carried out"
        (winner,) = winners
        assert {is_other == winner for is_other, answer in round_.answers if answer.status_code == 200} == {True}
        assert {is_other == winner for is_other, answer in round_.answers if answer.status_code == 409} <= {False}
        assert len(round_.bodies) == 1, "the answers differ"
        (body,) = round_.bodies
        asked = {"generate": 10, "activate": 0, "create-license-keys": 3, "large generate": LARGE}[round_.request]
        came = {
            "license_keys": asked + (winner and asked > 0),
            "batches": 0,
            "activations": 0,
            "idempotency_records": 1,
        }
        if "generate" in round_.request:
            came["batches"] = 1
            self.acknowledged.append(Acknowledged.from_body(body))
            assert len(self.acknowledged[-1].license_keys) == came["license_keys"]
        if round_.request == "activate":
            came["activations"] = 1
            self.without_batch += 1  # the one that was activated
        if round_.request == "create-license-keys":
            self.without_batch += came["license_keys"]
        after = self._stored()
        assert {name: after[name] - before[name] for name in TABLES} == came, "it was not carried out once"
        assert round_.kinds["done"] <= 1, "more than one was told that it did it"

    def _request(self, request: Request) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Path and fields, and the fields of another request, for one that makes one license key more."""
        match request:
            case "activate":
                license_key = f"TWIN-{uuid4()}"
                self.storage.write(lambda session: add_license_key(session, license_key))
                place = {"license_key": license_key, "identifier": "pc"}
                return "activate", place, {**place, "identifier": "other"}
            case "create-license-keys":
                return request, {"licenses": [{"generator_id": 1}] * 3}, {"licenses": [{"generator_id": 1}] * 4}
        order = {"generator_id": 1, "quantity": 10 if request == "generate" else LARGE}
        return "generate", order, {**order, "quantity": order["quantity"] + 1}

    def _stored(self) -> dict[str, int]:
        """How many rows there are; a large order that nobody finished is not there."""

        def count(session: Session) -> dict[str, int]:
            return {name: session.scalar(text(f"SELECT count(*) FROM {name}{THERE.get(name, '')}")) for name in TABLES}  # noqa: S608 -- names of tables

        return self.storage.read(count)


THERE = {"license_keys": " WHERE batch_id IS NULL OR batch_id IN (SELECT id FROM batches)"}


def add_license_key(session: Session, license_key: str) -> None:
    session.execute(
        text("""
            INSERT INTO license_keys (license_key, product_id, source, activation_limit, validity, status, assigned_at,
                created_at, updated_at)
            VALUES (:license_key, 1, 'manual', 0, 0, 'assigned', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP,
                CURRENT_TIMESTAMP)
        """),
        {"license_key": license_key},
    )


def message(path: str, fields: dict[str, Any], key: bytes) -> bytes:
    """A request as it is sent."""
    body = json.dumps({"api_key": SAMPLE_KEY, **fields}).encode()
    return (
        b"POST /api/v1/%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nIdempotency-Key: %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path.encode(), key, len(body), body)
    )
