"""Clients of several endpoints at once: one that commits in groups, one that commits by itself, one that only reads."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

import httpx
from tests.support.api import Answer, Api
from tests.support.crowd import LONGEST_S, at_work
from tests.support.load import SAMPLE_KEY
from tests.support.processes import Server

from hanaper.checking.check import check as check_store
from hanaper.clock import utc_now
from hanaper.licenses import store
from hanaper.settings import Settings
from hanaper.storage.transactions import Storage

IDENTIFIER = "shop.example"

Kind = Literal["generate", "create", "verify"]
"""Each has its own way through the server: the group commit of the writer thread, a transaction in a worker thread, and
a group read."""

_TERMS = {"activation_limit": 3, "validity": 30, "status": "available"}
_CODES = {"generate": 815, "create": 900, "verify": 200}


@dataclass(frozen=True)
class Told:
    """What one request came to.

    Attributes:
        seconds: from the first byte sent to the last byte received.
        at: `time.monotonic()` of that last byte.
        license_keys: that were acknowledged.
    """

    kind: Kind
    status: int
    seconds: float
    at: float
    license_keys: Sequence[str] = ()


class Caller:
    """Asks, and looks at the signature of each answer.

    Attributes:
        server: that is asked, where it has processes of its own.
        known: a license key that verification finds active.
    """

    def __init__(self, api: Api, server: Server | None = None, *, known: str = "") -> None:
        self.api = api
        self.server = server
        self.known = known

    def prepare(self) -> None:
        """Make a license key that verification will find active, unless one is known."""
        if self.known:
            return
        answer = self._post("generate", generator_id=1, quantity=1)
        self.known = answer.payload["licenseKeys"][0]
        named = {"license_key": self.known, "identifier": IDENTIFIER, "owner_email": "ann@example.com"}
        activated = self._post("assign-and-activate-license-key", **named)
        assert activated.code == 300, activated.payload

    def ask(self, kind: Kind, **headers: str) -> Told:
        """Ask once.

        Raises:
            httpx.TransportError: there was no complete answer.
        """
        began = time.monotonic()
        made: list[str] = []
        match kind:
            case "generate":
                answer = self._post("generate", headers, generator_id=1, quantity=3)
                made = answer.payload.get("licenseKeys", [])
            case "create":
                texts = [f"made-{uuid4()}" for _ in range(3)]
                fields = {"license_keys": json.dumps(texts), "product_id": 1, **_TERMS}
                answer = self._post("create-license-keys", headers, **fields)
                made = texts if answer.status == 200 else []
            case "verify":
                answer = self._post("verify", headers, license_key=self.known, identifier=IDENTIFIER)
        ended = time.monotonic()
        if answer.status == 200:
            assert answer.code == _CODES[kind], answer.payload
        else:
            refused(answer)
        return Told(kind, answer.status, ended - began, ended, made)

    def _post(self, endpoint: str, headers: dict[str, str] | None = None, /, **fields: object) -> Answer:
        return self.api.post(f"/api/v1/{endpoint}", {"api_key": SAMPLE_KEY, **fields}, headers=headers)


def refused(answer: Answer) -> None:
    """That an answer is the one for a database that is away: it promises nothing and denies nothing."""
    assert (answer.status, answer.code, answer.signed_by) == (503, 1705, "global")
    assert answer.payload["message"] == "Service temporarily unavailable"
    assert list(answer.payload) == ["code", "message", "timestamp"]
    assert int(answer.http.headers["retry-after"]) > 0


@dataclass
class Clients:
    """Clients at work: each asks as soon as it has been answered.

    Attributes:
        told: all answers, in the order in which they came.
        unanswered: requests without a complete answer; of a server that goes on there are none.
        wrong: what should not be, such as a signature that is not good.
    """

    caller: Caller
    pause_s: float = 0.0
    told: list[Told] = field(default_factory=list)
    unanswered: list[Exception] = field(default_factory=list)
    wrong: list[AssertionError] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _more: threading.Condition = field(default_factory=threading.Condition)

    def __str__(self) -> str:
        counted = Counter(f"{told.kind} {told.status}" for told in self.told)
        longest = max((told.seconds for told in self.told), default=0.0)
        return f"{dict(sorted(counted.items()))}, {len(self.acknowledged)} license keys, longest {longest:.2f} s"

    @property
    def acknowledged(self) -> list[str]:
        return [license_key for told in self.told for license_key in told.license_keys]

    def count(self, status: int, *kinds: Kind) -> int:
        return sum(told.status == status and (not kinds or told.kind in kinds) for told in list(self.told))

    def wait_for(self, status: int, *kinds: Kind, times: int = 1) -> float:
        """Wait for answers to requests of each of these kinds, from now on; seconds it took."""
        began = time.monotonic()

        def enough() -> bool:
            new = Counter(told.kind for told in self.told if told.at > began and told.status == status)
            return bool(self.wrong) or all(new[kind] >= times for kind in kinds)

        with self._more:
            assert self._more.wait_for(enough, LONGEST_S), f"no {status} any more: {self}"
        assert self.wrong == []
        return time.monotonic() - began

    def end(self) -> None:
        self._over.set()

    def run(self, kind: Kind) -> None:
        """Be one of the clients."""
        while not self._over.wait(self.pause_s):
            try:
                told = self.caller.ask(kind)
            except httpx.TransportError as error:
                self.unanswered.append(error)
                continue
            except AssertionError as error:
                with self._more:
                    self.wrong.append(error)
                    self._more.notify_all()
                return
            with self._more:
                self.told.append(told)
                self._more.notify_all()

    def check(self) -> None:
        """That each was answered, with a good signature, and with nothing but success or a refusal for now."""
        assert self.wrong == []
        assert self.unanswered == []
        assert {told.status for told in self.told} <= {200, 503}


@contextmanager
def asking(caller: Caller, *kinds: Kind, pause_s: float = 0.0) -> Iterator[Clients]:
    """One client for each kind named, for the length of a `with` block."""
    clients = Clients(caller, pause_s)
    with at_work(clients.run, kinds, clients.end):
        yield clients


def nothing_lost(settings: Settings, acknowledged: Sequence[str]) -> None:
    """That all that was acknowledged is stored, once, and that all that is stored is whole."""
    assert len(acknowledged) == len(set(acknowledged))
    # A storage of its own: nothing is known but what the database has kept.
    with Storage.open(settings) as storage:
        assert lost(storage, acknowledged) == set()
        report = check_store(storage, None, now=utc_now())
        assert report.is_clean, report


def lost(storage: Storage, acknowledged: Sequence[str]) -> set[str]:
    return set(acknowledged) - storage.read(lambda session: store.already_stored(session, acknowledged))
