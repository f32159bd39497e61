"""Queries of the diagnosis: what a database says of itself, and what is stored last."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from hanaper.access.models import ApiKey
from hanaper.issuing.models import Batch
from hanaper.licenses.models import LicenseKey
from hanaper.refusal import Misconfigured
from hanaper.storage.failures import reason


@dataclass(frozen=True, slots=True)
class Sqlite:
    """What SQLite says on one of hanaper's own connections.

    Attributes:
        synchronous: 0 off, 1 normal, 2 full, 3 extra.
    """

    version: str
    journal_mode: str
    synchronous: int


@dataclass(frozen=True, slots=True)
class Postgresql:
    """What PostgreSQL says on one of hanaper's own connections.

    Attributes:
        version: as 150004 for 15.4.
        synchronous_commit: of this connection.
        default_synchronous_commit: what a connection gets that asks for nothing.
        standbys: how many are attached.
        read_only: whether transactions are, unless they ask to write.
        connections: how many this role may have to this database; reserved ones are not counted.
        role: the name of the user.
        rights: that go beyond one database, as in CREATE ROLE.
    """

    version: int
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    default_synchronous_commit: str
    wal_level: str
    synchronous_standby_names: str
    standbys: int
    in_recovery: bool
    read_only: bool
    connections: int
    role: str
    rights: tuple[str, ...]


_POSTGRESQL = text("""
    SELECT
        current_setting('server_version_num')::int AS version,
        current_setting('fsync') AS fsync,
        current_setting('full_page_writes') AS full_page_writes,
        current_setting('synchronous_commit') AS synchronous_commit,
        (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS default_synchronous_commit,
        current_setting('wal_level') AS wal_level,
        current_setting('synchronous_standby_names') AS synchronous_standby_names,
        -- A base backup comes and goes by the same way as standbys do.
        (SELECT count(*) FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup') AS standbys,
        pg_is_in_recovery() AS in_recovery,
        current_setting('default_transaction_read_only')::bool AS read_only,
        current_user::text AS role
""")
_CONNECTIONS = text("""
    SELECT least(
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true), '0')::int,
        -- -1: no limit.
        nullif((SELECT datconnlimit FROM pg_database WHERE datname = current_database()), -1),
        nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1)
    )
""")
_RIGHTS = text("""
    SELECT rolsuper AS "SUPERUSER", rolcreaterole AS "CREATEROLE", rolcreatedb AS "CREATEDB",
        rolreplication AS "REPLICATION", rolbypassrls AS "BYPASSRLS"
    FROM pg_roles WHERE rolname = current_user
""")


@contextmanager
def permitted() -> Iterator[None]:
    """Name what PostgreSQL does not let the role look at.

    Raises:
        Misconfigured: there is something.
    """
    try:
        yield
    except ProgrammingError as error:
        raise Misconfigured(
            f"the role may not look at what it needs ({reason(error)}): let it own the database and its tables"
        ) from error


def sqlite(session: Session) -> Sqlite:
    """How one of hanaper's own connections is set up."""
    return Sqlite(
        version=session.scalars(text("SELECT sqlite_version()")).one(),
        journal_mode=session.scalars(text("PRAGMA journal_mode")).one(),
        synchronous=session.scalars(text("PRAGMA synchronous")).one(),
    )


def postgresql(session: Session) -> Postgresql:
    """How the server is set up, and the role that hanaper connects as."""
    rights = session.execute(_RIGHTS).mappings().one()
    return Postgresql(
        **session.execute(_POSTGRESQL).mappings().one(),
        connections=session.scalars(_CONNECTIONS).one(),
        rights=tuple(name for name, has in rights.items() if has),
    )


def postgresql_time(session: Session) -> datetime:
    """What time it is for PostgreSQL."""
    moment: datetime = session.scalars(text("SELECT clock_timestamp()")).one()
    return moment


def newest(session: Session) -> datetime | None:
    """When the newest batch or license key was made, by the clock of whoever made it; None where there is none.

    By id: there is no index by time, and a large table is not read through for this.
    """
    found = [
        session.scalars(select(table.created_at).order_by(table.id.desc()).limit(1)).first()
        for table in (Batch, LicenseKey)
    ]
    return max((moment for moment in found if moment is not None), default=None)


def has_demo_key(session: Session) -> bool:
    """Whether the published sample key opens anything."""
    demo = select(ApiKey.id).where(ApiKey.kind == "demo", ApiKey.status == "active")
    return session.scalars(demo.limit(1)).first() is not None
