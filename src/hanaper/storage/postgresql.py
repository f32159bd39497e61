"""PostgreSQL: how each connection is set up (reliability.md 4.6)."""

from typing import Any

from sqlalchemy import Engine, event

CONNECT_ARGUMENTS: dict[str, object] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "hanaper",
}

_ON_CONNECT = (
    # Durability is not the operator's to weaken by accident. `remote_apply` is stronger than `on` and stays.
    """SELECT set_config('synchronous_commit', 'on', false)
       WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')""",
    "SET lock_timeout = '5s'",
    "SET statement_timeout = '15s'",
    "SET idle_in_transaction_session_timeout = '10s'",
    "SET timezone = 'UTC'",
)


def prepare(engine: Engine, *, longest_exchange_s: float) -> None:
    """Register what each new connection begins with."""
    import psycopg  # noqa: PLC0415 -- SQLite does without the driver

    from hanaper.storage.connection import Connection, Standby  # noqa: PLC0415 -- as above

    standby = Standby()

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: Any, options: Any) -> Connection:
        try:
            connection = Connection.connect(*arguments, **options)
        except psycopg.Error as error:
            # The driver's frame and its error hold each other, and the socket, until the garbage is collected.
            raise error.with_traceback(None) from None
        connection.longest_exchange_s = longest_exchange_s
        connection.standby = standby
        return connection

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        # Without a transaction around them: two round trips less.
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in _ON_CONNECT:
                cursor.execute(statement)
        connection.autocommit = False
