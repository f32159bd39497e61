"""Clients that ask for license keys under idempotency keys, and ask again until they know what came of it."""

import hashlib
import http.client
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from tests.support.crowd import LONGEST_S, Crowd, at_work, connected
from tests.support.load import CLIENTS, QUANTITIES, SAMPLE_KEY, Acknowledged

IMMEDIATE_REPLAYS = 0.05
EARLIER_REPLAYS = 0.05
RETRIES = 0.5
"""Shares of the requests; of those that are neither replays, half are retries while there is something to retry."""
MOST_TRIES = 50

Outcome = Literal["ok", "fail", "info"]
"""Carried out, not carried out, not known."""


@dataclass
class Order:
    """What is asked for under one idempotency key.

    Attributes:
        body: the first complete answer with license keys.
        tries: how often it has been sent before that.
    """

    key: str = field(repr=False)
    quantity: int
    body: bytes | None = None
    tries: int = 0


class OrderBook:
    """All orders of a test, and what came of each time they were sent: also a line of JSON in a file for each.

    Attributes:
        known: orders that have been answered by license keys.
        unknown: orders of which it is not known whether they were carried out.
        lost_answers: how many requests came to no complete answer.
        refused: how many were answered by "not now".
        unexpected: answers that are neither license keys nor "not now".
        replays: how many answers were given a second time,
        differing: and how many of them had other bytes than the first time, or were not said to be repeated.
    """

    def __init__(self, file: Path) -> None:
        self.known: list[Order] = []
        self.unknown: list[Order] = []
        self.lost_answers = 0
        self.refused = 0
        self.unexpected: list[tuple[int, bytes]] = []
        self.replays = 0
        self.differing = 0
        self.acknowledged_again = threading.Condition()
        self._lock = threading.Lock()
        self._file = file

    def __str__(self) -> str:
        keys = sum(order.quantity for order in self.known)
        return (
            f"{len(self.known)} orders answered with {keys} license keys, {self.replays} answers repeated, "
            f"{self.lost_answers} answers lost, {self.refused} refused, {len(self.unknown)} not known"
        )

    @property
    def acknowledged(self) -> list[Acknowledged]:
        """The answers, each once."""
        return [Acknowledged.from_body(order.body) for order in self.known if order.body is not None]

    @property
    def answers(self) -> dict[str, bytes]:
        """The answers by idempotency key."""
        return {order.key: order.body for order in self.known if order.body is not None}

    def new(self, chance: random.Random) -> Order:
        """An order that nobody has sent yet."""
        return Order(f"{chance.getrandbits(128):032x}", chance.choice(QUANTITIES))

    def pick(self, chance: random.Random) -> Order:
        """What to send next. Nobody else sends it meanwhile, save that answers are asked for again by many at once."""
        with self._lock:
            if self.known and chance.random() < EARLIER_REPLAYS:
                return chance.choice(self.known)
            if self.unknown and chance.random() < RETRIES:
                return self.unknown.pop(chance.randrange(len(self.unknown)))
        return self.new(chance)

    def told(self, order: Order, began: float, status: int, headers: dict[str, str], body: bytes) -> bool:
        """Note a complete answer; whether it has license keys."""
        is_answer = status == 200 and json.loads(body)["response"]["code"] == 815
        # Also what may have been carried out: with a database that went away in the midst of it nobody knows.
        not_now = status == 503 or (status == 409 and "retry-after" in headers)
        self._note(order, began, "ok" if is_answer else "info" if not_now else "fail", status, body)
        with self._lock:
            if is_answer and order.body is not None:
                self.replays += 1
                self.differing += body != order.body or headers.get("idempotent-replayed") != "true"
            elif is_answer:
                order.body = body
                self.known.append(order)
            elif order.body is None:
                self.unknown.append(order)
            self.refused += not_now
            if not (is_answer or not_now):
                self.unexpected.append((status, body))
        if is_answer:
            with self.acknowledged_again:
                self.acknowledged_again.notify_all()
        return is_answer

    def not_told(self, order: Order, began: float) -> None:
        """Note that there was no complete answer."""
        self._note(order, began, "info", None, b"")
        with self._lock:
            self.lost_answers += 1
            if order.body is None:
                self.unknown.append(order)

    def _note(self, order: Order, began: float, outcome: Outcome, status: int | None, body: bytes) -> None:
        order.tries += 1
        line: dict[str, Any] = {
            "t_invoke": began,
            "t_return": time.time(),
            "idem_key": hashlib.sha256(order.key.encode()).hexdigest()[:16],
            "quantity": order.quantity,
            "outcome": outcome,
            "status": status,
            "sha256": hashlib.sha256(body).hexdigest() if body else None,
        }
        with self._lock, self._file.open("a", encoding="ascii") as file:
            file.write(json.dumps(line) + "\n")


def send(connection: http.client.HTTPConnection, order: Order, book: OrderBook) -> bool:
    """Send an order, and note what came of it; whether that was license keys.

    Raises:
        OSError: there is no complete answer.
        http.client.HTTPException: neither.
    """
    began = time.time()
    form = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": order.quantity}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": order.key}
    try:
        connection.request("POST", "/api/v1/generate", urlencode(form), headers)
        response = connection.getresponse()
        body = response.read()
        if response.getheader("Content-Length") is None:
            # The server was killed within its head: the client library takes what came for a head that ended there.
            raise http.client.IncompleteRead(body)
    except (OSError, http.client.HTTPException):
        book.not_told(order, began)
        raise
    said = {name.lower(): value for name, value in response.getheaders()}
    return book.told(order, began, response.status, said, body)


class Clients(Crowd):
    """Clients that send orders."""

    def __init__(self, url: str, book: OrderBook) -> None:
        super().__init__(url)
        self._book = book

    def wait_for_keys(self) -> None:
        """Wait until somebody has been given license keys, from now on."""
        with self._book.acknowledged_again:
            assert self._book.acknowledged_again.wait(LONGEST_S), "nobody is given license keys any more"

    def use(self, connection: http.client.HTTPConnection, chance: random.Random) -> None:
        """Send orders; what breaks off has been noted in the book."""
        with suppress(OSError, http.client.HTTPException):
            while not self.over.is_set():
                order = self._book.pick(chance)
                if send(connection, order, self._book) and chance.random() < IMMEDIATE_REPLAYS:
                    send(connection, order, self._book)


@contextmanager
def clients(url: str, book: OrderBook, seed: int) -> Iterator[Clients]:
    """Let clients ask a server for the length of a `with` block, in which it may be killed."""
    asking = Clients(url, book)
    with at_work(asking.run, range(seed * CLIENTS, (seed + 1) * CLIENTS), asking.end):
        yield asking


def settle(url: str, book: OrderBook) -> None:
    """Ask again for everything of which it is not known whether it was carried out, until that is known of all."""
    with closing(connected(url)) as connection:
        for _ in range(MOST_TRIES):
            orders, book.unknown = book.unknown, []
            for order in orders:
                send(connection, order, book)
            if not book.unknown:
                return
            time.sleep(0.1)
    raise AssertionError(f"it never becomes known what came of {len(book.unknown)} orders")


def replay(urls: Sequence[str], book: OrderBook, most: int, seed: int) -> None:
    """Ask each of several servers once more for orders that have been answered, at most so many, by chance."""
    chance = random.Random(seed)  # noqa: S311 -- a test wants to be repeated
    orders = chance.sample(book.known, min(most, len(book.known)))

    def ask(url: str) -> None:
        with closing(connected(url)) as connection:
            for order in orders:
                send(connection, order, book)

    with ThreadPoolExecutor(len(urls)) as threads:
        list(threads.map(ask, urls))
