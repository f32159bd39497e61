"""A server whose clock is set while it runs signs no wrong time (T22)."""

import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.support.fake_time import IN_1969, FakeTime
from tests.support.mutants import mutant
from tests.support.processes import Hanaper, Server

from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

FORM = {"api_key": "2964c3c9-0b5d-4d89-b3ac-4668f30bc492", "generator_id": "1", "quantity": "1"}
TEN_YEARS_S = 10 * 365 * 86_400
WRONG = "the clock is wrong: nothing is signed"
RIGHT = "the clock is right again"
LONGEST_S = 30


class Asked:
    """A server that is asked for license keys, and what it said."""

    def __init__(self, server: Server, client: httpx.Client) -> None:
        self.timestamps: list[int] = []
        self.server = server
        self._client = client

    def signed(self) -> int:
        """Ask; returns the time that was signed."""
        answer = self._client.post("/api/v1/generate", data=FORM)
        assert answer.status_code == 200
        payload: dict[str, Any] = answer.json()["response"]
        assert payload["code"] == 815
        self.timestamps.append(payload["timestamp"])
        return self.timestamps[-1]

    def nothing_is_signed(self) -> None:
        """Nobody is told anything, neither license keys nor refusals; who asks why is told."""
        for method, path, fields in (
            ("POST", "/api/v1/generate", FORM),
            ("POST", "/api/v1/generate", {**FORM, "api_key": "wrong"}),
            ("POST", "/v1/verify", {"api_key": FORM["api_key"], "license_key": "none"}),
            ("POST", "/v1/activate", {"api_key": FORM["api_key"], "license_key": "none"}),
            ("GET", "/api/v1/get-all-generators?api_key=" + FORM["api_key"], None),
            ("GET", "/unknown", None),
            ("PUT", "/api/v1/generate", None),
        ):
            answer = self._client.request(method, path, data=fields)
            assert (answer.status_code, answer.content, answer.headers.get("retry-after")) == (503, b"", "5"), path
        assert self._client.get("/healthz").status_code == 200

    def readiness(self, status: int, says: str) -> None:
        """Wait until /readyz has this status and says this; what it has seen it says for a second."""
        deadline = time.monotonic() + LONGEST_S
        while (answer := self._client.get("/readyz")).status_code != status or says not in answer.text:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
        assert len(answer.text.splitlines()) == 1

    def said(self, event: str) -> int:
        return len(self.server.events(event))

    def wrong_for_a_while(self, fake: FakeTime, offset: str, *, reason: str) -> None:
        """Set the clock wrong and right again."""
        before = (self.said(WRONG), self.said(RIGHT))
        fake.add(offset)
        self.nothing_is_signed()
        self.readiness(503, reason)
        self.nothing_is_signed()
        assert (self.said(WRONG), self.said(RIGHT)) == (before[0] + 1, before[1])
        fake.add("+0")
        assert abs(self.signed() - time.time()) < LONGEST_S
        self.signed()
        assert (self.said(WRONG), self.said(RIGHT)) == (before[0] + 1, before[1] + 1)


def test_a_wrong_time_is_never_signed(demo_on_either: Hanaper, database_kind: str, tmp_path: Path) -> None:
    fake = FakeTime(tmp_path)
    fake.add(IN_1969 if database_kind == "sqlite" else "-3600")
    with (
        demo_on_either.serving(**fake.environment) as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        asked = Asked(server, client)
        # Wrong from the start.
        asked.nothing_is_signed()
        reason = "before this release was made" if database_kind == "sqlite" else "s behind the database's"
        asked.readiness(503, reason)
        fake.add("+0")
        asked.signed()
        asked.readiness(200, "ready\n")
        # A little back: the last time stands still.
        before = asked.said(WRONG)
        last = asked.signed()
        fake.add("-3")
        # The clock has gone on after that was signed, and what works in the background looks at it, too.
        assert last <= asked.signed() <= last + 2
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            asked.signed()
        asked.readiness(200, "ready\n")
        fake.add("+0")
        asked.signed()
        assert asked.said(WRONG) == before
        asked.wrong_for_a_while(fake, "-3600", reason="s behind what it said before")
        asked.wrong_for_a_while(fake, IN_1969, reason="it says 1969-11-")
        if database_kind == "postgresql":
            asked.wrong_for_a_while(fake, "+10y", reason="s ahead of the database's")
            asked.readiness(200, "ready\n")
        else:
            _jump_ahead_with_nobody_to_ask(asked, fake)
        assert all(earlier <= later for earlier, later in pairwise(asked.timestamps))
        assert server.stop() == 0
    # Whoever was told nothing has been given nothing.
    with Storage.open(demo_on_either.settings) as storage:
        stored = storage.read(
            lambda session: session.scalars(text("SELECT signed_at FROM batches ORDER BY signed_at")).all()
        )
    assert stored == asked.timestamps


def _jump_ahead_with_nobody_to_ask(asked: Asked, fake: FakeTime) -> None:
    fake.add("+10y")
    assert asked.signed() > time.time() + TEN_YEARS_S - LONGEST_S
    asked.readiness(200, "ready\n")
    asked.signed()
    assert asked.said("the clock jumped ahead, and there is no other one to ask") == 1
    # There is no way back but by a new start.
    fake.add("+0")
    asked.nothing_is_signed()
    asked.readiness(503, "s behind what it said before")
    assert "restart hanaper" in asked.server.events(WRONG)[-1]["cure"]


def test_a_command_that_signs_tells_in_one_line(demo: Hanaper, tmp_path: Path) -> None:
    fake = FakeTime(tmp_path)
    fake.add(IN_1969)
    arguments = ("--generator", "1", "--quantity", "1")
    ended = replace(demo, environment={**demo.environment, **fake.environment}).anew("generate", *arguments, status=69)
    assert ended.stdout.splitlines() == ["license_key,batch"], "the head of the table"
    assert ended.stderr.splitlines()[-1].startswith("hanaper: the clock of this machine is wrong, it says 1969-11-")
    assert json.loads(demo("key", "list", "--json").stdout) == []


def test_a_server_without_the_guard_is_found(demo: Hanaper, tmp_path: Path) -> None:
    fake = FakeTime(tmp_path)
    with (
        demo.serving(**fake.environment, **mutant("unguarded_clock")) as server,
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        asked = Asked(server, client)
        asked.signed()
        fake.add("-3600")
        with pytest.raises(AssertionError):
            asked.nothing_is_signed()
