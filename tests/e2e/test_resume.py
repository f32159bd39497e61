"""`hanaper generate --resume`: a large order goes on where it was interrupted or killed."""

import csv
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.processes import Hanaper
from tests.support.slow import first

from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

ORDER = ("generate", "--generator", "1", "--quantity", "20000", "--output", "keys.out")


def stored(hanaper: Hanaper) -> dict[str, int]:
    """License keys in the database, each with its batch, in order."""
    with Storage.open(hanaper.settings) as storage:
        query = text("SELECT license_key, batch_id FROM license_keys ORDER BY id")
        return {row[0]: row[1] for row in storage.read(lambda session: session.execute(query).all())}


def written(file: Path, form: str) -> dict[str, int]:
    """License keys in the file; none of them twice."""
    lines = file.read_text().splitlines()
    if form == "csv":
        assert lines[0] == "license_key,batch"
        rows = [(row["license_key"], int(row["batch"])) for row in csv.DictReader(lines)]
    else:
        rows = [(row["license_key"], row["batch"]) for row in map(json.loads, lines)]
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def begin_and_kill(hanaper: Hanaper, form: str, *, lines: int, number: int = signal.SIGKILL) -> None:
    """Let the order run until so many lines are in its file, and kill it in the middle of its work."""
    command = [sys.executable, "-m", "hanaper", *ORDER, "--format", form]
    environment = hanaper.environment
    with subprocess.Popen(command, cwd=hanaper.folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        file = hanaper.folder / "keys.out"
        while not file.exists() or file.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, "it was faster than the signal"
            time.sleep(0.001)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    if number == signal.SIGINT:
        assert said.splitlines()[-1] == "The same command with --resume goes on with keys.out."


WAYS = [
    ("sqlite", signal.SIGKILL, "csv"),
    ("postgresql", signal.SIGINT, "jsonl"),
    ("sqlite", signal.SIGINT, "csv"),
    ("sqlite", signal.SIGKILL, "jsonl"),
    ("sqlite", signal.SIGINT, "jsonl"),
    ("postgresql", signal.SIGKILL, "csv"),
    ("postgresql", signal.SIGINT, "csv"),
    ("postgresql", signal.SIGKILL, "jsonl"),
]


@pytest.mark.parametrize(("database_kind", "number", "form"), first(2, WAYS))
def test_an_order_goes_on_where_it_was_stopped(demo_on_either: Hanaper, form: str, number: int) -> None:
    hanaper = demo_on_either
    begin_and_kill(hanaper, form, lines=1500, number=number)
    note = hanaper.folder / "keys.out.resume"
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    before = stored(hanaper)
    assert 1000 <= len(before) < 20000
    said = hanaper(*ORDER, "--format", form, "--resume")
    assert said.stderr == "20,000 license keys stored\n"
    assert not note.exists()
    after = stored(hanaper)
    assert len(after) == 20000
    assert before.items() <= after.items()
    assert written(hanaper.folder / "keys.out", form) == after
    nothing = hanaper(*ORDER, "--format", form, "--resume", status=65)
    assert nothing.stderr == (
        "hanaper: there is nothing to go on with: keys.out.resume is not there (it is removed when all is written)\n"
    )


LOST = [("csv", 50_000), ("jsonl", 21)]
MORE = [(form, kept) for form in ("csv", "jsonl") for kept in (0, 5, 21, 50_000, 100_000)]


@pytest.mark.parametrize(("form", "kept"), first(2, dict.fromkeys(LOST + MORE)))
def test_what_the_file_has_lost_comes_back_from_the_database(demo: Hanaper, form: str, kept: int) -> None:
    """As after a power cut: the file ends anywhere, in the middle of a line, say."""
    begin_and_kill(demo, form, lines=3000)
    file = demo.folder / "keys.out"
    os.truncate(file, kept)
    before = stored(demo)
    demo(*ORDER, "--format", form, "--resume")
    after = stored(demo)
    assert before.items() <= after.items()
    assert written(file, form) == after
    assert len(after) == 20000


@pytest.mark.slow
def test_a_killed_order_can_be_killed_again(demo: Hanaper) -> None:
    begin_and_kill(demo, "csv", lines=1500)
    command = [sys.executable, "-m", "hanaper", *ORDER, "--resume"]
    with subprocess.Popen(command, cwd=demo.folder, env=demo.environment) as process:
        while (demo.folder / "keys.out").read_bytes().count(b"\n") < 4000:
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    demo(*ORDER, "--resume")
    assert written(demo.folder / "keys.out", "csv") == stored(demo)
    assert len(stored(demo)) == 20000


def test_an_order_of_other_terms_does_not_go_on_with_it(demo: Hanaper) -> None:
    begin_and_kill(demo, "csv", lines=1500)
    count = len(stored(demo))
    unfinished = demo(*ORDER, status=65)
    assert unfinished.stderr == (
        "hanaper: keys.out is there already, unfinished: go on with it by --resume, or name a new file\n"
    )
    for more, said in (
        (["--quantity", "7000"], "quantity 20000, not 7000"),
        (["--format", "jsonl"], "format csv, not jsonl"),
        (["--validity", "30"], "validity None, not 30"),
        (["--activation-limit", "1"], "activation limit None, not 1"),
        (["--generator", "2"], "generator 1, not 2"),
    ):
        ended = demo(*ORDER, "--resume", *more, status=65)
        assert ended.stderr == f"hanaper: keys.out was begun with {said}: repeat the command as it was\n"
    assert len(stored(demo)) == count


@pytest.mark.parametrize("line", first(1, ["foreign-key,999", "foreign-key", "", "a,b,c", "x,1"]))
def test_a_file_that_somebody_has_changed_is_not_gone_on_with(demo: Hanaper, line: str) -> None:
    begin_and_kill(demo, "csv", lines=1500)
    file = demo.folder / "keys.out"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:10], line + "\r\n", *lines[10:]]), newline="")
    before = file.read_bytes()
    ended = demo(*ORDER, "--resume", status=65)
    assert "is not as it was written: it cannot be gone on with" in ended.stderr
    assert file.read_bytes() == before


def test_a_damaged_note_is_told(demo: Hanaper) -> None:
    begin_and_kill(demo, "csv", lines=1500)
    (demo.folder / "keys.out.resume").write_text("{")
    ended = demo(*ORDER, "--resume", status=65)
    assert ended.stderr == "hanaper: keys.out.resume is damaged: what was stored is in `hanaper key export`\n"


def test_two_commands_do_not_write_one_file(demo: Hanaper) -> None:
    begin_and_kill(demo, "csv", lines=1500)
    hold = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    command = [sys.executable, "-c", hold, str(demo.folder / "keys.out.resume")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        ended = demo(*ORDER, "--resume", status=65)
        holder.kill()
    assert ended.stderr == "hanaper: another process is writing keys.out: wait for it\n"
    demo(*ORDER, "--resume")


def test_only_a_file_can_be_gone_on_with(demo: Hanaper) -> None:
    for more in ([], ["--output", "-"], ["--output", "x", "--format", "envelope"]):
        ended = demo("generate", "--generator", "1", "--quantity", "5", "--resume", *more, status=65)
        assert ended.stderr == (
            "hanaper: --resume goes on with a file: name it by --output, its format is csv or jsonl\n"
        )
    assert stored(demo) == {}


def test_a_small_order_leaves_no_note(demo: Hanaper) -> None:
    demo("generate", "--generator", "1", "--quantity", "5", "--output", "keys.csv")
    assert sorted(path.name for path in demo.folder.iterdir()) == ["data", "keys.csv"]
