"""Restoring a backup into an empty place, in quarantine from its first moment."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hanaper.audit.record import about, is_kept, record
from hanaper.backup import archive, store
from hanaper.backup.contents import REASON, Contents, knows_tokens, require_known
from hanaper.backup.new_file import new_file
from hanaper.clock import iso_z, plain
from hanaper.issuing import staging
from hanaper.keystore import pepper
from hanaper.keystore import store as keys
from hanaper.keystore.keys import Keystore
from hanaper.refusal import Invalid, Unavailable
from hanaper.settings import Settings
from hanaper.storage import quarantine, schema, sqlite_copy
from hanaper.storage.engine import locate
from hanaper.storage.postgresql_tools import Tools
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage, lock_file
from hanaper.storage.turn_lock import TurnLock

Advance = Callable[[int], None]

_OF_SQLITE = b"SQLite format 3\0"
_OF_POSTGRESQL = b"PGDMP"
_COPIED_AT_ONCE = 2**22
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored database.

    Attributes:
        as_of: the moment of the backup.
        schema: its revision.
        is_current: whether that is the schema this hanaper needs.
    """

    shown: str
    as_of: datetime
    schema: str
    is_current: bool


def restore(settings: Settings, file: Path, *, now: datetime, advance: Advance = lambda _: None) -> Restored:
    """Restore a backup.

    Everything is looked at before anything is changed. Killed at any moment, this leaves nothing, or a database that
    serves nobody, or one in quarantine.

    Args:
        advance: told how many more bytes have been copied; on SQLite only.

    Raises:
        Invalid: the backup is damaged or none, or there is a database already.
        Misconfigured: the key encryption key is missing or another, or the schema is newer than this hanaper.
        Unavailable: the database does not answer, or cannot be written.
    """
    database = locate(settings.database, settings.database_password_file)
    is_sqlite = _kind(file) == _OF_SQLITE
    if is_sqlite != (database.file is not None):
        kind, names = ("SQLite", "PostgreSQL") if is_sqlite else ("PostgreSQL", "SQLite")
        raise Invalid(f"{file} is a backup of {kind}, and the settings name a database of {names}: {database.shown}")
    keystore = Keystore.from_settings(settings)
    if database.file is not None:
        contents = _restore_sqlite(database.file, file, keystore, now, advance)
    else:
        with Storage.open(settings) as storage:
            contents = _restore_postgresql(storage, file, keystore, now)
    is_current = contents.revision == schema.head()
    if is_current:
        with Storage.open(settings) as storage:
            _clear_staged(storage)
    return Restored(database.shown, contents.as_of, contents.revision, is_current)


def _kind(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            head = stream.read(len(_OF_SQLITE))
    except OSError as error:
        raise Invalid(f"{file} cannot be read ({error.strerror})") from error
    for kind in (_OF_SQLITE, _OF_POSTGRESQL):
        if head.startswith(kind):
            return kind
    raise Invalid(f"{file} is no backup: neither of SQLite nor of PostgreSQL")


def _restore_sqlite(target: Path, file: Path, keystore: Keystore, now: datetime, advance: Advance) -> Contents:
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Invalid(f"the folder {target.parent} cannot be made ({error.strerror})") from error
    # Whoever makes a new database there has to wait, and finds this one.
    with TurnLock(lock_file(target)):
        sqlite_copy.make_room(target)
        with new_file(target) as unfinished:
            _copy_bytes(file, unfinished, advance)
            contents = _of_sqlite(unfinished, file)
            contents.require_keys(keystore)
            sqlite_copy.write_alone(unfinished, lambda session: _put_in_quarantine(session, file, contents, now))
    return contents


def _copy_bytes(file: Path, target: Path, advance: Advance) -> None:
    try:
        with file.open("rb") as read, target.open("r+b") as write:
            while part := read.read(_COPIED_AT_ONCE):
                write.write(part)
                advance(len(part))
    except OSError as error:
        raise Unavailable(f"{file} cannot be copied to {target.parent} ({error.strerror})") from error


def _of_sqlite(copied: Path, file: Path) -> Contents:
    damage = sqlite_copy.damage(copied)
    if damage is not None:
        raise Invalid(f"{file} is damaged, or cut off ({damage}): take another backup")
    with sqlite_copy.storage_of(copied) as storage:
        revision = schema.current(storage)
        if revision is None:
            raise Invalid(f"{file} is a database of SQLite, but not of hanaper")
        require_known(revision, str(file))

        def look(session: Session) -> Contents | None:
            mark = quarantine.current(session)
            if mark is None or mark.reason != REASON:
                return None
            signing_keys = keys.usable(session, knows_tokens=knows_tokens(revision))
            return Contents(revision, signing_keys, keys.secret(session, pepper.NAME), mark.since)

        try:
            contents = storage.read(look)
        except ValueError as error:  # SQLite does not mind what is in a column.
            raise Invalid(f"{file} is damaged: take another backup") from error
    if contents is None:
        raise Invalid(
            f"{file} was not made by `hanaper backup`: keep all servers off, put it in its place yourself, and run "
            "`hanaper quarantine on --reason ...` before one is started"
        )
    return contents


def _restore_postgresql(storage: Storage, file: Path, keystore: Keystore, now: datetime) -> Contents:
    tools = Tools.find(storage)
    if not storage.read(store.is_empty):
        raise Invalid(
            f"{storage.database.shown} is not empty: a backup is restored into an empty place only. "
            "Stop the server, make a new database, and name it by HANAPER_DATABASE_URL"
        )
    contents = archive.read(tools, file)
    require_known(contents.revision, str(file))
    contents.require_keys(keystore)
    tools.restore_dump(file)
    # Until here nobody can be served: the version of the configuration is not in the backup.
    storage.write(lambda session: _put_in_quarantine(session, file, contents, now))
    return contents


def _put_in_quarantine(session: Session, file: Path, contents: Contents, now: datetime) -> None:
    """Put a restored database in quarantine, and write down where it comes from, if it has an audit log yet."""
    quarantine.leave(session)  # The one it was in when the backup was made; a backup of SQLite always is in one.
    quarantine.enter(session, f"restored from {_name(file)}, a backup of {plain(contents.as_of)} UTC", now=now)
    if is_kept(contents.revision):
        about(session, backup=_name(file), as_of=iso_z(contents.as_of), schema=contents.revision)
        record(session, "restore", now=now)


def _clear_staged(storage: Storage) -> None:
    """Clear away large orders that were being stored: nobody is at work at them here."""
    for batch_id in storage.read(store.staged):
        staging.discard(storage, batch_id)


def _name(file: Path) -> str:
    return "".join(mark if mark.isprintable() else "?" for mark in file.name)[:_LONGEST_NAME]
