"""`hanaper backup` and `hanaper restore`: what they say, what they refuse, and what is left when they are killed."""

import logging
import os
import shutil
import signal
import stat
import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest
from tests.support.backups import Elsewhere, held_by
from tests.support.mutants import mutant
from tests.support.processes import PROGRAM, Hanaper

from hanaper.audit.record import is_kept
from hanaper.audit.store import BEGINS
from hanaper.clock import iso_z
from hanaper.storage import migrate
from hanaper.storage.schema import head
from hanaper.storage.sqlite import library
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("HANAPER_TEST_BACKUP_KILLS", "20"))
HELD = 5
"""License keys in the backup of the fixture."""

_logger = logging.getLogger(__name__)


def is_empty(place: Hanaper) -> bool:
    """Whether nothing is there but the key encryption key, and the file by which writers take turns."""
    files = {path.name for path in place.data_dir.iterdir()} - {"key-encryption-key", "hanaper.db.lock"}
    url = place.settings.database_url
    if not url:
        return not files
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    return not files and tables == (0,)


def is_restored(place: Hanaper) -> bool:
    """Whether all that is in the backup of the fixture is there, in quarantine."""
    return held_by(place) == HELD and place("quarantine", "--json").json["quarantine"] is True


def told_last(place: Hanaper) -> dict[str, Any]:
    """The newest row of the audit log."""
    rows: list[dict[str, Any]] = place("audit", "list", "--limit", "1", "--json").json
    return rows[0]


def can_serve(place: Hanaper) -> bool:
    """Whether a server would start there."""
    ended = place.forks.run(("quarantine",), folder=place.folder, environment=place.environment, stdin=b"")
    assert ended.status in (0, 78)
    return ended.status == 0


# --- what they say ---


def test_a_backup_says_what_it_is_and_what_is_not_in_it(installed: Hanaper, backup_file: Path) -> None:
    began = datetime.now(UTC)
    ended = installed("backup", str(backup_file), "--json")
    made = ended.json
    assert list(made) == ["file", "bytes", "as_of", "schema", "database"]
    assert (made["file"], made["bytes"]) == (str(backup_file), backup_file.stat().st_size)
    assert began - timedelta(seconds=1) < datetime.fromisoformat(made["as_of"]) < datetime.now(UTC)
    assert stat.S_IMODE(backup_file.stat().st_mode) == 0o600
    assert "The key encryption key is not in it" in ended.stderr
    assert str(installed.settings.key_encryption_key) in ended.stderr
    assert installed.settings.key_encryption_key.read_bytes().strip() not in backup_file.read_bytes()
    assert [path.name for path in backup_file.parent.glob("*.backup*")] == [backup_file.name]


def test_a_restored_database_says_where_it_comes_from(elsewhere: Elsewhere, backup: Path) -> None:
    place = elsewhere()
    ended = place("restore", str(backup), "--json")
    assert (ended.json["quarantine"], ended.json["schema"]) == (True, head())
    assert "`hanaper quarantine off`" in ended.stderr
    assert is_restored(place)
    assert "restored from a.backup, a backup of 20" in place("quarantine").stdout
    row = told_last(place)
    assert (row["action"], row["actor"]) == ("restore", "command line")
    as_of = datetime.fromisoformat(ended.json["as_of"])
    assert row["objects"] == {"as_of": iso_z(as_of), "backup": "a.backup", "schema": head()}
    # So that it can be told from what was done before.
    place("quarantine", "off", "--yes")
    assert told_last(place)["action"] == "quarantine off"
    place("audit", "seal")
    place("audit", "verify")


@pytest.mark.parametrize("since", ["0004", "0006"])
def test_a_backup_of_an_older_schema_is_told_of_where_there_is_a_log(
    installed: Hanaper, elsewhere: Elsewhere, backup_file: Path, since: str
) -> None:
    with Storage.open(installed.settings) as storage:
        migrate.downgrade(storage, since)
    installed("backup", str(backup_file))
    place = elsewhere()
    place("restore", str(backup_file))
    place("db", "upgrade")
    upgrade, before = place("audit", "list", "--json").json[:2]
    assert upgrade["action"] == "db upgrade"
    if is_kept(since):
        assert (before["action"], before["objects"]["schema"]) == ("restore", since)
        assert upgrade["objects"] == {"schema": head(), "schema_before": since}
    else:
        assert before["action"] == BEGINS
        assert upgrade["objects"].pop("quarantine").startswith("restored from a.backup, a backup of 20")
        assert upgrade["objects"] == {"schema": head(), "schema_before": since}


def test_a_restored_database_can_be_backed_up_and_restored_again(
    elsewhere: Elsewhere, backup: Path, tmp_path: Path
) -> None:
    first, second = elsewhere(), elsewhere()
    first("restore", str(backup))
    first("backup", str(tmp_path / "b.backup"))
    second("restore", str(tmp_path / "b.backup"))
    assert is_restored(second)
    assert "restored from b.backup" in second("quarantine").stdout


# --- what they refuse ---


def test_a_backup_is_never_written_over_a_file(installed: Hanaper, backup: Path) -> None:
    content = backup.read_bytes()
    assert "is there already" in installed("backup", str(backup), status=65).stderr
    assert backup.read_bytes() == content
    installed("backup", str(backup.parent / "none" / "b.backup"), status=65)


def test_without_a_database_no_backup_is_made_and_no_database_either(bare: Hanaper, tmp_path: Path) -> None:
    assert "hanaper init" in bare("backup", str(tmp_path / "a.backup"), status=78).stderr
    bare("quarantine", "on", "--reason", "x", status=78)
    assert not list(tmp_path.glob("**/hanaper.db"))
    assert not (tmp_path / "a.backup").exists()


def test_without_the_right_key_encryption_key_nothing_is_restored(elsewhere: Elsewhere, backup: Path) -> None:
    place = elsewhere(key=False)
    assert "is missing: put the file back" in place("restore", str(backup), status=78).stderr
    key = place.settings.key_encryption_key
    key.touch(mode=0o600)
    key.write_text("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")
    assert (
        "is not the one the secret for API keys was encrypted with" in place("restore", str(backup), status=78).stderr
    )
    assert is_empty(place)
    shutil.copy(elsewhere().settings.key_encryption_key, key)
    place("restore", str(backup))
    assert is_restored(place)


def test_a_backup_that_was_cut_off_is_not_restored(elsewhere: Elsewhere, backup: Path, tmp_path: Path) -> None:
    place = elsewhere()
    whole = backup.read_bytes()
    cut = tmp_path / "cut.backup"
    for length in (0, 3, 100, len(whole) // 2, len(whole) // 4096 * 4096 // 2, len(whole) - 4096, len(whole) - 1):
        cut.write_bytes(whole[:length])
        assert "Traceback" not in place("restore", str(cut), status=65).stderr
        assert is_empty(place), length
    place("restore", str(backup))
    assert is_restored(place)


def test_what_is_no_backup_is_not_restored(elsewhere: Elsewhere, installed: Hanaper, tmp_path: Path) -> None:
    place = elsewhere()
    for name, content in (
        ("text", b"These are no license keys."),
        ("sqlite", b"SQLite format 3\0"),
        ("dump", b"PGDMP"),
    ):
        (tmp_path / name).write_bytes(content)
        place("restore", str(tmp_path / name), status=65)
    place("restore", str(tmp_path / "none"), status=65)
    place("restore", str(tmp_path), status=65)
    url = installed.settings.database_url
    if url:
        plain = tmp_path / "plain.dump"
        command = ["pg_dump", "--format=custom", f"--file={plain}", url]
        subprocess.run(command, env=installed.environment, check=True)
        said = place("restore", str(plain), status=65).stderr
    else:
        said = place("restore", str(installed.data_dir / "hanaper.db"), status=65).stderr
        other = tmp_path / "other.db"
        with library().connect(str(other)) as connection:
            connection.execute("CREATE TABLE notes (text)")
        connection.close()
        assert "but not of hanaper" in place("restore", str(other), status=65).stderr
    assert "was not made by `hanaper backup`" in said
    assert is_empty(place)


def test_a_backup_of_one_kind_of_database_is_not_restored_into_the_other(elsewhere: Elsewhere, backup: Path) -> None:
    place = elsewhere()
    url = "" if place.settings.database_url else "postgresql://nobody@127.0.0.1:1/none"
    said = place("restore", str(backup), status=65, HANAPER_DATABASE_URL=url).stderr
    assert "is a backup of" in said
    assert is_empty(place)


def test_nothing_is_restored_over_a_database(installed: Hanaper, elsewhere: Elsewhere, backup: Path) -> None:
    installed("generate", "--generator", "1", "--quantity", "1")
    said = installed("restore", str(backup), status=65).stderr
    assert "is not empty" in said
    assert held_by(installed) == HELD + 1
    assert installed("quarantine", "--json").json["quarantine"] is False
    place = elsewhere()
    place("restore", str(backup))
    place("restore", str(backup), status=65)
    assert is_restored(place)


def test_a_schema_this_hanaper_does_not_know_is_neither_backed_up_nor_restored(
    installed: Hanaper, elsewhere: Elsewhere, backup_file: Path
) -> None:
    installed.sql("UPDATE alembic_version SET version_num = '9999'")
    assert "install the newer release" in installed("backup", str(backup_file), status=78).stderr
    assert not backup_file.exists()
    installed.sql("UPDATE alembic_version SET version_num = '0003'")
    assert "older than this command" in installed("backup", str(backup_file), status=78).stderr
    installed.sql(f"UPDATE alembic_version SET version_num = '{head()}'")  # noqa: S608 -- a revision of ours
    installed("backup", str(backup_file))
    if installed.settings.database_url:
        return
    with library().connect(str(backup_file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    place = elsewhere()
    assert "install the newer release" in place("restore", str(backup_file), status=78).stderr
    assert is_empty(place)


def test_an_empty_database_is_an_empty_place_and_leftovers_are_not(demo: Hanaper, tmp_path: Path) -> None:
    file, place = tmp_path / "a.backup", tmp_path / "place"
    demo("backup", str(file))
    place.mkdir()
    shutil.copy(demo.settings.key_encryption_key, place)
    left = place / "hanaper.db-wal"
    left.write_bytes(b"of another database")
    assert "is left of another database" in demo("restore", str(file), "--data-dir", str(place), status=65).stderr
    left.unlink()
    # What a command leaves that was run too early.
    demo("db", "check", "--data-dir", str(place), status=78)
    assert (place / "hanaper.db").exists()
    left.write_bytes(b"of another database")
    assert "is not empty" in demo("restore", str(file), "--data-dir", str(place), status=65).stderr
    assert left.exists()
    left.unlink()
    demo("restore", str(file), "--data-dir", str(place))
    assert demo("quarantine", "--data-dir", str(place), "--json").json["quarantine"] is True


def test_without_the_programs_of_postgresql_it_says_what_to_install(
    installed: Hanaper, backup_file: Path, tmp_path: Path
) -> None:
    if not installed.settings.database_url:
        pytest.skip("SQLite needs no programs")
    programs = tmp_path / "programs"
    programs.mkdir()
    ended = installed("backup", str(backup_file), status=78, PATH=str(programs))
    assert "there is no pg_dump on PATH: install the client programs of PostgreSQL" in ended.stderr
    for name in ("pg_dump", "pg_restore"):
        (programs / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.24'\n")
        (programs / name).chmod(0o755)
    ended = installed("backup", str(backup_file), status=78, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert "is pg_dump (PostgreSQL) 9.6.24, and the server is PostgreSQL" in ended.stderr
    assert not backup_file.exists()


# --- backups that are put in place by hand ---


def test_a_backup_that_was_put_in_place_by_hand_does_not_issue(elsewhere: Elsewhere, backup: Path) -> None:
    place = elsewhere()
    url = place.settings.database_url
    if url:
        subprocess.run(["pg_restore", "--no-owner", f"--dbname={url}", backup], env=place.environment, check=True)
        for command in (("serve",), ("generate", "--generator", "1", "--quantity", "1"), ("quarantine",)):
            assert "run `hanaper quarantine on" in place(*command, status=78).stderr
        place("quarantine", "on", "--reason", "put in place by hand")
    else:
        shutil.copy(backup, place.data_dir / "hanaper.db")
    assert is_restored(place)
    refused = place("generate", "--generator", "1", "--quantity", "1", status=69)
    assert "in quarantine" in refused.stderr


# --- killed ---


def killed(hanaper: Hanaper, *arguments: str, at: str) -> None:
    """Run a command that is killed at some place of its code."""
    environment = {**hanaper.environment, **mutant("dies"), "DIES_AT": at, "COVERAGE_PROCESS_CONFIG": ""}
    ended = subprocess.run([*PROGRAM, *arguments], env=environment, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


BACKUP_STEPS = {
    "sqlite": ("hanaper.storage.sqlite_copy:_copy_log", "hanaper.storage.sqlite_copy:finish"),
    "postgresql": ("hanaper.storage.postgresql_tools:Tools.read_through",),
}


@pytest.mark.slow
def test_a_backup_that_is_killed_leaves_nothing_that_could_be_taken_for_one(
    installed: Hanaper, elsewhere: Elsewhere, database_kind: str, backup_file: Path
) -> None:
    installed("generate", "--generator", "1", "--quantity", str(HELD))
    for step in (*BACKUP_STEPS[database_kind], "hanaper.backup.new_file:_sync"):
        killed(installed, "backup", str(backup_file), at=step)
        assert not backup_file.exists()
        unfinished = backup_file.with_name(f".{backup_file.name}.unfinished")
        assert stat.S_IMODE(unfinished.stat().st_mode) == 0o600
        said = installed("backup", str(backup_file), status=65).stderr
        assert f"{unfinished} is there" in said
        for left in backup_file.parent.glob(f"{unfinished.name}*"):
            left.unlink()
    installed("backup", str(backup_file))
    place = elsewhere()
    place("restore", str(backup_file))
    assert is_restored(place)


RESTORE_STEPS = {
    "sqlite": (
        "hanaper.storage.sqlite_copy:damage",
        "hanaper.storage.sqlite_copy:write_alone",
        "pathlib:Path.rename",
        "pathlib:Path.rename+",
    ),
    "postgresql": (
        "hanaper.storage.postgresql_tools:Tools.restore_dump",
        "hanaper.storage.postgresql_tools:Tools.restore_dump+",
        "hanaper.storage.quarantine:enter+",
        "hanaper.backup.restore:_clear_staged",
    ),
}


@pytest.mark.slow
def test_a_restoration_that_is_killed_leaves_nothing_or_what_is_refused(
    elsewhere: Elsewhere, database_kind: str, backup: Path
) -> None:
    seen = []
    for step in RESTORE_STEPS[database_kind]:
        place = elsewhere()
        killed(place, "restore", str(backup), at=step)
        seen.append(mended(place, backup))
        assert is_restored(place), step
    expected = {
        "sqlite": ["nothing", "nothing", "nothing", "whole"],
        "postgresql": ["nothing", "half", "half", "whole"],
    }
    assert seen == expected[database_kind]


def mended(place: Hanaper, backup: Path) -> str:
    """What a restoration that was killed has left, and then what its error texts say is done."""
    for left in place.data_dir.glob(".hanaper.db.unfinished*"):
        left.unlink()
    if is_empty(place):
        place("restore", str(backup))
        assert told_last(place)["action"] == "restore"
        return "nothing"
    if can_serve(place):
        assert told_last(place)["action"] == "restore"
        return "whole"
    assert "run `hanaper quarantine on" in place("serve", status=78).stderr
    place("restore", str(backup), status=65)
    place("quarantine", "on", "--reason", "killed")
    return "half"


def killed_some_time(hanaper: Hanaper, *arguments: str, longest_s: float, chance: Random) -> None:
    """Run a command that is killed after a while, unless it has ended before; its children live on."""
    environment = {**hanaper.environment, "COVERAGE_PROCESS_CONFIG": ""}
    with subprocess.Popen(
        [*PROGRAM, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        sleep(chance.uniform(0, longest_s))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    until = monotonic() + 60
    while any(map(is_at_work, children)):
        assert monotonic() < until
        sleep(0.05)


def is_at_work(pid: str) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def seconds_of(hanaper: Hanaper, *arguments: str) -> float:
    began = monotonic()
    hanaper.anew(*arguments)
    return monotonic() - began


@pytest.fixture
def large(installed: Hanaper) -> Hanaper:
    """An installation whose backup takes a moment."""
    installed("generate", "--generator", "1", "--quantity", "100000", "--output", str(installed.folder / "keys"))
    return installed


@pytest.mark.slow
def test_whenever_a_backup_is_killed_there_is_none_or_a_whole_one(
    large: Hanaper, elsewhere: Elsewhere, backup_file: Path
) -> None:
    chance = Random(1)  # noqa: S311 -- a test wants to be repeated
    longest_s = 1.1 * seconds_of(large, "backup", str(backup_file))
    whole = 0
    for number in range(KILLS):
        file = backup_file.with_name(f"{number}.backup")
        killed_some_time(large, "backup", str(file), longest_s=longest_s, chance=chance)
        if file.exists():
            whole += 1
            place = elsewhere()
            place("restore", str(file))
            assert held_by(place) == 100_000
        for left in file.parent.glob(f".{file.name}.unfinished*"):
            left.unlink()
    _logger.info("%d kills within %.1f s, %d whole backups", KILLS, longest_s, whole)
    assert whole < KILLS


@pytest.mark.slow
def test_whenever_a_restoration_is_killed_there_is_nothing_or_what_is_refused(
    large: Hanaper, elsewhere: Elsewhere, backup_file: Path
) -> None:
    chance = Random(1)  # noqa: S311 -- a test wants to be repeated
    large("backup", str(backup_file))
    longest_s = 1.1 * seconds_of(elsewhere(), "restore", str(backup_file))
    seen: Counter[str] = Counter()
    for _ in range(KILLS):
        place = elsewhere()
        killed_some_time(place, "restore", str(backup_file), longest_s=longest_s, chance=chance)
        seen[mended(place, backup_file)] += 1
        assert held_by(place) == 100_000
        assert place("quarantine", "--json").json["quarantine"] is True
    _logger.info("%d kills within %.1f s left %s", KILLS, longest_s, dict(seen))
    assert seen["nothing"] + seen["half"] > 0
