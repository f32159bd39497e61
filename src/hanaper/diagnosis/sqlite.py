"""SQLite: the library, and how connections are set up."""

from collections.abc import Iterator

from hanaper.diagnosis.finding import Finding
from hanaper.diagnosis.store import Sqlite
from hanaper.storage.sqlite import FIRST_SAFE_FOR_WAL, journal_mode

_FULL = 2


def library(found: Sqlite) -> Iterator[Finding]:
    """Whether the library is new enough for the fast journal."""
    version = tuple(int(number) for number in found.version.split("."))
    safe = ".".join(map(str, FIRST_SAFE_FOR_WAL))
    if version < FIRST_SAFE_FOR_WAL:
        yield Finding.warning(
            "sqlite-library",
            f"SQLite {found.version} is older than {safe}, so the slower journal is used",
            f"install pysqlite3, or run hanaper with a Python whose SQLite is {safe} or newer",
        )
    else:
        yield Finding.ok("sqlite-library", f"SQLite {found.version}")


def durability(found: Sqlite) -> Iterator[Finding]:
    """Whether what is committed is on the disk."""
    check = "sqlite-durability"
    wanted = journal_mode(tuple(int(number) for number in found.version.split(".")))
    text = f"journal_mode={found.journal_mode}, synchronous={found.synchronous}"
    if found.synchronous < _FULL or found.journal_mode != wanted:
        yield Finding.problem(
            check,
            f"{text}, where {wanted} and {_FULL} (FULL) are needed: a loss of power may lose acknowledged license keys",
            "install hanaper again from its release: it sets both on each connection",
        )
    else:
        yield Finding.ok(check, text)
