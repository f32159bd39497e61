"""A base backup and the archive of the log bring PostgreSQL back to a point in time (reliability.md T11)."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest
from tests.support.backups import TimedHistory, checked, refuses_until_confirmed
from tests.support.clusters import ROLE, Cluster, give, running
from tests.support.load import load
from tests.support.processes import ForkServer, Hanaper, clean_environment
from tests.support.store_check import Findings

pytestmark = pytest.mark.long

ROUNDS = int(os.environ.get("HANAPER_TEST_POINT_IN_TIME_ROUNDS", "2"))


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
@pytest.mark.parametrize("number", range(ROUNDS))
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
