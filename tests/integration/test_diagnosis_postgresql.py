"""What the doctor looks for in PostgreSQL is planted in servers of our own, found, and gone with its cure."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.integration.test_diagnosis import OF_SQLITE, Cure, of, patched
from tests.support.clusters import ROLE, Cluster, give, running

from hanaper.clock import utc_now
from hanaper.diagnosis import diagnose as diagnosing
from hanaper.diagnosis import postgresql
from hanaper.diagnosis.diagnose import CHECKS, Diagnosis, diagnose
from hanaper.diagnosis.finding import Verdict
from hanaper.diagnosis.store import Postgresql
from hanaper.install import install
from hanaper.settings import Settings
from hanaper.storage import postgresql as connecting

DATABASE = "hanaper"
LONGEST_S = 30


@dataclass
class Place:
    """An installation on a server of its own that is well, until something is planted."""

    cluster: Cluster
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    settings: dict[str, Any] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def diagnose(self) -> Diagnosis:
        url = self.cluster.url(DATABASE)
        return diagnose(Settings(**{"data_dir": self.folder, "database_url": url, "port": 0, **self.settings}))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    folder = tmp_path_factory.mktemp("doctor") / "data"
    with tempfile.TemporaryDirectory(prefix="hanaper-doctor-", ignore_cleanup_errors=True) as name:
        give(Path(name))
        with running(Cluster(Path(name) / "primary").make()) as cluster:
            cluster.execute(f"CREATE ROLE {ROLE} LOGIN")
            cluster.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
            install(Settings(data_dir=folder, database_url=cluster.url(DATABASE)), demo=False, now=utc_now())
            yield cluster, folder


@pytest.fixture
def place(server: tuple[Cluster, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    cluster, folder = server
    made = Place(cluster, folder, monkeypatch)
    with made.stack:
        yield made


class Case(NamedTuple):
    """What is planted, and what is said of it."""

    name: str
    check: str
    verdict: Verdict
    said: str
    plant: Callable[[Place], Cure]


def server_setting(name: str, value: str) -> Callable[[Place], Cure]:
    def plant(place: Place) -> Cure:
        place.stack.callback(place.cluster.set, **{name: ""})
        place.cluster.set(**{name: value})
        return lambda: place.cluster.set(**{name: ""})

    return plant


def statement(planted: str, cured: str) -> Callable[[Place], Cure]:
    def plant(place: Place) -> Cure:
        place.stack.callback(place.cluster.execute, cured)
        place.cluster.execute(planted)
        return lambda: place.cluster.execute(cured)

    return plant


def setting(**values: Any) -> Callable[[Place], Cure]:
    def plant(place: Place) -> Cure:
        place.settings |= values
        return place.settings.clear

    return plant


def minimal_log(place: Place) -> Cure:
    def restarted(**settings: str) -> None:
        place.cluster.set(**settings)
        place.cluster.restart("fast")

    restarted(wal_level="minimal", max_wal_senders="0")
    return lambda: restarted(wal_level="", max_wal_senders="")


def standby(place: Place) -> Cluster:
    folder = Path(place.stack.enter_context(tempfile.TemporaryDirectory(prefix="hanaper-", ignore_cleanup_errors=True)))
    give(folder)
    made = place.cluster.standby(folder / "standby")
    place.stack.enter_context(running(made))
    until = time.monotonic() + LONGEST_S
    while not place.cluster.execute("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"):
        assert time.monotonic() < until, made.log
        time.sleep(0.05)
    return made


def asynchronous_standby(place: Place) -> Cure:
    """Cured as the doctor says."""
    standby(place)
    place.stack.callback(place.cluster.set, synchronous_standby_names="")
    return lambda: place.cluster.set(synchronous_standby_names="ANY 1 (standby)")


def on_the_standby(place: Place) -> Cure:
    primary, place.cluster = place.cluster, standby(place)

    def promote_nobody() -> None:
        place.cluster = primary

    return promote_nobody


def pooler(place: Place) -> Cure:
    """Between transactions it hands the connection to another client: what was set is no longer so."""
    place.cluster.execute(f"ALTER ROLE {ROLE} SET synchronous_commit = off")
    place.stack.callback(place.cluster.execute, f"ALTER ROLE {ROLE} RESET synchronous_commit")
    place.monkeypatch.setattr(connecting, "_ON_CONNECT", ())

    def cure() -> None:
        place.cluster.execute(f"ALTER ROLE {ROLE} RESET synchronous_commit")
        place.monkeypatch.undo()

    return cure


def clock(by: timedelta) -> Callable[[Place], Cure]:
    return patched(diagnosing, "_now", lambda: utc_now() + by)  # type: ignore[return-value]  # any place will do


def another_role(place: Place) -> Cure:
    place.cluster.execute("CREATE ROLE stranger LOGIN")
    place.stack.callback(place.cluster.execute, "DROP ROLE stranger")
    place.settings["database_url"] = place.cluster.url(DATABASE, "stranger")
    return place.settings.clear


WARNING, PROBLEM = Verdict.WARNING, Verdict.PROBLEM
CASES = [
    Case("fsync off", "postgresql-durability", PROBLEM, "fsync is off", server_setting("fsync", "off")),
    Case(
        "torn pages", "postgresql-durability", PROBLEM, "full_page_writes is off",
        server_setting("full_page_writes", "off"),
    ),
    Case(
        "no sync by default", "postgresql-durability", WARNING, "synchronous_commit is off by default",
        server_setting("synchronous_commit", "off"),
    ),
    Case(
        "no sync for the role", "postgresql-durability", WARNING, "synchronous_commit is local by default",
        statement(f"ALTER ROLE {ROLE} SET synchronous_commit = local", f"ALTER ROLE {ROLE} RESET synchronous_commit"),
    ),
    Case("a pooler in between", "postgresql-durability", PROBLEM, "which had asked for more", pooler),
    Case("minimal log", "postgresql-durability", WARNING, "wal_level is minimal", minimal_log),
    Case("asynchronous standby", "postgresql-replication", WARNING, "a failover can lose", asynchronous_standby),
    Case(
        "nobody to wait for", "postgresql-replication", PROBLEM, "each commit waits",
        server_setting("synchronous_standby_names", "ghost"),
    ),
    Case("the standby itself", "postgresql-writable", PROBLEM, "it is a standby", on_the_standby),
    Case(
        "read-only", "postgresql-writable", PROBLEM, "default_transaction_read_only",
        statement(
            f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on",
            f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only",
        ),
    ),
    Case(
        "large pools", "postgresql-connections", WARNING, "may ask for 800 connections",
        setting(workers=8, database_pool_size=100),
    ),
    Case(
        "limit of the database", "postgresql-connections", WARNING, "PostgreSQL has 5 for it",
        statement(f"ALTER DATABASE {DATABASE} CONNECTION LIMIT 5", f"ALTER DATABASE {DATABASE} CONNECTION LIMIT -1"),
    ),
    Case(
        "limit of the role", "postgresql-connections", WARNING, "PostgreSQL has 3 for it",
        statement(f"ALTER ROLE {ROLE} CONNECTION LIMIT 3", f"ALTER ROLE {ROLE} CONNECTION LIMIT -1"),
    ),
    *(
        Case(
            right, "postgresql-role", WARNING, right,
            statement(f"ALTER ROLE {ROLE} {right}", f"ALTER ROLE {ROLE} NO{right}"),
        )
        for right in ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")
    ),
    Case("no rights", "database", PROBLEM, "may not look at", another_role),
    Case("clock behind a little", "clock", WARNING, "10.0 s behind", clock(timedelta(seconds=-10))),
    Case("clock ahead", "clock", PROBLEM, "100.0 s ahead of", clock(timedelta(seconds=100))),
]  # fmt: skip


def test_an_installation_that_is_well_is_told_so(place: Place) -> None:
    found = place.diagnose()
    assert found.verdict is Verdict.OK, found
    only_sqlite = {check for check in OF_SQLITE if "sqlite" in check} | {"database-file", "file-system", "free-space"}
    expected = set(CHECKS) - only_sqlite - {"server", "sync-speed"}
    assert sorted(finding.check for finding in found.findings) == sorted(expected)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_planted_is_found_and_gone_with_its_cure(place: Place, case: Case) -> None:
    cure = case.plant(place)
    found = [finding for finding in of(place.diagnose(), case.check) if finding.verdict is not Verdict.OK]
    assert [(finding.verdict, case.said in finding.text) for finding in found] == [(case.verdict, True)], found
    assert found[0].cure
    assert "\n" not in found[0].text + found[0].cure
    cure()
    found = of(place.diagnose(), case.check)
    assert [finding.verdict for finding in found] == [Verdict.OK], found


FOUND = Postgresql(
    version=180_004,
    fsync="on",
    full_page_writes="on",
    synchronous_commit="on",
    default_synchronous_commit="on",
    wal_level="replica",
    synchronous_standby_names="",
    standbys=0,
    in_recovery=False,
    read_only=False,
    connections=97,
    role="hanaper",
    rights=(),
)


@pytest.mark.parametrize(("number", "verdict"), [(130_023, PROBLEM), (140_000, Verdict.OK), (180_004, Verdict.OK)])
def test_a_server_that_is_too_old_is_found(number: int, verdict: Verdict) -> None:
    """There is none here to look at."""
    [finding] = postgresql.version(replace(FOUND, version=number))
    assert finding.verdict is verdict
    assert bool(finding.cure) == (verdict is PROBLEM)


@pytest.mark.parametrize("strong", ["on", "remote_apply"])
def test_what_is_as_strong_or_stronger_is_well(strong: str) -> None:
    found = replace(FOUND, synchronous_commit=strong, default_synchronous_commit=strong)
    assert [finding.verdict for finding in postgresql.durability(found)] == [Verdict.OK]


@pytest.mark.parametrize("weak", ["off", "local", "remote_write"])
def test_what_is_weaker_is_not(weak: str) -> None:
    [finding] = postgresql.durability(replace(FOUND, synchronous_commit=weak))
    assert finding.verdict is PROBLEM
