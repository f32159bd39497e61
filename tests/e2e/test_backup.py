"""A backup under load, and what is restored from it (reliability.md T11)."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep

import pytest
from tests.e2e.conftest import client
from tests.support.api import Answer, Api
from tests.support.backups import Elsewhere, TimedHistory, places
from tests.support.clusters import ROLE, Cluster, give, running
from tests.support.load import SAMPLE_KEY, load
from tests.support.mutants import mutant
from tests.support.processes import ForkServer, Hanaper, clean_environment
from tests.support.store_check import Findings, check

from hanaper.storage.transactions import Storage

ROUNDS = int(os.environ.get("HANAPER_TEST_BACKUP_ROUNDS", "20"))
"""The first of them every day."""

_logger = logging.getLogger(__name__)


def ask(api: Api, endpoint: str, **fields: object) -> Answer:
    return api.post(f"/api/v1/{endpoint}", {"api_key": SAMPLE_KEY, **fields})


def is_refused(answer: Answer) -> bool:
    """Whether it is the refusal of a quarantine."""
    if answer.code != 1705:
        return False
    assert (answer.status, answer.signed_by, answer.http.headers["retry-after"]) == (503, "global", "60")
    return True


def held_by(hanaper: Hanaper) -> int:
    """How many license keys an installation has, all of which are in order."""
    report = hanaper("check-store", "--json").json
    assert report["clean"], report
    held: int = report["checked"].get("license_keys", 0)
    return held


def backed_up(
    installed: Hanaper, file: Path, *, seed: int, environment: Mapping[str, str] | None = None
) -> tuple[TimedHistory, datetime]:
    """Make a backup while clients are given license keys; returns what they were told, and the moment of the backup."""
    history = TimedHistory()
    with installed.serving("--workers", "2") as server:
        with load(server.url, history, seed) as clients:
            clients.wait_for_keys()
            command = replace(installed, environment={**installed.environment, **(environment or {})})
            made = command.anew("backup", str(file), "--json").json
            clients.wait_for_keys()
        server.stop()
    return history, datetime.fromisoformat(made["as_of"])


def checked(installed: Hanaper, restored: Hanaper, history: TimedHistory, as_of: datetime) -> Findings:
    """What is wrong with a restored database."""
    before = history.before(as_of)
    with Storage.open(restored.settings) as storage:
        pem = (installed.data_dir / "public-keys" / "product-1.pem").read_bytes()
        findings = check(storage, pem, before)
    given = len(history.acknowledged)
    _logger.info("%d answers, %d of them before the backup; %s", given, len(before), findings)
    # It was a real test: there was something to lose, and clients were at work all the time.
    assert 0 < len(before) < given
    return findings


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, ROUNDS))])
def test_all_that_was_acknowledged_before_is_in_it_and_nothing_is_issued_before_that_is_confirmed(
    installed: Hanaper, elsewhere: Elsewhere, backup_file: Path, number: int
) -> None:
    history, as_of = backed_up(installed, backup_file, seed=number)
    restored = elsewhere()
    restored("restore", str(backup_file))
    assert checked(installed, restored, history, as_of) == Findings()
    assert history.unexpected == []
    assert "restored from a.backup" in restored("quarantine", "--json").json["reason"]
    refuses_until_confirmed(restored, history)


def refuses_until_confirmed(restored: Hanaper, history: TimedHistory) -> None:
    """A server on a restored database answers questions, and issues once somebody has confirmed that it may."""
    held = held_by(restored)
    restored("init")  # Writes the public keys out again.
    with restored.serving() as server, client(server.url, restored) as api:
        assert server.wait_for("in quarantine: whatever would change something is refused with 1705")["reason"]
        assert is_refused(ask(api, "generate", generator_id=1, quantity=3))
        assert is_refused(ask(api, "create-license-keys", product_id=1, license_keys="Some-Key-1"))
        license_key = history.acknowledged[0].license_keys[0]
        assert ask(api, "verify", license_key=license_key, identifier="x").status == 200
        assert api.http.get("/readyz").status_code == 200
        assert held_by(restored) == held
        restored("quarantine", "off", "--yes")
        assert ask(api, "generate", generator_id=1, quantity=3).code == 815
        assert held_by(restored) == held + 3
        server.stop()


@pytest.mark.slow
def test_a_backup_that_copies_the_file_is_found(demo: Hanaper, tmp_path: Path) -> None:
    file = tmp_path / "a.backup"
    history, as_of = backed_up(demo, file, seed=1, environment=mutant("copied_file"))
    with places(demo, tmp_path, None) as elsewhere:
        restored = elsewhere()
        restored("restore", str(file))
        assert checked(demo, restored, history, as_of).lost > 0


def test_a_restoration_without_quarantine_is_found(elsewhere: Elsewhere, backup: Path) -> None:
    restored = elsewhere()
    replace(restored, environment={**restored.environment, **mutant("no_quarantine")}).anew("restore", str(backup))
    restored("init")
    with restored.serving() as server, client(server.url, restored) as api:
        assert not is_refused(ask(api, "generate", generator_id=1, quantity=3))
        server.stop()


def test_a_server_that_does_not_look_at_the_quarantine_is_found(elsewhere: Elsewhere, backup: Path) -> None:
    restored = elsewhere()
    restored("restore", str(backup))
    restored("init")
    with restored.serving(**mutant("blind_to_quarantine")) as server, client(server.url, restored) as api:
        assert not is_refused(ask(api, "generate", generator_id=1, quantity=3))
        assert not is_refused(ask(api, "create-product", name="Another"))
        server.stop()


# --- PostgreSQL: to a point in time ---


@pytest.fixture
def archiving() -> Iterator[tuple[Cluster, Path]]:
    """A server that archives its write-ahead log; yields it and the archive."""
    with tempfile.TemporaryDirectory(prefix="hanaper-archive-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        give(folder)
        archive = folder / "archive"
        archive.mkdir()
        give(archive)
        cluster = Cluster(folder / "primary").make()
        with (cluster.folder / "postgresql.conf").open("a") as file:
            file.write(f"archive_mode = on\narchive_command = 'test ! -f {archive}/%f && cp %p {archive}/%f'\n")
        with running(cluster):
            cluster.execute(f"CREATE ROLE {ROLE} LOGIN")
            cluster.execute(f"CREATE DATABASE keys OWNER {ROLE}")
            yield cluster, archive


@pytest.mark.slow
@pytest.mark.parametrize("number", range(int(os.environ.get("HANAPER_TEST_POINT_IN_TIME_ROUNDS", "2"))))
def test_a_base_backup_and_the_log_bring_back_what_was_acknowledged_before_a_point_in_time(
    forks: ForkServer, archiving: tuple[Cluster, Path], tmp_path: Path, number: int
) -> None:
    primary, archive = archiving
    data = tmp_path / "data"
    environment = clean_environment(HANAPER_DATA_DIR=str(data), HANAPER_DATABASE_URL=primary.url("keys"))
    installed = Hanaper(forks, tmp_path, environment)
    installed("init", "--demo")
    history = TimedHistory()
    base = primary.folder.with_name("base")
    with installed.serving("--workers", "2") as server:
        with load(server.url, history, number) as clients:
            clients.wait_for_keys()
            primary.run(
                "pg_basebackup", "-X", "none", "-c", "fast", "-d", primary.url("postgres", "postgres"), "-D", str(base)
            )
            clients.wait_for_keys()
            ((moment,),) = primary.execute("SELECT clock_timestamp()")
            clients.wait_for_keys()
        server.stop()
    archive_all(primary)
    primary.kill()
    with (base / "postgresql.auto.conf").open("a") as file:
        file.write(f"restore_command = 'cp {archive}/%f %p'\nrecovery_target_time = '{moment.isoformat()}'\n")
        file.write("recovery_target_action = 'promote'\narchive_mode = off\n")
    (base / "recovery.signal").touch()
    give(base)
    place = tmp_path / "elsewhere"
    place.mkdir()
    shutil.copy(data / "key-encryption-key", place)
    with running(Cluster(base)) as copy:
        url = copy.url("keys")
        restored = replace(
            installed, environment={**environment, "HANAPER_DATA_DIR": str(place), "HANAPER_DATABASE_URL": url}
        )
        wait_until_promoted(copy)
        restored("quarantine", "on", "--reason", f"restored to {moment:%H:%M:%S}")
        assert checked(installed, restored, history, moment) == Findings()
        refuses_until_confirmed(restored, history)


def archive_all(primary: Cluster) -> None:
    """Wait until the archive has all that has been written."""
    ((last,),) = primary.execute("SELECT pg_walfile_name(pg_switch_wal())")
    until = monotonic() + 60
    while primary.execute("SELECT last_archived_wal FROM pg_stat_archiver")[0][0] < last:
        assert monotonic() < until
        sleep(0.05)


def wait_until_promoted(copy: Cluster) -> None:
    until = monotonic() + 60
    while copy.execute("SELECT pg_is_in_recovery()") != [(False,)]:
        assert monotonic() < until, copy.log
        sleep(0.05)
