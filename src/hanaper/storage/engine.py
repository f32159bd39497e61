"""One engine per process, for SQLite or PostgreSQL."""

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool

from hanaper.refusal import Misconfigured, Unavailable
from hanaper.storage import postgresql, sqlite

POOL_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Database:
    """Where the data lies.

    Attributes:
        url: for SQLAlchemy, driver named.
        file: the SQLite file, absolute; None on PostgreSQL.
    """

    url: URL
    file: Path | None

    @property
    def shown(self) -> str:
        """The URL for people: without the password and the driver."""
        return self.url.set(drivername=self.url.get_backend_name()).render_as_string(hide_password=True)


def locate(database_url: str) -> Database:
    """Read HANAPER_DATABASE_URL.

    Raises:
        Misconfigured: no URL, or not one of a database that is supported. The text does not repeat the URL, which
            may hold a password.
    """
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise Misconfigured(
            "HANAPER_DATABASE_URL is not a database URL: use postgresql://user:password@host/name "
            "or sqlite:////absolute/path.db"
        ) from error
    match url.get_backend_name():
        case "sqlite":
            if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
                raise Misconfigured("HANAPER_DATABASE_URL names no SQLite file: use sqlite:////absolute/path.db")
            file = Path(url.database).expanduser().absolute()
            return Database(URL.create("sqlite", database=str(file)), file)
        case "postgresql" | "postgres":
            return Database(url.set(drivername="postgresql+psycopg"), None)
        case other:
            raise Misconfigured(f"HANAPER_DATABASE_URL names {other}: supported are postgresql and sqlite")


def connect(database: Database, *, pool_size: int) -> Engine:
    """Make the engine. Nothing is opened yet, save that a missing SQLite file is created for its owner only.

    Raises:
        Unavailable: the folder of the SQLite file cannot be written.
    """
    # Parameters are hidden in error texts: among them are license keys.
    if database.file is not None:
        _create_private(database.file)
        module = sqlite.library()
        engine = create_engine(
            database.url,
            module=module,
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            hide_parameters=True,
        )
        sqlite.prepare(engine, module)
        return engine
    engine = create_engine(
        database.url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=postgresql.CONNECT_ARGUMENTS,
    )
    postgresql.prepare(engine)
    return engine


def _create_private(file: Path) -> None:
    if file.exists():
        return
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise Unavailable(f"the database {file} cannot be created: {error.strerror}") from error
