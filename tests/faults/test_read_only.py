"""A database that can be read and not be written (reliability.md T10)."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from tests.faults.conftest import DATABASE, inside, serving
from tests.support.clients import Caller, nothing_lost
from tests.support.clusters import LONGEST_S, Cluster, running
from tests.support.processes import PROGRAM, Hanaper
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.long

POWERLESS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
"""Root may write what it likes. As anybody else, the server has what the test has."""


def ordinary() -> tuple[str, ...]:
    """A server that file modes mean something to."""
    if os.geteuid() != 0:
        return PROGRAM
    if shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv to give up its power over files")
    return (*POWERLESS, *PROGRAM)


T = TypeVar("T")


def until(state: Callable[[], T], wanted: T) -> None:
    end = time.monotonic() + LONGEST_S
    while (found := state()) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.02)


def ready(caller: Caller) -> str:
    return caller.api.http.get("/readyz").text


def only_reads(caller: Caller) -> None:
    """That there is verification, no writing, and a reason why the server is not ready."""
    until(lambda: ready(caller), "the database cannot be written to\n")
    for _ in range(3):
        assert caller.ask("generate").status == 503
        assert caller.ask("create").status == 503
        assert caller.ask("verify").status == 200


def does_everything(caller: Caller) -> list[str]:
    until(lambda: ready(caller), "ready\n")
    # One connection after the other finds out.
    until(lambda: caller.ask("create").status, 200)
    until(lambda: caller.ask("generate").status, 200)
    assert caller.ask("verify").status == 200
    return [*caller.ask("generate").license_keys, *caller.ask("create").license_keys]


def test_postgresql_that_is_read_only_from_the_start_and_now_and_then(cluster: Cluster, hanaper: Hanaper) -> None:
    with inside(hanaper) as caller:
        known = caller.known
    acknowledged: list[str] = []
    cluster.set(default_transaction_read_only="on")
    with inside(hanaper, known) as caller:
        for _ in range(2):
            only_reads(caller)
            cluster.set(default_transaction_read_only="")
            acknowledged += does_everything(caller)
            cluster.set(default_transaction_read_only="on")
        only_reads(caller)
    nothing_lost(hanaper.settings, acknowledged)


def test_a_standby_that_becomes_the_primary(cluster: Cluster, hanaper: Hanaper, place: Path) -> None:
    with inside(hanaper) as caller:
        known = caller.known
    with running(cluster.standby(place / "standby")) as standby:
        environment = {**hanaper.environment, "HANAPER_DATABASE_URL": standby.url(DATABASE)}
        there = replace(hanaper, environment=environment)
        with inside(there, known) as caller:
            only_reads(caller)
            cluster.kill()
            standby.promote()
            acknowledged = does_everything(caller)
        nothing_lost(there.settings, acknowledged)


def mend(file: Path) -> None:
    """SQLite gives the files beside it the same mode."""
    for each in file.parent.glob(f"{file.name}*"):
        each.chmod(0o600)


def test_sqlite_in_a_file_that_cannot_be_written(on_sqlite: Hanaper) -> None:
    """From the start, and put back so from a backup."""
    file = on_sqlite.data_dir / "hanaper.db"
    with inside(on_sqlite) as caller:
        known = caller.known
    file.chmod(0o400)
    with serving(on_sqlite, 1, known=known, program=ordinary()) as caller:
        assert caller.server is not None
        line = caller.server.wait_for("the database is read-only: nothing can be issued or changed")
        assert line["reason"] == (
            f"{file} cannot be written by this process: give it to the user it runs as, on a writable disk"
        )
        only_reads(caller)
        mend(file)
        acknowledged = does_everything(caller)
        copy = file.with_name("copy.db")
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        for rest in ("-wal", "-shm"):
            file.with_name(file.name + rest).unlink(missing_ok=True)
        copy.chmod(0o400)
        copy.rename(file)
        only_reads(caller)
        mend(file)
        acknowledged += does_everything(caller)
    nothing_lost(on_sqlite.settings, acknowledged)


def test_sqlite_on_a_read_only_disk_ends_the_start(on_sqlite: Hanaper, tmp_path: Path) -> None:
    """It writes for reading, too: here nothing would work."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        data = disk.folder / "data"
        shutil.copytree(on_sqlite.data_dir, data)
        disk.make_read_only()
        for command in (("serve", "--port", "0"), ("key", "list"), ("generate", "--generator", "1", "--quantity", "1")):
            ended = on_sqlite(*command, status=69, HANAPER_DATA_DIR=str(data))
            assert ended.last_line == (
                f"hanaper: the database is read-only ({data} cannot be written by this process: "
                "give it to the user it runs as, on a writable disk)"
            )
            assert len(ended.stderr.splitlines()) == 1
