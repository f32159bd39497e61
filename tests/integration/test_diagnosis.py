"""Everything the doctor looks for is planted, found, and gone with its cure."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event, text

from hanaper.access import manage
from hanaper.access import store as access
from hanaper.clock import utc_now
from hanaper.diagnosis import diagnose as diagnosing
from hanaper.diagnosis import disk, server
from hanaper.diagnosis.diagnose import CHECKS, Diagnosis, diagnose
from hanaper.diagnosis.finding import Finding, Verdict
from hanaper.install import install
from hanaper.keystore import kek_file
from hanaper.settings import Settings
from hanaper.storage import sqlite
from hanaper.storage.filesystem import IN_MEMORY, filesystem
from hanaper.storage.schema import head
from hanaper.storage.transactions import Storage

OF_SQLITE = tuple(check for check in CHECKS if not check.startswith("postgresql"))
NOBODY = 65534


@dataclass
class Place:
    """An installation that is well, until something is planted."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    settings: dict[str, Any] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def key(self) -> Path:
        return self.folder / "key-encryption-key"

    @property
    def database(self) -> Path:
        return self.folder / "hanaper.db"

    def diagnose(self) -> Diagnosis:
        return diagnose(Settings(data_dir=self.folder, **{"port": 0, **self.settings}))

    def sql(self, statement: str, **values: object) -> None:
        with Storage.open(Settings(data_dir=self.folder)) as storage:
            storage.write(lambda session: session.execute(text(statement), values))


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("well") / "data"
    install(Settings(data_dir=folder), demo=True, now=utc_now())
    with Storage.open(Settings(data_dir=folder)) as storage:
        [sample] = storage.read(lambda session: [row.id for row in access.api_keys(session)])
        storage.write(lambda session: manage.revoke(session, sample, now=utc_now()))
    return folder


@pytest.fixture
def place(well: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    folder = tmp_path / "data"
    shutil.copytree(well, folder)
    monkeypatch.setattr(disk, "SYNC_S", 0.01)
    made = Place(folder, monkeypatch)
    with made.stack:
        yield made


def of(found: Diagnosis, check: str) -> list[Finding]:
    return [finding for finding in found.findings if finding.check == check]


Cure = Callable[[], object]
Plant = Callable[[Place], Cure]


class Case(NamedTuple):
    """What is planted, and what is said of it."""

    name: str
    check: str
    verdict: Verdict
    said: str
    plant: Plant


def setting(**values: Any) -> Plant:
    """Settings that are wrong; without them all is well."""

    def plant(place: Place) -> Cure:
        place.settings |= values
        return place.settings.clear

    return plant


def mode(number: int, *, of_what: str = "", cured: int = 0o600) -> Plant:
    """The mode of a file in the data folder, or of the folder itself."""

    def plant(place: Place) -> Cure:
        path = place.folder / of_what
        path.touch() if of_what else None
        path.chmod(number)
        return lambda: path.chmod(cured)

    return plant


def owner(of_what: str = "") -> Plant:
    def plant(place: Place) -> Cure:
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        path = place.folder / of_what
        os.chown(path, NOBODY, NOBODY)
        return lambda: os.chown(path, 0, 0)

    return plant


def instead(of_what: str, content: bytes | None) -> Plant:
    """Something else in the place of a file: these bytes, or (None) a folder."""

    def plant(place: Place) -> Cure:
        path = place.folder / of_what
        kept = path.with_name("kept")
        path.rename(kept)
        if content is None:
            path.mkdir()
        elif content:
            path.write_bytes(content)
            path.chmod(0o600)

        def cure() -> None:
            if path.is_dir():
                path.rmdir()
            path.unlink(missing_ok=True)
            kept.rename(path)

        return cure

    return plant


def patched(target: object, name: str, value: object) -> Plant:
    """What this machine cannot be brought to."""

    def plant(place: Place) -> Cure:
        place.monkeypatch.setattr(target, name, value)
        return place.monkeypatch.undo

    return plant


def schema(revision: str) -> Plant:
    statement = "UPDATE alembic_version SET version_num = :revision"

    def plant(place: Place) -> Cure:
        place.sql(statement, revision=revision)
        return lambda: place.sql(statement, revision=head())

    return plant


def in_quarantine(place: Place) -> Cure:
    place.sql("INSERT INTO quarantine VALUES (1, 'restored', :now)", now=str(utc_now()))
    return lambda: place.sql("DELETE FROM quarantine")


def half_restored(place: Place) -> Cure:
    place.sql("DELETE FROM configuration_version")
    return lambda: place.sql("INSERT INTO configuration_version VALUES (1, 1)")


def row_of_tomorrow(place: Place) -> Cure:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S.000000")
    place.sql(
        """
        INSERT INTO license_keys (license_key, product_id, source, activation_limit, validity, status, created_at,
            updated_at)
        VALUES ('DOCTOR', 1, 'manual', 1, 0, 'available', :tomorrow, :tomorrow)
        """,
        tomorrow=tomorrow,
    )
    return lambda: place.sql("DELETE FROM license_keys")


def free(share: float) -> Plant:
    usage = SimpleNamespace(total=1e12, free=share * 1e12)
    return patched(shutil, "disk_usage", lambda _: usage)


def no_data_folder(place: Place) -> Cure:
    kept = place.folder.rename(place.folder.with_name("kept"))
    return lambda: kept.rename(place.folder)


def file_for_a_folder(place: Place) -> Cure:
    cure = no_data_folder(place)
    place.folder.touch()

    def back() -> None:
        place.folder.unlink()
        cure()

    return back


def in_memory(place: Place) -> Cure:
    """Really in memory, where a sync costs nothing."""
    shared = Path("/dev/shm")  # noqa: S108 -- it is what this is about
    if not shared.is_dir() or filesystem(shared) not in IN_MEMORY:
        pytest.skip("no file system in memory here")
    there = Path(
        subprocess.run(["mktemp", "-d", "-p", str(shared)], capture_output=True, check=True, text=True).stdout.strip()
    )
    place.stack.callback(shutil.rmtree, there)
    on_disk, place.folder = place.folder, Path(shutil.copytree(place.folder, there / "data"))

    def cure() -> None:
        place.folder = on_disk

    return cure


def another_key(place: Place) -> Cure:
    kept = place.key.rename(place.key.with_name("kept"))
    kek_file.create(place.key)
    return lambda: kept.rename(place.key)


HOLDS = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("PRAGMA journal_mode=DELETE")
other.execute("BEGIN")
other.execute("SELECT count(*) FROM products").fetchone()
print("held", flush=True)
sys.stdin.read()
"""


def held_in_another_journal_mode(place: Place) -> Cure:
    """By a program that reads in it, and does not let go."""
    if not sqlite.library().sqlite_version_info >= sqlite.FIRST_SAFE_FOR_WAL:
        pytest.skip("with this SQLite hanaper uses no WAL")
    # In a process of its own: those of one process do not keep each other out.
    command = [sys.executable, "-c", HOLDS, str(place.database)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    place.stack.callback(other.communicate)
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    place.monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 10)
    return other.kill


def weak_sync(place: Place) -> Cure:
    """As in tests/mutants/weak_sync.py."""
    prepare = sqlite.prepare

    def weakly(engine: Any, module: Any, file: Path) -> None:
        prepare(engine, module, file)
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL"))

    place.monkeypatch.setattr(sqlite, "prepare", weakly)
    return place.monkeypatch.undo


def old_library(place: Place) -> Cure:
    if sqlite3.sqlite_version_info >= sqlite.FIRST_SAFE_FOR_WAL:
        pytest.skip("the interpreter's own SQLite is new enough")
    # As it is where there is no wheel with a newer one.
    place.monkeypatch.setitem(sys.modules, "pysqlite3.dbapi2", None)
    return place.monkeypatch.undo


def lies_about_syncing(place: Place) -> Cure:
    place.monkeypatch.setattr(disk, "_sync", lambda _: None)
    return place.monkeypatch.undo


def read_only(place: Place) -> Cure:
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    place.monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    return place.monkeypatch.undo


def answering(status: int, body: bytes, *, wait: float = 0) -> Plant:
    """A server on the port that answers /readyz so."""

    def plant(place: Place) -> Cure:
        ended = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                ended.wait(wait)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        http = place.stack.enter_context(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        place.stack.callback(http.shutdown)
        place.stack.callback(ended.set)
        place.settings["port"] = http.server_port
        place.monkeypatch.setattr(server, "LONGEST_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        # Nobody is there any more: that is no fault.
        return lambda: place.settings.update(port=port)

    return plant


def demo_key(*, host: str) -> Plant:
    def plant(place: Place) -> Cure:
        place.sql("UPDATE api_keys SET status = 'active' WHERE kind = 'demo'")
        place.settings |= {"host": host}

        def cure() -> None:
            with Storage.open(Settings(data_dir=place.folder)) as storage:
                storage.write(lambda session: manage.revoke(session, 1, now=utc_now()))

        return cure

    return plant


WARNING, PROBLEM = Verdict.WARNING, Verdict.PROBLEM
CASES = [
    Case("open address", "address", WARNING, "no proxy is named", setting(host="0.0.0.0")),  # noqa: S104 -- as above
    Case("open address, IPv6", "address", WARNING, "no proxy is named", setting(host="::")),
    Case("wide proxies", "trusted-proxies", WARNING, "10.0.0.0/8", setting(trusted_proxies=[ip_network("10.0.0.0/8")])),
    Case(
        "wide proxies, IPv6",
        "trusted-proxies",
        WARNING,
        "2001:db8::/32",
        setting(trusted_proxies=[ip_network("2001:db8::/32")]),
    ),
    Case("no data folder", "data-folder", PROBLEM, "No such file", no_data_folder),
    Case("a file for a folder", "data-folder", PROBLEM, "is no folder", file_for_a_folder),
    Case("folder others enter", "data-folder", WARNING, "mode 0750", mode(0o750, cured=0o700)),
    Case("folder others change", "data-folder", PROBLEM, "mode 0777", mode(0o777, cured=0o700)),
    Case("no key", "key-encryption-key", PROBLEM, "is missing", instead("key-encryption-key", b"")),
    Case("key is a folder", "key-encryption-key", PROBLEM, "is not a file", instead("key-encryption-key", None)),
    Case("key is no key", "key-encryption-key", PROBLEM, "is not 32 bytes", instead("key-encryption-key", b"x")),
    Case("key others read", "key-encryption-key", PROBLEM, "mode 0644", mode(0o644, of_what="key-encryption-key")),
    Case("key of the group", "key-encryption-key", PROBLEM, "mode 0640", mode(0o640, of_what="key-encryption-key")),
    Case("key of another user", "key-encryption-key", WARNING, "who can exchange it", owner("key-encryption-key")),
    Case("another key", "signing-keys", PROBLEM, "is not the one", another_key),
    Case("no database", "database", PROBLEM, "there is no database", instead("hanaper.db", b"")),
    Case("database is a folder", "database", PROBLEM, "there is no database", instead("hanaper.db", None)),
    Case("database is none", "database", PROBLEM, "not a database", instead("hanaper.db", b"not a database" * 99)),
    Case("database others read", "database-file", PROBLEM, "mode 0644", mode(0o644, of_what="hanaper.db")),
    Case("lock others change", "database-file", PROBLEM, "mode 0666", mode(0o666, of_what="hanaper.db.lock")),
    Case("database of another user", "database-file", PROBLEM, "belongs to nobody", owner("hanaper.db")),
    Case("held in another mode", "database", PROBLEM, "database is locked", held_in_another_journal_mode),
    Case("in memory", "file-system", PROBLEM, "in memory (tmpfs)", in_memory),
    *(
        Case(
            kind,
            "file-system",
            PROBLEM,
            f"network file system ({kind})",
            patched(disk, "filesystem", lambda _, k=kind: k),
        )
        for kind in ("nfs4", "fuse.sshfs")
    ),
    Case(
        "in the container", "file-system", PROBLEM, "in the container", patched(disk, "filesystem", lambda _: "overlay")
    ),
    Case(
        "little space",
        "free-space",
        WARNING,
        "6% of the disk",
        free(0.06),
    ),
    Case(
        "no space",
        "free-space",
        PROBLEM,
        "4% of the disk",
        free(0.04),
    ),
    Case("a disk that lies", "sync-speed", WARNING, "may lie about syncing", lies_about_syncing),
    Case("read-only", "sync-speed", PROBLEM, "Read-only file system", read_only),
    Case("old SQLite", "sqlite-library", WARNING, "slower journal", old_library),
    Case("weak sync", "sqlite-durability", PROBLEM, "synchronous=1", weak_sync),
    Case(
        "clock of 2020",
        "clock",
        PROBLEM,
        "before this release",
        patched(diagnosing, "_now", lambda: datetime(2020, 1, 1, tzinfo=UTC)),
    ),
    Case(
        "row of tomorrow",
        "newest-row",
        PROBLEM,
        "the clock is wrong, or was",
        row_of_tomorrow,
    ),
    Case(
        "old schema",
        "schema",
        PROBLEM,
        "has schema 0001",
        schema("0001"),
    ),
    Case(
        "newer schema",
        "schema",
        PROBLEM,
        "newer than this hanaper",
        schema("9999"),
    ),
    Case("quarantine", "restored", WARNING, "issues nothing: restored", in_quarantine),
    Case("half restored", "restored", PROBLEM, "but not put in quarantine", half_restored),
    Case("demo key here", "demo-key", WARNING, "anybody on this machine", demo_key(host="127.0.0.1")),
    Case("demo key for all", "demo-key", PROBLEM, "anybody may generate", demo_key(host="0.0.0.0")),  # noqa: S104
    Case("server stops", "server", PROBLEM, "not ready: stopping", answering(503, b"stopping\n")),
    Case("server hangs", "server", PROBLEM, "does not answer", answering(200, b"ready\n", wait=5)),
    Case("another server", "server", WARNING, "something else", answering(200, b"<html>")),
    Case("another server without it", "server", WARNING, "something else", answering(404, b"")),
]


def test_an_installation_that_is_well_is_told_so(place: Place) -> None:
    found = place.diagnose()
    assert found.verdict is Verdict.OK, found
    # In the order in which they are documented, each once.
    assert sorted(finding.check for finding in found.findings) == sorted(set(OF_SQLITE) - {"server"})
    assert all(finding.text and not finding.cure for finding in found.findings)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_planted_is_found_and_gone_with_its_cure(place: Place, case: Case) -> None:
    before = set(place.folder.iterdir())
    cure = case.plant(place)
    found = of(place.diagnose(), case.check)
    assert [(finding.verdict, case.said in finding.text) for finding in found] == [(case.verdict, True)], found
    assert all(finding.cure for finding in found)
    assert all("\n" not in finding.text + finding.cure for finding in found)
    cure()
    place.monkeypatch.setattr(disk, "SYNC_S", 0.01)
    found = of(place.diagnose(), case.check)
    assert [finding.verdict for finding in found] == [Verdict.OK], found
    # It has made nothing, and left nothing behind.
    assert set(place.folder.iterdir()) - before <= {place.folder / "hanaper.db.lock"}


def test_a_server_that_is_ready_is_well(place: Place) -> None:
    answering(200, b"ready\n")(place)
    [finding] = of(place.diagnose(), "server")
    assert (finding.verdict, finding.text.endswith("/readyz is ready")) == (Verdict.OK, True)


def test_a_mounted_secret_may_be_its_groups_and_belong_to_anybody(place: Place, tmp_path: Path) -> None:
    named = tmp_path / "mounted"
    shutil.move(place.key, named)
    named.chmod(0o440)
    if os.geteuid() == 0:
        os.chown(named, NOBODY, NOBODY)
    place.settings["key_encryption_key_file"] = named
    assert place.diagnose().verdict is Verdict.OK


def test_who_may_look_at_nothing_is_told_who_to_be(place: Place) -> None:
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        place.stack.callback(os.seteuid, 0)
    else:
        place.folder.chmod(0)
        place.stack.callback(place.folder.chmod, 0o700)
    found = place.diagnose()
    assert found.verdict is Verdict.PROBLEM
    [database] = of(found, "database")
    assert "Permission denied" in database.text
    assert database.cure == "run this as the user hanaper runs as"


def test_a_database_that_is_not_there_is_not_made(place: Place) -> None:
    place.database.unlink()
    assert place.diagnose().verdict is Verdict.PROBLEM
    assert not place.database.exists()
