"""Migrations: Alembic, from the folder `alembic/` that travels with the package."""

from collections.abc import Callable
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, ProgrammingError

from hanaper.refusal import Misconfigured
from hanaper.storage.transactions import Storage, lock_file, reason, translated
from hanaper.storage.turn_lock import TurnLock


def scripts() -> Path:
    """The folder of the migrations: inside an installed package, or the top level of a source tree.

    Raises:
        Misconfigured: neither is there; the installation is broken.
    """
    package = Path(str(files("hanaper")))
    for folder in (package / "migrations", package.parents[1] / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise Misconfigured(f"the migrations are missing from {package}: install hanaper again")


def head() -> str:
    """The revision this code expects."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None, "the migrations hold at least one revision"  # noqa: S101 -- a broken package
    return revision


def current(storage: Storage) -> str | None:
    """The revision of the database; None when it is empty."""
    with translated(), storage.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(storage: Storage, revision: str = "head") -> None:
    """Bring the schema forward, all steps in one transaction, one process at a time."""
    _run(storage, lambda config: command.upgrade(config, revision))


def downgrade(storage: Storage, revision: str) -> None:
    """Take the schema back."""
    _run(storage, lambda config: command.downgrade(config, revision))


def require_current(storage: Storage) -> None:
    """Make sure that the schema is the one this code expects.

    Raises:
        Misconfigured: it is older, newer or missing; the text names the command that helps.
    """
    found = current(storage)
    if found == head():
        return
    if found is None:
        raise Misconfigured(f"{storage.database.shown} has no hanaper schema yet: run `hanaper init` first")
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found not in known:
        raise Misconfigured(
            f"{storage.database.shown} has schema {found}, which is newer than this hanaper: install the newer release"
        )
    raise Misconfigured(
        f"{storage.database.shown} has schema {found}, but {head()} is needed: "
        "make a backup, then run `hanaper db upgrade` (or start with `hanaper serve --migrate`)"
    )


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _run(storage: Storage, migrate: Callable[[Config], None]) -> None:
    with translated(), ExitStack() as stack:
        engine = storage.engine
        if storage.database.file is not None:
            stack.enter_context(TurnLock(lock_file(storage.database.file)))
            engine = engine.execution_options(hanaper_writes=True)
        connection = stack.enter_context(engine.begin())
        if storage.database.file is None:
            # Replicas that start together migrate one after the other. The number is hanaper's own.
            connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(4841504552)")
        try:
            migrate(_config(connection))
        except (ProgrammingError, OperationalError) as error:
            # PostgreSQL calls a table that is there, or a missing privilege, a programming error.
            if isinstance(error, OperationalError) and "already exists" not in str(error.orig):
                raise
            raise Misconfigured(
                f"{storage.database.shown} cannot be migrated ({reason(error)}); nothing has been changed. "
                "Name a database that holds nothing else, and belongs to the user hanaper connects as"
            ) from error
