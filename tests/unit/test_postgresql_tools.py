"""PostgreSQL's programs are given no secrets as arguments, and what they say is passed on without rows."""

import pytest
from sqlalchemy import make_url

from hanaper.storage.postgresql_tools import first_error, for_libpq


def test_the_password_is_no_argument() -> None:
    url = make_url("postgresql+psycopg://ann:s3cret@db.example:6432/keys?sslmode=require&sslpassword=s3cret")
    conninfo, password = for_libpq(url)
    assert password == "s3cret"
    assert "s3cret" not in conninfo
    assert dict(part.split("=") for part in conninfo.split()) == {
        "user": "ann",
        "host": "db.example",
        "port": "6432",
        "dbname": "keys",
        "sslmode": "require",
        "connect_timeout": "5",
    }


def test_several_hosts_and_sockets_are_passed_on() -> None:
    several = "postgresql+psycopg://ann@/keys?host=one:5432&host=two:5433&target_session_attrs=read-write"
    conninfo, password = for_libpq(make_url(several))
    assert password is None
    assert "host=one,two" in conninfo
    assert "port=5432,5433" in conninfo
    assert "target_session_attrs=read-write" in conninfo
    assert "host=/run/postgresql" in for_libpq(make_url("postgresql+psycopg:///keys?host=/run/postgresql"))[0]


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("", "nothing"),
        ("pg_dump: error: connection refused\n\tIs the server running?", "connection refused"),
        ("pg_restore: warning: x\npg_restore: error: input file is too short", "input file is too short"),
        (
            'pg_restore: error: COPY failed for table "license_keys": ERROR:  no such "ACME-1"\nCONTEXT:  ACME-2',
            'COPY failed for table "license_keys"',
        ),
        ("sh: broken\nmore", "sh: broken"),
    ],
)
def test_what_a_program_says_is_one_line_without_rows(stderr: str, said: str) -> None:
    assert first_error(stderr) == said
