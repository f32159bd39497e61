"""`hanaper signing-key`, and the exchange of keys while servers are at work (reliability.md T21)."""

import base64
import http.client
import logging
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.crowd import Crowd, at_work, connected
from tests.support.load import SAMPLE_KEY
from tests.support.mutants import mutant
from tests.support.processes import Hanaper

from hanaper.cli.doctor import EXIT_WARNINGS
from hanaper.keystore import store
from hanaper.protocol import envelope
from hanaper.refusal import Invalid
from hanaper.signing.verifier import Verifier
from hanaper.storage.transactions import Storage

ROTATIONS = int(os.environ.get("HANAPER_TEST_ROTATIONS", "5"))
CLIENTS = 6
_logger = logging.getLogger(__name__)


# --- the command ---


def within(hanaper: Hanaper, environment: dict[str, str]) -> Hanaper:
    return replace(hanaper, environment={**hanaper.environment, **environment})


def listed(hanaper: Hanaper) -> dict[str, dict[str, Any]]:
    return {row["kid"]: row for row in hanaper("signing-key", "list", "--json").json}


def active(hanaper: Hanaper, owner: str | int) -> str:
    (kid,) = [kid for kid, row in listed(hanaper).items() if (row["owner"], row["state"]) == (owner, "active")]
    return kid


def test_a_key_is_announced_activated_and_retired(demo: Hanaper) -> None:
    first = active(demo, 1)
    said = demo("signing-key", "announce", "--product", "demo", "--json")
    second = said.json["kid"]
    assert (said.json["state"], said.json["version"], said.json["owner"]) == ("pending", 2, 1)
    assert f"hanaper signing-key activate {second}" in said.stderr
    assert demo("public-key", "--kid", second).stdout.startswith("-----BEGIN PUBLIC KEY-----")
    assert demo("public-key", "--product", "demo").stdout == demo("public-key", "--kid", first).stdout
    assert demo("signing-key", "activate", second, "--yes", "--json").json["state"] == "active"
    assert demo("public-key", "--product", "demo").stdout == demo("public-key", "--kid", second).stdout
    shown = demo("signing-key", "list").stdout.splitlines()
    assert shown[0].split() == ["kid", "owner", "version", "bits", "state", "created", "at", "retired", "at", "place"]
    assert [line.split()[4] for line in shown[1:]] == ["active", "verify-only", "active"]
    assert "within" not in demo("signing-key", "retire", first, "--yes", "--early").stderr
    assert listed(demo)[first]["state"] == "destroyed"
    demo("check-store")


def test_what_cannot_be_undone_is_asked_for(demo: Hanaper) -> None:
    kid = active(demo, "global")
    waits = demo("signing-key", "announce", "--json").json["kid"]
    for arguments in (("activate", waits), ("rotate",), ("retire", waits)):
        ended = demo("signing-key", *arguments, status=Invalid.exit_status)
        assert "confirm with --yes" in ended.stderr
    assert active(demo, "global") == kid
    assert listed(demo)[waits]["state"] == "pending"


def test_what_is_refused_ends_with_one_line(demo: Hanaper) -> None:
    kid = active(demo, 1)
    refusals = {
        ("retire", kid, "--yes", "--early"): "signs: activate another one first",
        ("retire", "none", "--yes"): "there is no signing key 'none'",
        ("activate", kid, "--yes"): "only a pending one can be activated",
        ("announce", "--product", "none"): "there is no product 'none'",
        ("rewrap",): "HANAPER_OTHER_KEY_ENCRYPTION_KEY_FILE",
    }
    for arguments, words in refusals.items():
        ended = demo("signing-key", *arguments, status=Invalid.exit_status)
        assert words in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
    for more in (("--kid", "none"), ("--kid", kid, "--product", "demo")):
        demo("public-key", *more, status=Invalid.exit_status)


def test_a_key_is_not_retired_while_answers_of_it_are_kept(demo: Hanaper) -> None:
    kid = active(demo, 1)
    with demo.serving() as server:
        status, _, kept = ask_once(server.url, "order-1")
        assert status == 200
        demo("signing-key", "rotate", "--product", "demo", "--yes")
        refused = demo("signing-key", "retire", kid, "--yes", status=Invalid.exit_status)
        assert "or at once with --early" in refused.stderr
        demo.sql("UPDATE signing_keys SET retired_at = '2020-01-01 00:00:00.000000' WHERE kid = :kid", kid=kid)
        refused = demo("signing-key", "retire", kid, "--yes", status=Invalid.exit_status)
        assert "still kept under idempotency keys" in refused.stderr
        assert listed(demo)[kid]["state"] == "verify-only"
        demo("signing-key", "retire", kid, "--yes", "--early")
        assert kid not in published(server.url)
        # The same bytes all the same; and what was signed is checked by the public half.
        assert ask_once(server.url, "order-1") == (200, kid, kept)
        demo("check-store")


def test_the_doctor_tells_of_an_exchange_that_was_not_finished(demo: Hanaper, tmp_path: Path) -> None:
    kid = demo("signing-key", "announce", "--json").json["kid"]

    def warnings(**environment: str) -> list[str]:
        told = within(demo, environment)("doctor", "--strict", "--json", status=EXIT_WARNINGS)
        found = told.json["findings"]
        return [each["text"] for each in found if each["check"] == "signing-keys" and each["verdict"] == "warning"]

    assert warnings() == []
    demo.sql("UPDATE signing_keys SET created_at = '2020-01-01 00:00:00.000000' WHERE kid = :kid", kid=kid)
    assert warnings() == [f"signing key {kid} has waited since 2020-01-01"]
    demo("signing-key", "retire", kid, "--yes")
    new = tmp_path / "new"
    demo("signing-key", "new-kek", str(new))
    assert new.stat().st_mode & 0o777 == 0o600
    demo("signing-key", "new-kek", str(new), status=78)
    old = demo.data_dir / "key-encryption-key"
    exchange = keks(new, old)
    assert warnings(**exchange) == ["some keys are encrypted with the other key encryption key"]
    assert within(demo, exchange)("signing-key", "rewrap").stdout.startswith("3 secrets")
    assert warnings(**exchange) == ["nothing is encrypted with the other key encryption key"]
    assert warnings(HANAPER_KEY_ENCRYPTION_KEY_FILE=str(new)) == []
    assert "is not the one" in demo("signing-key", "list", status=78).stderr


# --- under load ---


def ask(
    connection: http.client.HTTPConnection, idempotency_key: str, api_key: str = SAMPLE_KEY
) -> tuple[int, str, bytes]:
    """Ask for license keys; returns status, key id and body."""
    form = urlencode({"api_key": api_key, "generator_id": 1, "quantity": 2})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": idempotency_key}
    connection.request("POST", "/api/v1/generate", form, headers)
    response = connection.getresponse()
    return response.status, response.headers["X-Signing-Key-Id"], response.read()


def ask_once(url: str, idempotency_key: str, api_key: str = SAMPLE_KEY) -> tuple[int, str, bytes]:
    with closing(connected(url)) as connection:
        return ask(connection, idempotency_key, api_key)


def published(url: str) -> dict[str, Verifier]:
    """The keys at /.well-known/jwks.json, read as any client would."""
    found = {}
    for key in httpx.get(f"{url}/.well-known/jwks.json", timeout=60, trust_env=False).json()["keys"]:
        n, e = (int.from_bytes(base64.urlsafe_b64decode(key[name] + "=="), "big") for name in "ne")
        public = rsa.RSAPublicNumbers(e, n).public_key()
        found[key["kid"]] = Verifier.from_pem(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return found


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer: when its request was sent, and what it said."""

    sent: float
    idempotency_key: str
    status: int
    kid: str
    body: bytes


class Clients(Crowd):
    """Some ask for license keys, some with an API key that there is not: the former are told by the product's key."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(urls[0])
        self.urls = urls
        self.seen: list[Seen] = []
        self.unknown: list[str] = []
        self.unpublished: list[str] = []
        self._known: set[str] = set()

    def run(self, seed: int) -> None:
        """Be one of the clients, of one of the replicas."""
        chance = random.Random(seed)  # noqa: S311 -- a test wants to be repeated
        api_key = SAMPLE_KEY if seed % 3 else str(uuid4())
        with closing(connected(self.urls[seed % len(self.urls)])) as connection:
            while not self.over.is_set():
                name, sent = uuid4().hex, time.monotonic()
                try:
                    status, kid, body = ask(connection, name, api_key)
                except (OSError, http.client.HTTPException) as error:
                    self.unknown.append(type(error).__name__)
                    connection.close()
                    continue
                if kid not in self._known:
                    # Whichever replica is asked: at the time of receipt it is published.
                    keys = published(chance.choice(self.urls))
                    self._known |= keys.keys()
                    if kid not in keys:
                        self.unpublished.append(kid)
                self.seen.append(Seen(sent, name, status, kid, body))

    def use(self, connection: http.client.HTTPConnection, chance: random.Random) -> None:
        """See `run`."""

    def wait_for_more(self, number: int = 40) -> None:
        end = len(self.seen) + number
        deadline = time.monotonic() + 60
        while len(self.seen) < end:
            assert time.monotonic() < deadline, "nobody is answered any more"
            time.sleep(0.01)


@contextmanager
def under_load(hanaper: Hanaper, kind: str, **environment: str) -> Iterator[Clients]:
    """Three servers on PostgreSQL, or one of two processes on SQLite, and clients of theirs."""
    with ExitStack() as stack:
        arguments = () if kind == "postgresql" else ("--workers", "2")
        number = 3 if kind == "postgresql" else 1
        servers = [stack.enter_context(hanaper.serving(*arguments, **environment)) for _ in range(number)]
        clients = Clients([server.url for server in servers])
        for server in servers:
            server.wait_for("Application startup complete.", times=1 if kind == "postgresql" else 2)
        stack.enter_context(at_work(clients.run, range(CLIENTS), clients.end))
        yield clients


@dataclass(frozen=True)
class Rotated:
    """From this moment on a key signs no more."""

    done: float
    kid: str


def rotated(hanaper: Hanaper, clients: Clients, number: int) -> list[Rotated]:
    """Exchange the product's and the global key by turns."""
    done = []
    for turn in range(number):
        owner: tuple[str, ...] = ("--product", "1") if turn % 2 == 0 else ()
        old = active(hanaper, 1 if owner else "global")
        clients.wait_for_more()
        hanaper("signing-key", "rotate", *owner, "--yes")
        done.append(Rotated(time.monotonic(), old))
        clients.wait_for_more()
    return done


def late(seen: list[Seen], rotations: list[Rotated]) -> list[Seen]:
    """Answers by a key that signed no more when their request was sent."""
    return [each for each in seen for turn in rotations if each.kid == turn.kid and each.sent > turn.done]


def is_in_order(hanaper: Hanaper, clients: Clients, rotations: list[Rotated]) -> None:
    """Nothing failed; each answer verifies under the key that it names; none is by a key of the past."""
    assert clients.unknown == []
    assert clients.unpublished == []
    assert [each.status for each in clients.seen if each.status >= 500] == []
    keys = published(clients.urls[-1])
    for each in clients.seen:
        assert keys[each.kid].accepts_envelope(envelope.decode(each.body))
    assert late(clients.seen, rotations) == []
    by_key = {each.kid for each in clients.seen}
    assert {turn.kid for turn in rotations} <= by_key
    # Old answers stay what they were, wherever they are asked for again.
    issued = [each for each in clients.seen if each.status == 200]
    for each in issued[:: max(1, len(issued) // 50)]:
        url = random.choice(clients.urls)  # noqa: S311 -- any
        assert ask_once(url, each.idempotency_key) == (200, each.kid, each.body)
    hanaper("check-store")
    _logger.info(
        "%d rotations, %d answers (%d of license keys), late 0, unverified 0, 5xx 0",
        *(len(rotations), len(clients.seen), len(issued)),
    )


def exchange_under_load(hanaper: Hanaper, kind: str, number: int) -> None:
    with under_load(hanaper, kind) as clients:
        rotations = rotated(hanaper, clients, number)
        clients.end()
        is_in_order(hanaper, clients, rotations)


@pytest.mark.long
@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_no_answer_is_signed_by_a_key_of_the_past(demo_on_either: Hanaper, database_kind: str) -> None:
    exchange_under_load(demo_on_either, database_kind, 2)


@pytest.mark.slow
def test_no_answer_is_signed_by_a_key_of_the_past_for_longer(demo_on_either: Hanaper, database_kind: str) -> None:
    exchange_under_load(demo_on_either, database_kind, ROTATIONS)


@pytest.mark.slow
def test_where_memory_decides_some_are(demo_on_either: Hanaper, database_kind: str) -> None:
    """The planted fault."""
    with under_load(demo_on_either, database_kind, **mutant("trusts_its_memory")) as clients:
        rotations = rotated(demo_on_either, clients, 1)
    found = len(late(clients.seen, rotations))
    _logger.info("%d of %d answers by a key of the past", found, len(clients.seen))
    assert found > 0


# --- another key encryption key ---


def keks(primary: Path, other: Path) -> dict[str, str]:
    return {
        "HANAPER_KEY_ENCRYPTION_KEY_FILE": str(primary),
        "HANAPER_OTHER_KEY_ENCRYPTION_KEY_FILE": str(other),
    }


def wrapped_with(hanaper: Hanaper) -> set[str]:
    with Storage.open(hanaper.settings) as storage:
        return storage.read(store.kek_ids)


@pytest.mark.slow
def test_who_is_killed_while_rewrapping_has_rewrapped_all_or_nothing(
    demo_on_either: Hanaper, database_kind: str, tmp_path: Path
) -> None:
    hanaper, old, new = demo_on_either, demo_on_either.data_dir / "key-encryption-key", tmp_path / "new"
    hanaper("signing-key", "new-kek", str(new))
    before = wrapped_with(hanaper)
    killed = {"COVERAGE_PROCESS_CONFIG": "", **keks(new, old)}
    with under_load(hanaper, database_kind, **keks(old, new)) as clients:
        for number in (1, 2, 3):
            clients.wait_for_more()
            dies = {**mutant("dies_in_rewrap"), "DIE_AT_SECRET": str(number)}
            within(hanaper, {**killed, **dies}).anew("signing-key", "rewrap", status=-signal.SIGKILL)
            assert wrapped_with(hanaper) == before
        dies = {**mutant("dies_in_rewrap"), "DIE_AT_SECRET": "0"}
        within(hanaper, {**killed, **dies}).anew("signing-key", "rewrap", status=-signal.SIGKILL)
        after = wrapped_with(hanaper)
        assert len(after) == 1
        assert after.isdisjoint(before)
        clients.wait_for_more()
        clients.end()
        is_in_order_without_rotation(clients)
    hanaper("check-store", HANAPER_KEY_ENCRYPTION_KEY_FILE=str(new))


def is_in_order_without_rotation(clients: Clients) -> None:
    assert clients.unknown == []
    assert [each.status for each in clients.seen if each.status >= 500] == []
    keys = published(clients.urls[0])
    for each in clients.seen:
        assert keys[each.kid].accepts_envelope(envelope.decode(each.body))


@pytest.mark.slow
def test_in_two_transactions_half_of_it_is_done(demo_on_either: Hanaper, tmp_path: Path) -> None:
    """The planted fault."""
    old, new = demo_on_either.data_dir / "key-encryption-key", tmp_path / "new"
    demo_on_either("signing-key", "new-kek", str(new))
    fault = {"COVERAGE_PROCESS_CONFIG": "", **mutant("rewrap_in_two"), **keks(new, old)}
    within(demo_on_either, fault).anew("signing-key", "rewrap", status=-signal.SIGKILL)
    assert len(wrapped_with(demo_on_either)) == 2
