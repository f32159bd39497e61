"""All checks, in the order in which one rests upon the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hanaper import RELEASED
from hanaper.diagnosis import clock, disk, exposure, files, postgresql, server, sqlite, store, token
from hanaper.diagnosis.finding import Finding, Verdict
from hanaper.keystore import pepper
from hanaper.keystore import store as keys
from hanaper.keystore.keys import Keystore
from hanaper.refusal import Fault, Misconfigured, TokenAway, Unavailable
from hanaper.settings import Settings
from hanaper.storage import quarantine
from hanaper.storage.engine import Database, locate
from hanaper.storage.schema import require_current
from hanaper.storage.transactions import Storage

CHECKS = (
    *("settings", "address", "trusted-proxies", "server", "data-folder", "key-encryption-key", "token", "database"),
    *("database-file", "file-system", "free-space", "sync-speed", "sqlite-library", "sqlite-durability"),
    *("postgresql-version", "postgresql-durability", "postgresql-replication", "postgresql-writable"),
    *("postgresql-connections", "postgresql-role", "clock", "schema", "restored", "signing-keys", "demo-key"),
    "newest-row",
)
"""In the order in which they are told."""

LONGEST_PENDING = timedelta(days=90)
_OF_SQLITE = "stop other programs that hold the file open; where it is damaged, restore it from a backup"
_OF_POSTGRESQL = "start PostgreSQL, and see whether HANAPER_DATABASE_URL names the right one"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What all checks found.

    Attributes:
        findings: at least one for each check that was made. Those are left out that are for the other database, and
            those that rest upon something that has to be mended first.
    """

    findings: list[Finding]

    @property
    def verdict(self) -> Verdict:
        """That of the worst finding."""
        found = {finding.verdict for finding in self.findings}
        return next(verdict for verdict in (Verdict.PROBLEM, Verdict.WARNING, Verdict.OK) if verdict in found)


def diagnose(settings: Settings) -> Diagnosis:
    """Look at an installation. Nothing is changed, and nothing is made that is not there."""
    found = [Finding.ok("settings", "all of them can be read")]
    found += exposure.address(settings)
    found += exposure.trusted_proxies(settings)
    if settings.port:
        found += server.server(settings)
    try:
        database = locate(settings.database, settings.database_password_file)
    except Misconfigured as fault:
        return Diagnosis([*found, Finding.fault("database", fault, "see docs/settings.md")])
    in_folder = database.file is not None or settings.key_encryption_key_file is None
    found += files.data_folder(settings, needed=in_folder)
    found += files.key_file(settings)
    found += token.token(settings)
    found += _database(settings, database)
    return Diagnosis(found)


def unreadable(fault: Fault) -> Diagnosis:
    """Nothing can be looked at, since a setting cannot be read."""
    return Diagnosis([Finding.problem("settings", str(fault), "docs/settings.md says what each may be")])


def _database(settings: Settings, database: Database) -> Iterator[Finding]:
    if database.file is not None:
        missing = list(files.missing_database(database.file))
        yield from missing
        if missing:
            return  # Opening it would make it.
        yield from files.database_file(database.file)
        yield from disk.file_system(database.file.parent)
        yield from disk.free_space(database.file.parent)
        yield from disk.sync_speed(database.file.parent)
    try:
        with Storage.open(settings) as storage:
            storage.ping()
            yield Finding.ok("database", f"{storage.database.shown} answers")
            with store.permitted():
                yield from _set_up(settings, storage)
                yield from _installation(settings, storage)
    except Fault as fault:
        yield Finding.fault("database", fault, _OF_SQLITE if database.file is not None else _OF_POSTGRESQL)


def _set_up(settings: Settings, storage: Storage) -> Iterator[Finding]:
    if storage.database.file is not None:
        of_sqlite = storage.read(store.sqlite)
        yield from sqlite.library(of_sqlite)
        yield from sqlite.durability(of_sqlite)
        yield from clock.clock(_now, built=RELEASED, ask=None)
        return
    of_postgresql = storage.read(store.postgresql)
    yield from postgresql.version(of_postgresql)
    yield from postgresql.durability(of_postgresql)
    yield from postgresql.replication(of_postgresql)
    yield from postgresql.writable(of_postgresql)
    yield from postgresql.connections(of_postgresql, settings)
    yield from postgresql.role(of_postgresql)
    yield from clock.clock(_now, built=RELEASED, ask=lambda: storage.read(store.postgresql_time))


def _installation(settings: Settings, storage: Storage) -> Iterator[Finding]:
    try:
        require_current(storage)
    except Misconfigured as fault:
        yield Finding.fault("schema", fault, "hanaper db upgrade")
        return  # What follows reads tables as this version has them.
    yield Finding.ok("schema", "it is the one this version needs")
    yield from _restored(storage)
    try:
        keystore = Keystore.from_settings(settings)
    except Misconfigured:
        pass  # Told already, by its own check.
    else:
        yield from _signing_keys(settings, keystore, storage)
    yield from exposure.demo_key(settings, active=storage.read(store.has_demo_key))
    yield from clock.newest_row(_now(), storage.read(store.newest))


def _restored(storage: Storage) -> Iterator[Finding]:
    check = "restored"
    try:
        quarantine.require_complete(storage)
    except Misconfigured as fault:
        yield Finding.fault(check, fault, "hanaper quarantine on")
        return
    found = storage.read(quarantine.current)
    if found is None:
        yield Finding.ok(check, "the database is in none")
    else:
        text = f"the database is in quarantine, and issues nothing: {found.reason}"
        yield Finding.warning(check, text, "hanaper quarantine off, once the old server is off for good")


def _signing_keys(settings: Settings, keystore: Keystore, storage: Storage) -> Iterator[Finding]:
    try:
        keystore.keyring(storage)
        storage.read(lambda session: pepper.read(session, keystore.encryption))
    except TokenAway as fault:
        yield Finding.fault("signing-keys", fault, "mend what is said of the token")
    except Unavailable:
        raise
    except Misconfigured as fault:
        yield Finding.fault("signing-keys", fault, "hanaper check-store tells more")
    else:
        rows = storage.read(keys.all_keys)
        in_token = sum(row.token is not None and row.state == keys.ACTIVE for row in rows)
        also = f", but for {in_token} in the token, which sign" if in_token else ""
        yield Finding.ok("signing-keys", f"the key encryption key opens them all{also}")
        yield from token.left_over(keystore, rows)
        yield from _exchange(settings, keystore, storage)


def _exchange(settings: Settings, keystore: Keystore, storage: Storage) -> Iterator[Finding]:
    """An exchange of keys that somebody began and did not bring to its end."""
    check = "signing-keys"
    for key in storage.read(keys.all_keys):
        if key.state == keys.PENDING and _now() - key.created_at > LONGEST_PENDING:
            yield Finding.warning(
                check,
                f"signing key {key.kid} has waited since {key.created_at:%Y-%m-%d}",
                f"hanaper signing-key activate {key.kid}, or withdraw it: hanaper signing-key retire {key.kid}",
            )
    if storage.read(keys.kek_ids) != {keystore.encryption.kek_id}:
        text = "some keys are encrypted with the other key encryption key"
        yield Finding.warning(check, text, "hanaper signing-key rewrap, once every server knows both")
    elif settings.other_key_encryption_key_file is not None:
        text = "nothing is encrypted with the other key encryption key"
        yield Finding.warning(
            check, text, "unset HANAPER_OTHER_KEY_ENCRYPTION_KEY_FILE, once every server has the new one"
        )


def _now() -> datetime:
    return datetime.now(UTC)
