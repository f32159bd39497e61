"""`hanaper bench`: a short measurement for real. What it measures is not judged here."""

import json
import shutil
import socket
from pathlib import Path

import psycopg
import pytest
from tests.support.postgresql import PostgresqlServer
from tests.support.processes import Hanaper

pytestmark = pytest.mark.long

SHORT = ("--seconds", "1", "--rounds", "1", "--connections", "4", "--workers", "1")
needs_tools = pytest.mark.skipif(
    not (shutil.which("wrk") and shutil.which("openssl")), reason="wrk or openssl is not installed"
)


@needs_tools
@pytest.mark.long
def test_the_bench_measures_and_leaves_nothing_behind(bare: Hanaper, tmp_path: Path) -> None:
    # The settings of whoever measures are not for playing: were they used, the bench would fail.
    ended = bare.anew(
        *("bench", *SHORT, "--quantity", "7", "--json"),
        HANAPER_DATA_DIR=str(tmp_path / "mine"),
        HANAPER_KEY_ENCRYPTION_KEY_FILE="/no/such/file",
    )
    found = ended.json
    assert set(found) == {"hardware", "versions", "settings", "load", "runs", "ceilings_per_s", "result"}
    settings = found["settings"]
    assert (settings["database"], settings["workers"], settings["rsa_bits"]) == ("sqlite", 1, 2048)
    assert settings["synchronous"] == "2"
    assert found["load"] == {"quantity": 7, "connections": 4, "seconds": 1, "think_ms": None, "header": ""}
    assert len(found["ceilings_per_s"]) == 2
    [run] = found["runs"]
    answers = run["seen"]["answers"]
    assert answers > 0
    assert not any(run["seen"]["errors"].values())
    assert run["stored"]["license_keys"] == run["stored"]["batches"] * 7
    assert answers <= run["stored"]["batches"] <= answers + 4
    result = found["result"]
    assert result["share_of_ceiling"]["median"] > 0
    assert result["keys_per_s"]["median"] == pytest.approx(7 * result["requests_per_s"]["median"])
    assert result["p50_ms"]["median"] <= result["p99_ms"]["median"]
    assert str(tmp_path) not in json.dumps(found)
    assert socket.gethostname() not in json.dumps(found)
    assert list(tmp_path.iterdir()) == []


@needs_tools
@pytest.mark.slow
def test_the_table_says_what_was_measured_on_what(bare: Hanaper, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    told = bare.anew("bench", *SHORT, "--rsa-bits", "3072", "--folder", str(scratch))
    for part in ("Hardware\n", "Versions\n", "Settings\n", "share of the ceiling", "p99, ms", "rsa bits", "3072"):
        assert part in told.stdout
    assert "The ceiling is what `openssl speed` signs" in told.stderr
    assert list(scratch.iterdir()) == []


@needs_tools
@pytest.mark.slow
def test_an_empty_postgresql_database_is_measured_and_left_empty(
    bare: Hanaper, postgresql_server: PostgresqlServer
) -> None:
    name = postgresql_server.create_database()
    url = postgresql_server.url(name)
    try:
        found = bare.anew("bench", *SHORT, "--json", HANAPER_BENCH_POSTGRESQL_URL=url).json
        settings = found["settings"]
        assert (settings["database"], settings["fsync"], settings["synchronous_commit"]) == ("postgresql", "on", "on")
        with psycopg.connect(url) as connection:
            left = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
            assert left.fetchall() == []
        bare.anew("init", HANAPER_DATABASE_URL=url)
        refused = bare.anew("bench", *SHORT, status=65, HANAPER_BENCH_POSTGRESQL_URL=url)
        assert "has tables: name an empty database" in refused.last_line
    finally:
        postgresql_server.drop_database(name)


@needs_tools
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://somebody:secret@127.0.0.1/nothing", "HANAPER_BENCH_POSTGRESQL_URL"),
        ("postgresql://somebody@127.0.0.1/nothing?password=secret", "HANAPER_BENCH_POSTGRESQL_URL"),
        ("sqlite:///hanaper.db", "leave it out to measure SQLite"),
    ],
)
def test_a_url_that_is_not_for_the_command_line_is_refused(bare: Hanaper, tmp_path: Path, url: str, said: str) -> None:
    refused = bare.anew("bench", *SHORT, "--database-url", url, status=65)
    assert said in refused.last_line
    assert "secret" not in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["wrk", "openssl"])
def test_a_missing_program_is_named_with_its_cure(bare: Hanaper, tmp_path: Path, missing: str) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in {"wrk", "openssl"} - {missing}:
        (programs / name).symlink_to("/bin/true")
    ended = bare.anew("bench", status=69, PATH=str(programs))
    assert ended.stderr == (
        f"hanaper: {missing} is not installed: apt install {missing} (or brew install {missing}), then again\n"
    )
