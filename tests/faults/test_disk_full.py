"""A disk that is full: refusals for now, nothing lost, no restart when there is space again (reliability.md T9)."""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.conftest import DATABASE, inside, serving
from tests.support.amounts import amount
from tests.support.clients import Clients, Kind, asking, nothing_lost
from tests.support.clusters import Cluster, give
from tests.support.processes import Hanaper
from tests.support.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.long

KINDS: tuple[Kind, ...] = ("generate", "create", "verify")
WRITES: tuple[Kind, ...] = ("generate", "create")
CLIENTS: tuple[Kind, ...] = ("generate",) * 4 + ("create",) * 2 + ("verify",)
RECOVERY_S = 2
REFUSALS = 20
LARGE = "60m"
BALLAST = "ballast"
_logger = logging.getLogger(__name__)


@pytest.fixture
def disk(place: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    size: str = request.param
    with small_disk(place / "disk", size) as disk:
        yield disk


def full(clients: Clients, disk: SmallDisk, refusals: int) -> float:
    """Let clients fill the disk, and give it more space; the seconds until writes succeed again."""
    clients.wait_for(200, *KINDS)
    # The last of it goes quickly: what is tested is the end.
    (disk.folder / BALLAST).write_bytes(bytes(max(0, disk.free - 1_000_000)))
    clients.wait_for(503, *WRITES, times=refusals)
    refused = clients.count(503, "verify")
    clients.wait_for(200, "verify", times=refusals)
    assert clients.count(503, "verify") == refused == 0, "reading needs no space"
    disk.resize(LARGE)
    return clients.wait_for(200, *KINDS)


def on_sqlite_until_it_is_full(hanaper: Hanaper, disk: SmallDisk, refusals: int, *, workers: int = 0) -> float:
    data = disk.folder / "data"
    shutil.copytree(hanaper.data_dir, data)
    hanaper = replace(hanaper, environment={**hanaper.environment, "HANAPER_DATA_DIR": str(data)})
    with serving(hanaper, workers) if workers else inside(hanaper) as caller:
        with asking(caller, *CLIENTS) as clients:
            took = full(clients, disk, refusals)
        clients.check()
    _logger.info("%s; first 200 of each after %.3f s", clients, took)
    nothing_lost(hanaper.settings, clients.acknowledged)
    return took


@pytest.mark.parametrize("disk", ["6m"], indirect=True)
def test_sqlite_on_a_full_disk(on_sqlite: Hanaper, disk: SmallDisk) -> None:
    on_sqlite_until_it_is_full(on_sqlite, disk, REFUSALS)


@pytest.mark.slow
@pytest.mark.parametrize("_", range(amount(1, 10)))
@pytest.mark.parametrize("disk", ["6m"], indirect=True)
def test_sqlite_on_a_full_disk_for_longer(on_sqlite: Hanaper, disk: SmallDisk, _: int) -> None:
    assert on_sqlite_until_it_is_full(on_sqlite, disk, 200, workers=2) < RECOVERY_S


def on_a_full_tablespace(
    cluster: Cluster, hanaper: Hanaper, disk: SmallDisk, refusals: int, *, workers: int = 0
) -> float:
    folder = disk.folder / "tables"
    folder.mkdir()
    give(folder)
    cluster.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
    cluster.execute(f"ALTER DATABASE {DATABASE} SET TABLESPACE small")
    with serving(hanaper, workers) if workers else inside(hanaper) as caller:
        with asking(caller, *CLIENTS) as clients:
            took = full(clients, disk, refusals)
        clients.check()
    _logger.info("%s; first 200 of each after %.3f s", clients, took)
    nothing_lost(hanaper.settings, clients.acknowledged)
    return took


@pytest.mark.parametrize("disk", ["16m"], indirect=True)
def test_postgresql_on_a_full_disk(cluster: Cluster, hanaper: Hanaper, disk: SmallDisk) -> None:
    on_a_full_tablespace(cluster, hanaper, disk, REFUSALS)


@pytest.mark.slow
@pytest.mark.parametrize("_", range(amount(1, 10)))
@pytest.mark.parametrize("disk", ["16m"], indirect=True)
def test_postgresql_on_a_full_disk_for_longer(cluster: Cluster, hanaper: Hanaper, disk: SmallDisk, _: int) -> None:
    assert on_a_full_tablespace(cluster, hanaper, disk, 200, workers=2) < RECOVERY_S


@pytest.mark.slow
@pytest.mark.parametrize("_", range(amount(1, 10)))
@pytest.mark.parametrize("disk", ["40m"], indirect=True)
def test_postgresql_without_space_for_its_log(cluster: Cluster, hanaper: Hanaper, disk: SmallDisk, _: int) -> None:
    """It gives up, and has to be started again. We have not to be."""
    cluster.stop("fast")
    log = cluster.folder / "pg_wal"
    moved = disk.folder / "pg_wal"
    shutil.copytree(log, moved)
    shutil.rmtree(log)
    log.symlink_to(moved)
    give(moved)
    cluster.start()
    with serving(hanaper) as caller:
        with asking(caller, *CLIENTS) as clients:
            clients.wait_for(200, *KINDS)
            (disk.folder / BALLAST).write_bytes(bytes(max(0, disk.free - 1_000_000)))
            clients.wait_for(503, *KINDS, times=200)
            disk.resize("120m")
            if cluster.ended():
                cluster.start()
            took = clients.wait_for(200, *KINDS)
        clients.check()
    _logger.info("%s; first 200 of each after %.3f s", clients, took)
    assert took < RECOVERY_S
    nothing_lost(hanaper.settings, clients.acknowledged)
