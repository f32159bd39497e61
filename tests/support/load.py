"""Clients that ask for license keys as fast as they get them, and remember what they were told."""

import http.client
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.support.crowd import LONGEST_S, Crowd, at_work

from hanaper.protocol import envelope

SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
QUANTITIES = (1, 3, 10, 50)
CLIENTS = 8


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A batch that somebody has been given."""

    license_keys: tuple[str, ...]
    signed_at: int
    signature: bytes

    @classmethod
    def from_body(cls, body: bytes) -> "Acknowledged":
        received = envelope.decode(body)
        payload = json.loads(received.payload_bytes)
        assert payload["code"] == 815
        return cls(tuple(payload["licenseKeys"]), payload["timestamp"], received.signature)


@dataclass
class History:
    """What came of the requests that were sent.

    Attributes:
        answers: status and body of those that were answered completely.
        unknown: one entry for each of the others, with the reason.
    """

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> list[Acknowledged]:
        return [Acknowledged.from_body(body) for status, body in self.answers if status == 200]

    @property
    def refused(self) -> int:
        return sum(status == 503 for status, _ in self.answers)

    @property
    def unexpected(self) -> list[tuple[int, bytes]]:
        """Answers that are neither license keys nor a refusal for now."""
        return [answer for answer in self.answers if answer[0] not in (200, 503)]


def ask(connection: http.client.HTTPConnection, quantity: int) -> tuple[int, bytes]:
    """Ask for license keys; returns status and body.

    Raises:
        OSError: there is no complete answer.
        http.client.HTTPException: neither.
    """
    form = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": quantity}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/api/v1/generate", urlencode(form), headers)
    response = connection.getresponse()
    return response.status, response.read()


class Load(Crowd):
    """Clients that ask for license keys."""

    def __init__(self, url: str, history: History) -> None:
        super().__init__(url)
        self._history = history
        self._acknowledged = threading.Event()

    def wait_for_keys(self) -> None:
        """Wait until somebody has been given license keys, from now on."""
        self._acknowledged.clear()
        assert self._acknowledged.wait(LONGEST_S), "nobody is given license keys any more"

    def use(self, connection: http.client.HTTPConnection, chance: random.Random) -> None:
        """Ask; what breaks off is noted as unknown."""
        while not self.over.is_set():
            try:
                answer = ask(connection, chance.choice(QUANTITIES))
            except (OSError, http.client.HTTPException) as error:
                self._history.unknown.append(type(error).__name__)
                return
            self._history.answers.append(answer)
            if answer[0] == 200:
                self._acknowledged.set()


@contextmanager
def load(url: str, history: History, seed: int) -> Iterator[Load]:
    """Let clients ask a server for the length of a `with` block, in which it may be killed."""
    clients = Load(url, history)
    with at_work(clients.run, range(seed * CLIENTS, (seed + 1) * CLIENTS), clients.end):
        yield clients
