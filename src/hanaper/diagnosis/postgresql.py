"""PostgreSQL: what its settings mean for what is promised."""

from collections.abc import Iterator

from hanaper.diagnosis.finding import Finding
from hanaper.diagnosis.store import Postgresql
from hanaper.settings import Settings

OLDEST = 14
_STRONG = frozenset({"on", "remote_apply"})
_SAFE = "ALTER SYSTEM SET {} = on; then `SELECT pg_reload_conf()`"


def version(found: Postgresql) -> Iterator[Finding]:
    """Whether it is new enough."""
    check, major = "postgresql-version", found.version // 10_000
    text = f"PostgreSQL {major}.{found.version % 10_000}"
    if major < OLDEST:
        yield Finding.problem(check, f"{text}, older than {OLDEST}", f"upgrade it to {OLDEST} or newer")
    else:
        yield Finding.ok(check, text)


def durability(found: Postgresql) -> Iterator[Finding]:
    """Whether what is committed is on its disk."""
    check, well = "postgresql-durability", True
    for name, value in (("fsync", found.fsync), ("full_page_writes", found.full_page_writes)):
        if value != "on":
            well = False
            text = f"{name} is {value}: a crash of its machine may destroy the database"
            yield Finding.problem(check, text, _SAFE.format(name))
    if found.synchronous_commit not in _STRONG:
        well = False
        yield Finding.problem(
            check,
            f"synchronous_commit is {found.synchronous_commit} on hanaper's own connection, which had asked for more: "
            "acknowledged license keys may be lost",
            "connect without a pooler that hands connections around between transactions",
        )
    elif found.default_synchronous_commit not in _STRONG:
        well = False
        yield Finding.warning(
            check,
            f"synchronous_commit is {found.default_synchronous_commit} by default: hanaper switches it on for itself, "
            "others who write there do not",
            _SAFE.format("synchronous_commit") + "; see also ALTER DATABASE and ALTER ROLE",
        )
    if found.wal_level == "minimal":
        well = False
        yield Finding.warning(
            check,
            "wal_level is minimal: there can be no standby, and no backup to a point in time",
            "ALTER SYSTEM SET wal_level = replica; then restart PostgreSQL",
        )
    if well:
        yield Finding.ok(
            check, f"fsync, full_page_writes and synchronous_commit are on, wal_level is {found.wal_level}"
        )


def replication(found: Postgresql) -> Iterator[Finding]:
    """What a failover would lose."""
    check, names = "postgresql-replication", found.synchronous_standby_names
    if found.standbys and not names:
        yield Finding.warning(
            check,
            f"{found.standbys} standbys are attached, none of them synchronous: "
            "a failover can lose acknowledged license keys",
            "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (...)' with their names",
        )
    elif names and not found.standbys:
        yield Finding.problem(
            check,
            f"synchronous_standby_names is {names!r} and no standby is attached: each commit waits for one",
            "bring the standby back, or empty synchronous_standby_names",
        )
    else:
        text = f"{found.standbys} standbys, synchronous_standby_names is {names!r}" if names else "no standby"
        yield Finding.ok(check, text)


def writable(found: Postgresql) -> Iterator[Finding]:
    """Whether it takes writes at all."""
    check = "postgresql-writable"
    if found.in_recovery:
        yield Finding.problem(
            check,
            "it is a standby, or recovers from a backup: nothing can be written",
            "name the primary, or both with target_session_attrs=read-write, by HANAPER_DATABASE_URL; or promote it",
        )
    elif found.read_only:
        yield Finding.problem(
            check,
            "default_transaction_read_only is on: nothing can be written",
            "ALTER DATABASE ... RESET default_transaction_read_only (or ALTER ROLE, or ALTER SYSTEM)",
        )
    else:
        yield Finding.ok(check, "it takes writes")


def connections(found: Postgresql, settings: Settings) -> Iterator[Finding]:
    """Whether there are as many connections as may be asked for."""
    check, wanted = "postgresql-connections", settings.workers * settings.database_pool_size
    text = f"this server may ask for {wanted} connections, PostgreSQL has {found.connections} for it"
    if wanted > found.connections:
        yield Finding.warning(
            check,
            text,
            "lower HANAPER_DATABASE_POOL_SIZE or HANAPER_WORKERS, or raise max_connections, or the limit of the role "
            "or the database; replicas come on top",
        )
    else:
        yield Finding.ok(check, text)


def role(found: Postgresql) -> Iterator[Finding]:
    """Whether the role can do more than it has to."""
    check = "postgresql-role"
    if found.rights:
        yield Finding.warning(
            check,
            f"the role {found.role} is more than the owner of one database: {', '.join(found.rights)}",
            "connect as a role of its own: CREATE ROLE hanaper LOGIN; ALTER DATABASE ... OWNER TO hanaper",
        )
    else:
        yield Finding.ok(check, f"the role {found.role} has no rights beyond its database")
