"""One state of the database for many queries."""

from sqlalchemy import text
from sqlalchemy.orm import Session


def one_snapshot(session: Session) -> None:
    """Make all queries of a transaction see one state. The first thing in it."""
    if session.get_bind().dialect.name == "sqlite":
        return  # Its read transactions are snapshots.
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    session.connection(execution_options=options)
    # Sorting millions of texts takes longer than any request may.
    session.execute(text("SET LOCAL statement_timeout = 0"))
    session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
