"""hanaper with a planted fault: it waits for PostgreSQL as long as it takes."""

from unittest.mock import patch

from hanaper.storage import connection

patch.object(connection.Connection, "_bounded", lambda _, gen: gen).start()
