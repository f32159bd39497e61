"""A server with fail-points, and one request at a time that comes to one of them (reliability.md T3)."""

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode
from uuid import uuid4

from sqlalchemy import text
from tests.support.crowd import LONGEST_S, connected
from tests.support.load import SAMPLE_KEY, Acknowledged
from tests.support.mutants import mutant
from tests.support.processes import Hanaper, Server

from hanaper.protocol import envelope
from hanaper.signing.verifier import Verifier
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

Point = Literal[
    "after-auth",
    "before-sign",
    "after-sign",
    "after-verify",
    "tx-open",
    "after-quota",
    "after-insert",
    "before-commit",
    "inside-commit",
    "after-commit",
    "mid-body",
]
Action = Literal["kill", "raise", "sleep", "spoil"]
"""SIGKILL of the process; an error nobody foresaw; a pause; one bit turned in what is handed on."""
Told = Literal["license keys", "failed", "not known", "nothing", "nothing true"]
"""815; 1706 with HTTP 500; 1705 with HTTP 503 and Retry-After; a cut connection; an answer that does not verify."""
Again = Literal["repeated", "anew"]
"""How who asks again under the same key is answered: with what was stored, or by having it done now."""

LARGE_CAP = 10**6
_FUNCTION = """
    CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        {action}; RETURN NULL;
    END $$
"""
_TRIGGER = """
    CREATE CONSTRAINT TRIGGER planted AFTER INSERT ON batches DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION planted()
"""
_IN_POSTGRESQL: dict[Action, str] = {
    "kill": "PERFORM pg_sleep(1)",
    "raise": "PERFORM pg_terminate_backend(pg_backend_pid())",
    "sleep": "PERFORM pg_sleep({pause_s})",
}


@dataclass(frozen=True)
class Came:
    """What a request came to: what its client was told, and whether that was said to be a repeated answer."""

    told: Told
    repeated: bool
    body: bytes


class Failpoints:
    """A server of two processes; whatever is killed of it comes back."""

    def __init__(self, hanaper: Hanaper, server: Server, armed: Path, pause_s: float) -> None:
        self.given: dict[str, bytes] = {}
        self._hanaper = hanaper
        self._server = server
        self._armed = armed
        self._pause_s = pause_s
        keys = hanaper.data_dir / "public-keys"
        self._verifiers = {
            "global": Verifier.from_pem((keys / "global.pem").read_bytes()),
            "product": Verifier.from_pem((keys / "product-1.pem").read_bytes()),
        }
        self._is_postgresql = "HANAPER_DATABASE_URL" in hanaper.environment

    @contextmanager
    def arm(self, point: Point, action: Action) -> Iterator[None]:
        """Have something happen to the next request that comes to a point. It has to come there."""
        if point == "inside-commit" and self._is_postgresql:
            with self._inside_postgresql(action):
                yield
            return
        self._armed.with_suffix(".new").write_text(f"{point} {action}")
        self._armed.with_suffix(".new").rename(self._armed)
        yield
        # A server with a fault may come there later than its answer.
        end = time.monotonic() + LONGEST_S
        while self._armed.exists():
            assert time.monotonic() < end, "nobody came there"
            time.sleep(0.01)

    def ask(self, key: str, quantity: int = 3) -> Came:
        """Ask for license keys under an idempotency key."""
        form = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": quantity}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": key}
        try:
            with closing(connected(self._server.url)) as connection:
                connection.request("POST", "/api/v1/generate", urlencode(form), headers)
                response = connection.getresponse()
                body = response.read()
        except (OSError, http.client.HTTPException):
            return Came("nothing", repeated=False, body=b"")
        repeated = response.getheader("Idempotent-Replayed") == "true"
        try:
            received = envelope.decode(body)
            outer = json.loads(body)
            is_true = self._verifiers[outer["private_key_used"]].accepts_envelope(received)
        except (ValueError, KeyError):
            is_true = False
        if not is_true:
            return Came("nothing true", repeated=repeated, body=body)
        seen = (json.loads(received.payload_bytes)["code"], response.status, response.getheader("Retry-After"))
        told: dict[tuple[int, int, str | None], Told] = {
            (815, 200, None): "license keys",
            (1706, 500, None): "failed",
            (1705, 503, "5"): "not known",
        }
        return Came(told[seen], repeated=repeated, body=body)

    def ask_through(self, point: Point, action: Action, beside: int = 0) -> list[tuple[Told, Again]]:
        """Send requests that come to a point, and ask again: what is told, and how the second ones are answered.

        Args:
            point: where it happens, to one of them or to the group that it is in.
            action: what happens.
            beside: how many ask at the same time as the first.
        """
        keys = [uuid4().hex for _ in range(1 + beside)]
        with ThreadPoolExecutor(len(keys)) as threads, self.arm(point, action):
            came = list(threads.map(self.ask, keys))
        return [self._ask_again(key, first, f"{action} {point}") for key, first in zip(keys, came, strict=True)]

    def _ask_again(self, key: str, first: Came, planted: str) -> tuple[Told, Again]:
        again = self.ask(key)
        assert again.told == "license keys", (planted, first.told, again.told)
        if first.told == "license keys" and again.repeated:
            assert first.body == again.body
        self.given[key] = again.body
        return first.told, "repeated" if again.repeated else "anew"

    @property
    def acknowledged(self) -> list[Acknowledged]:
        """All answers, each once."""
        return [Acknowledged.from_body(body) for body in self.given.values()]

    @contextmanager
    def _inside_postgresql(self, action: Action) -> Iterator[None]:
        """PostgreSQL itself is what happens: it runs this after all statements, when it commits."""
        self._hanaper.sql(_FUNCTION.format(action=_IN_POSTGRESQL[action].format(pause_s=self._pause_s)))
        self._hanaper.sql(_TRIGGER)
        if action == "kill":
            # Of the process that waits for it.
            self._armed.write_text("inside-commit kill")
        yield
        self._hanaper.sql("DROP TRIGGER planted ON batches")
        self._hanaper.sql("DROP FUNCTION planted")


def counted(hanaper: Hanaper) -> int:
    """What the generator's cap has counted."""

    def work(session: Session) -> int:
        issued: int = session.scalars(text("SELECT issued FROM generator_caps WHERE generator_id = 1")).one()
        return issued

    with Storage.open(hanaper.settings) as storage:
        return storage.read(work)


@contextmanager
def failpoints(hanaper: Hanaper, pause_s: float, fault: str | None = None) -> Iterator[Failpoints]:
    """Run a server with fail-points for the length of a `with` block. Its generator has a cap, which is counted on.

    Args:
        hanaper: an installation.
        pause_s: how long the pauses are.
        fault: another one that is planted besides.
    """
    hanaper("generator", "set-cap", "1", str(LARGE_CAP))
    armed = hanaper.folder / "armed"
    more = {"FAILPOINT": str(armed), "FAILPOINT_SLEEP_S": str(pause_s)}
    if fault is not None:
        more["FAILPOINT_BESIDES"] = fault
    with hanaper.serving("--workers", "2", **mutant("failpoint"), **more) as server:
        server.wait_for_workers(2)
        yield Failpoints(hanaper, server, armed, pause_s)
