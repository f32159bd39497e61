"""Settings that are wrong: the variable is named, its value is not shown, and nothing is made."""

import pytest
from tests.support.processes import Hanaper

CANARY = "Canary7531"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_POOL_SIZE", CANARY),
        ("DATABASE_POOL_SIZE", "0"),
        ("PORT", CANARY),
        ("PORT", "65536"),
        ("WORKERS", CANARY),
        ("WORKERS", "65"),
        ("MAX_QUANTITY", CANARY),
        ("MAX_QUANTITY", "0"),
        ("MAX_BODY_BYTES", CANARY),
        ("RSA_BITS", CANARY),
        ("RSA_BITS", "1024"),
        ("TRUSTED_PROXIES", CANARY),
        ("TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0"),
        ("OPENAPI", CANARY),
        ("METRICS_ADDRESS", CANARY),
        ("METRICS_ADDRESS", "127.0.0.1"),
        ("METRICS_ADDRESS", "127.0.0.1:65536"),
        ("METRICS_ADDRESS", "::1:9464"),
        ("METRICS_ADDRESS", f"user:{CANARY}@127.0.0.1:9464"),
        ("METRICS_ADDRESS", "0.0.0.0:8000"),
        ("LOG_LEVEL", CANARY),
        ("LOG_FORMAT", CANARY),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(bare: Hanaper, variable: str, value: str) -> None:
    ended = bare("init", status=78, **{f"HANAPER_{variable}": value})
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"hanaper: HANAPER_{variable}: ")
    assert len(ended.stderr.splitlines()) == 1
    assert CANARY not in ended.stderr
    assert list(bare.folder.iterdir()) == []


def test_several_wrong_settings_are_named_at_once(bare: Hanaper) -> None:
    ended = bare("serve", status=78, HANAPER_PORT=CANARY, HANAPER_LOG_LEVEL=CANARY)
    assert "HANAPER_PORT: " in ended.stderr
    assert "; HANAPER_LOG_LEVEL: " in ended.stderr
    assert CANARY not in ended.stderr


def test_empty_settings_count_as_absent(bare: Hanaper) -> None:
    (bare.folder / "data").mkdir()
    ended = bare("db", "check", status=78, HANAPER_PORT="", HANAPER_DATABASE_URL="", HANAPER_DATA_DIR="")
    assert str(bare.folder / "data" / "hanaper.db") in ended.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"garbage {CANARY}", "HANAPER_DATABASE_URL is not a database URL: use postgresql://"),
        (f"postgresql://user:{CANARY}@host:{CANARY}/name", "HANAPER_DATABASE_URL is not a database URL"),
        (f"postgresql://user:pass@{CANARY}@host/name", "HANAPER_DATABASE_URL is not a database URL"),
        (f"postgresql://user:pass@{CANARY}:word@host/name", "HANAPER_DATABASE_URL is not a database URL"),
        (f"postgresql://user:{CANARY}@host/name?port=none", "HANAPER_DATABASE_URL has a parameter with a value that"),
        (f"mysql://user:{CANARY}@host/name", "HANAPER_DATABASE_URL names mysql: supported are postgresql and sqlite"),
        ("sqlite://", "HANAPER_DATABASE_URL names no SQLite file: use sqlite:////absolute/path.db"),
        ("sqlite:///:memory:", "HANAPER_DATABASE_URL names no SQLite file"),
        ("sqlite:///file:hanaper.db", "HANAPER_DATABASE_URL names no SQLite file"),
    ],
)
def test_a_database_url_that_is_not_usable_is_refused_without_showing_it(bare: Hanaper, url: str, said: str) -> None:
    ended = bare("init", status=78, HANAPER_DATABASE_URL=url)
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"hanaper: {said}")
    assert len(ended.stderr.splitlines()) == 1
    assert CANARY not in ended.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"postgresql://user:{CANARY}@127.0.0.1:1/name", "Connection refused"),
        (f"postgresql://user@127.0.0.1:1/name?password={CANARY}", "Connection refused"),
        (f"postgresql://user:{CANARY}@127.0.0.1:99999/name", "invalid port number"),
        (f"postgresql://user:{CANARY}@127.0.0.1:1/name?no_such_parameter=1", "no_such_parameter"),
    ],
)
def test_a_postgresql_that_does_not_answer_is_told_without_the_password(bare: Hanaper, url: str, said: str) -> None:
    ended = bare("serve", status=69, HANAPER_DATABASE_URL=url)
    assert ended.stdout == ""
    assert ended.stderr.startswith("hanaper: the database does not answer (")
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert CANARY not in ended.stderr


def test_the_password_is_not_shown_wherever_the_url_holds_it(bare: Hanaper, empty_database_url: str) -> None:
    if not empty_database_url.startswith("postgresql"):
        shown = bare("init", "--json", HANAPER_DATABASE_URL=empty_database_url).json["database_url"]
        assert shown == empty_database_url
        return
    # libpq takes a password from a parameter as well; the server of the tests trusts everybody.
    mark = "&" if "?" in empty_database_url else "?"
    said = bare("init", "--json", HANAPER_DATABASE_URL=f"{empty_database_url}{mark}sslpassword={CANARY}")
    assert said.json["database_url"].startswith("postgresql://")
    assert CANARY not in said.stdout + said.stderr


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"one\ntwo\n"])
def test_a_password_file_that_is_not_usable_is_named(bare: Hanaper, content: bytes) -> None:
    (bare.folder / "password").write_bytes(content)
    ended = bare(
        "init",
        status=78,
        HANAPER_DATABASE_URL="postgresql://user@127.0.0.1:1/name",
        HANAPER_DATABASE_PASSWORD_FILE="password",
    )
    assert ended.stderr.startswith("hanaper: the database password password ")


def test_a_password_from_a_file_is_not_shown(bare: Hanaper) -> None:
    (bare.folder / "password").write_text(CANARY)
    ended = bare(
        "init",
        status=69,
        HANAPER_DATABASE_URL="postgresql://user@127.0.0.1:1/name",
        HANAPER_DATABASE_PASSWORD_FILE="password",
    )
    assert CANARY not in ended.stderr


def test_a_file_that_is_no_database_is_refused(bare: Hanaper) -> None:
    (bare.folder / "data").mkdir()
    (bare.folder / "data" / "hanaper.db").write_text(
        "A text, and rather longer than the hundred bytes of a header. " * 5
    )
    ended = bare("init", status=69)
    assert ended.stderr == "hanaper: the database does not answer (file is not a database)\n"
