"""hanaper with a planted fault: nobody listens to what PostgreSQL warns of during a commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hanaper.storage import connection


@contextmanager
def _deaf(_: connection.Connection) -> Iterator[None]:
    yield


patch.object(connection.Connection, "committing", _deaf).start()
