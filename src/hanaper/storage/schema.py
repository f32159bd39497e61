"""The schema a database has, and the one this code expects. Without Alembic, which a server never needs (10 MB)."""

import re
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from hanaper.refusal import Misconfigured
from hanaper.storage.failures import translated
from hanaper.storage.transactions import Storage

_REVISION = re.compile(r'^(?:revision|down_revision) = "([^"]+)"$', re.MULTILINE)


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


def revisions() -> list[str]:
    """All revisions there are, oldest first."""
    follows: dict[str | None, str] = {}
    for file in (scripts() / "versions").glob("*.py"):
        revision, *before = _REVISION.findall(file.read_text(encoding="utf-8"))
        follows[before[0] if before else None] = revision
    found: list[str] = []
    while (following := follows.get(found[-1] if found else None)) is not None:
        found.append(following)
    return found


def is_since(revision: str, first: str) -> bool:
    """Whether a schema is a certain one, or a later one.

    Raises:
        ValueError: one of them is none of this program's.
    """
    known = revisions()
    return known.index(revision) >= known.index(first)


def head() -> str:
    """The revision this code expects."""
    return revisions()[-1]


def current(storage: Storage) -> str | None:
    """The revision of the database; None when it is empty."""
    with translated(storage.database.file), storage.engine.connect() as connection:
        return seen_by(connection)


def seen_by(connection: Connection) -> str | None:
    """The revision as a transaction sees it; None when the database is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


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
    if found not in revisions():
        raise Misconfigured(
            f"{storage.database.shown} has schema {found}, which is newer than this hanaper: install the newer release"
        )
    raise Misconfigured(
        f"{storage.database.shown} has schema {found}, but {head()} is needed: "
        "make a backup, then run `hanaper db upgrade` (or start with `hanaper serve --migrate`)"
    )
