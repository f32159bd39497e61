"""Idempotency keys and real processes: the crash between commit and answer, purging while the server runs."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select, text
from tests.support.load import Acknowledged
from tests.support.mutants import mutant
from tests.support.processes import Hanaper, Server
from tests.support.raw import connected, receive
from tests.support.store_check import Findings, check
from tests.support.twins import LARGE, add_license_key, message

from hanaper.idempotency.models import IdempotencyRecord
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

CALLS: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "generate": ("generate", {"generator_id": 1, "quantity": 5}, {"batches": 1, "license_keys": 5}),
    "large generate": ("generate", {"generator_id": 1, "quantity": LARGE}, {"batches": 1, "license_keys": LARGE}),
    "activate": ("activate", {"license_key": "K", "identifier": "pc"}, {"activations": 1}),
    "create-license-keys": ("create-license-keys", {"licenses": [{"generator_id": 1}] * 3}, {"license_keys": 3}),
    "update-product": ("update-product", {"product_id": 1, "description": "New"}, {}),
}
TABLES = ("batches", "license_keys", "activations", "idempotency_records")


def rows(storage: Storage) -> dict[str, int]:
    def count(session: Session) -> dict[str, int]:
        return {name: session.scalar(text(f"SELECT count(*) FROM {name}")) for name in TABLES}  # noqa: S608 -- see above

    return storage.read(count)


def ask(url: str, path: str, fields: dict[str, Any], key: str) -> httpx.Response:
    with connected(url) as connection:
        connection.sendall(message(path, fields, key.encode()))
        return receive(connection, "POST")


def license_keys(answer: httpx.Response) -> list[str]:
    keys: list[str] = answer.json()["response"]["licenseKeys"]
    return keys


def is_replay(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (200, "true")


@dataclass(frozen=True)
class Mortal:
    """A server with two processes, of which one dies between a commit and its answer when it is told to."""

    server: Server
    storage: Storage
    fuse: Path

    def die_at(self, path: str, fields: dict[str, Any], key: str) -> None:
        """Send a request whose answer will not come."""
        self.fuse.touch()
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(self.server.url, path, fields, key)
        assert not self.fuse.exists()


@contextmanager
def mortal(hanaper: Hanaper, fault: str) -> Iterator[Mortal]:
    fuse = hanaper.folder / "die"
    environment = {**mutant(fault), "DIE_AFTER_COMMIT": str(fuse), "HANAPER_MAX_QUANTITY": "2000"}
    # Who is killed reports no coverage.
    with (
        Storage.open(hanaper.settings) as storage,
        hanaper.serving("--workers", "2", **environment) as server,
    ):
        server.wait_for("Application startup complete.", times=2)
        yield Mortal(server, storage, fuse)


def test_who_dies_before_answering_has_the_answer_kept(demo_on_either: Hanaper) -> None:
    """The retry gets the very bytes: the other process has them."""
    acknowledged = []
    with mortal(demo_on_either, "dies_after_commit") as dying:
        dying.storage.write(lambda session: add_license_key(session, "K"))
        for path, fields, effect in CALLS.values():
            key, before = uuid4().hex, rows(dying.storage)
            dying.die_at(path, fields, key)
            done = rows(dying.storage)
            came = {name: done[name] - before[name] for name in TABLES if done[name] != before[name]}
            assert came == {**effect, "idempotency_records": 1}
            newest = select(IdempotencyRecord.body).order_by(IdempotencyRecord.created_at.desc()).limit(1)
            kept = dying.storage.read(lambda session, newest=newest: session.scalars(newest).one())  # type: ignore[misc]
            # The other process has it; or one that was not yet there, if both have died by now.
            for _ in range(2):
                answer = ask(dying.server.url, path, fields, key)
                is_replay(answer)
                assert answer.content == kept
            assert rows(dying.storage) == done
            if path == "generate":
                acknowledged.append(Acknowledged.from_body(kept))
        pem = (demo_on_either.data_dir / "public-keys" / "product-1.pem").read_bytes()
        # The three of create-license-keys, and the one that was activated.
        assert check(dying.storage, pem, acknowledged) == Findings(without_batch=4)


def test_a_record_that_is_committed_after_its_batch_is_found(demo_on_either: Hanaper) -> None:
    """The planted fault: who asks again is given other license keys."""
    path, fields, _ = CALLS["generate"]
    with mortal(demo_on_either, "record_after_batch") as dying:
        key = uuid4().hex
        dying.die_at(path, fields, key)
        assert rows(dying.storage)["batches"] == 1
        answer = ask(dying.server.url, path, fields, key)
        with pytest.raises(AssertionError):
            is_replay(answer)
        assert rows(dying.storage)["batches"] == 2


FILL = """
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1200)
    INSERT INTO idempotency_records (scope, api_key_id, endpoint, fingerprint, request_id, code, signing_key_id, body,
        created_at)
    SELECT {digest}, 1, 'generate', {digest}, 'r', 815, 1, {digest}, {moment} FROM numbers
"""
MOMENTS = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now', '-{} days')",
    "postgresql": "now() - interval '{} days'",
}


def test_a_running_server_purges_what_is_older_than_seven_days(demo_on_either: Hanaper, database_kind: str) -> None:
    path, fields, _ = CALLS["generate"]
    old, young = uuid4().hex, uuid4().hex
    moment = MOMENTS[database_kind]
    digest = {"sqlite": "randomblob(32)", "postgresql": "sha256(n::text::bytea)"}[database_kind]
    with Storage.open(demo_on_either.settings) as storage:
        with demo_on_either.serving() as server:
            first, kept = ask(server.url, path, fields, old), ask(server.url, path, fields, young)
            is_replay(ask(server.url, path, fields, old))
            # It looks every ten minutes only.
            assert server.stop() == 0
        by_body = "UPDATE idempotency_records SET created_at = {} WHERE body = :body"
        demo_on_either.sql(by_body.format(moment.format("7.01")), body=first.content)
        demo_on_either.sql(by_body.format(moment.format("6.99")), body=kept.content)
        demo_on_either.sql(FILL.format(digest=digest, moment=moment.format(8)))
        assert rows(storage)["idempotency_records"] == 1202
        with demo_on_either.serving(**mutant("hasty_purge")) as server:
            told = server.wait_for("old idempotency records deleted")
            assert (told["records"], told["level"]) == (1201, "info")
            assert rows(storage)["idempotency_records"] == 1
            replay = ask(server.url, path, fields, young)
            is_replay(replay)
            assert replay.content == kept.content
            anew = ask(server.url, path, fields, old)
            assert "idempotent-replayed" not in anew.headers
            assert not {*license_keys(anew)} & {*license_keys(first)}
            is_replay(ask(server.url, path, fields, old))
            assert server.stop() == 0
            assert "warning" not in {json.loads(line)["level"] for line in server.lines}
