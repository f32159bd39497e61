"""One engine per process, for SQLite or PostgreSQL."""

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from hanaper.metrics.meter import Meter
from hanaper.refusal import Misconfigured, Unavailable
from hanaper.storage import postgresql, sqlite

POOL_TIMEOUT_S = 5
LONGEST_EXCHANGE_S = 7
"""With PostgreSQL, of a serving process: less than a request waits (decision 0016)."""

LONGEST_EXCHANGE_OF_A_COMMAND_S = 20
"""More than `statement_timeout`, which then tells for certain that nothing was done."""


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
        """The URL for people: without the password and the driver. libpq takes passwords as parameters, too."""
        url = self.url.difference_update_query([name for name in self.url.query if "pass" in name])
        return url.set(drivername=self.url.get_backend_name()).render_as_string(hide_password=True)


def locate(database_url: str, password_file: Path | None = None) -> Database:
    """Read HANAPER_DATABASE_URL, and HANAPER_DATABASE_PASSWORD_FILE where it is set.

    Raises:
        Misconfigured: no URL, or not one of a database that is supported; or the password cannot be had from its file.
            The text does not repeat the URL, which may hold a password.
    """
    try:
        url = make_url(database_url)
        # What it makes of a password with an unescaped `@`, later texts would show as the name of the host.
        usable = url.host is None or "@" not in url.host
    except (ArgumentError, ValueError):  # the latter where the port is no number
        usable = False
    if not usable:
        raise Misconfigured(
            "HANAPER_DATABASE_URL is not a database URL: use postgresql://user:password@host/name, with special "
            "characters of the password percent-encoded, or sqlite:////absolute/path.db"
        )
    match url.get_backend_name():
        case "sqlite":
            if password_file is not None:
                # Most likely the URL was forgotten: then keys would go into a database nobody knows of.
                raise Misconfigured(
                    f"HANAPER_DATABASE_PASSWORD_FILE names {password_file}, but SQLite has no password: "
                    "set HANAPER_DATABASE_URL to a PostgreSQL database, or leave the file out"
                )
            if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
                raise Misconfigured("HANAPER_DATABASE_URL names no SQLite file: use sqlite:////absolute/path.db")
            file = Path(url.database).expanduser().absolute()
            return Database(URL.create("sqlite", database=str(file)), file)
        case "postgresql" | "postgres":
            url = url.set(drivername="postgresql+psycopg")
            return Database(url if password_file is None else _with_password(url, password_file), None)
        case other:
            raise Misconfigured(f"HANAPER_DATABASE_URL names {other}: supported are postgresql and sqlite")


def require_file(database: Database) -> None:
    """Make sure that a SQLite database is there.

    Raises:
        Misconfigured: it is not.
    """
    if database.file is not None and not database.file.exists():
        raise Misconfigured(
            f"there is no database {database.file}: run `hanaper init` first, or put it back from its backup"
        )


def connect(database: Database, *, pool_size: int, serving: bool = False) -> Engine:
    """Make the engine. Nothing is opened yet, save that a missing SQLite file is created for its owner only.

    Args:
        serving: for a process that serves requests; commands are more patient.

    Raises:
        Misconfigured: a parameter of the database URL is not usable.
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
            # The connection that wrote last has the pages of the indexes in its cache.
            pool_use_lifo=True,
            hide_parameters=True,
        )
        sqlite.prepare(engine, module, database.file)
        return engine
    try:
        engine = create_engine(
            database.url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=postgresql.CONNECT_ARGUMENTS,
        )
    except ArgumentError as error:
        raise Misconfigured("HANAPER_DATABASE_URL has a parameter with a value that is not allowed there") from error
    postgresql.prepare(engine, longest_exchange_s=LONGEST_EXCHANGE_S if serving else LONGEST_EXCHANGE_OF_A_COMMAND_S)
    return engine


def watch(engine: Engine, meter: Meter) -> None:
    """Have a meter told of the connections that are at work."""

    # Last, so that it is not told of one that turns out to be unusable.
    @event.listens_for(engine, "checkout")
    def _taken(_connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
        # Not `info`, which is emptied when a connection breaks.
        assert entry.record_info is not None  # noqa: S101 -- narrows the type
        entry.record_info["counted"] = True
        meter.connection_taken()

    @event.listens_for(engine, "checkin")
    def _given_back(_connection: object, entry: ConnectionPoolEntry) -> None:
        if entry.record_info is not None and entry.record_info.pop("counted", False):
            meter.connection_given_back()


def _with_password(url: URL, file: Path) -> URL:
    # The mode of the file is not looked at: the engine mounts one secret for users of several containers.
    if url.password is not None:
        raise Misconfigured(
            f"HANAPER_DATABASE_URL holds a password and HANAPER_DATABASE_PASSWORD_FILE names {file}: use one of them"
        )
    try:
        password = file.expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Misconfigured(f"the database password {file} cannot be read ({reason})") from error
    if not password or not password.isprintable():
        raise Misconfigured(f"the database password {file} is not one line of text: put the password there")
    return url.set(password=password)


def _create_private(file: Path) -> None:
    if file.exists():
        return
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise Unavailable(f"the database {file} cannot be created: {error.strerror}") from error
