"""`hanaper doctor` as people and scripts run it."""

from typing import Any

import pytest
from sqlalchemy import make_url
from tests.support.mutants import mutant
from tests.support.processes import Hanaper, Outcome

CANARY = "Canary9071"


def findings(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in outcome.json["findings"]}


def test_what_is_well_and_what_is_not_has_its_exit_status(demo_on_either: Hanaper) -> None:
    # PostgreSQL in the tests is left with its superuser, which is another warning.
    on_sqlite = "HANAPER_DATABASE_URL" not in demo_on_either.environment
    warned = demo_on_either("doctor", "--json", status=0)
    assert warned.json["verdict"] == "warning"
    by_check = findings(warned)
    assert by_check["demo-key"]["verdict"] == "warning"
    assert "hanaper api-key revoke" in by_check["demo-key"]["cure"]
    assert {finding["check"] for finding in warned.json["findings"] if finding["verdict"] != "ok"} == (
        {"demo-key"} if on_sqlite else {"demo-key", "postgresql-role"}
    )
    demo_on_either("doctor", "--strict", "--json", status=3)
    demo_on_either("doctor", "--json", status=1, HANAPER_HOST="0.0.0.0")  # noqa: S104 -- it would be open to all
    if on_sqlite:
        demo_on_either("api-key", "revoke", "1")
        assert demo_on_either("doctor", "--strict", "--json", status=0).json["verdict"] == "ok"


def test_people_read_a_table_with_the_cure_below_what_is_wrong(demo: Hanaper) -> None:
    (demo.data_dir / "key-encryption-key").chmod(0o644)
    told = demo("doctor", status=1)
    lines = told.stdout.splitlines()
    assert lines[0].split() == ["verdict", "check", "found"]
    [at] = [number for number, line in enumerate(lines) if line.startswith("problem")]
    assert lines[at].split()[1] == "key-encryption-key"
    assert "mode 0644, others may read it" in lines[at]
    assert lines[at + 1].strip().startswith("-> run `chmod 600 ")
    assert told.last_line.startswith("problem: 1, warning: 1, ok: ")


@pytest.mark.parametrize(
    ("environment", "check", "said"),
    [
        ({"HANAPER_PORT": CANARY}, "settings", "HANAPER_PORT: "),
        ({"HANAPER_DATABASE_URL": f"garbage {CANARY}"}, "database", "HANAPER_DATABASE_URL is not a database URL"),
        ({"HANAPER_DATABASE_URL": f"postgresql://u:{CANARY}@127.0.0.1:1/n"}, "database", "Connection refused"),
        ({"HANAPER_DATABASE_URL": f"postgresql://u:{CANARY}@h/n?port=no"}, "database", "a parameter with a value"),
        ({"HANAPER_DATABASE_PASSWORD_FILE": "/no/such"}, "database", "SQLite has no password"),
        ({"HANAPER_DATA_DIR": "/no/such/folder"}, "data-folder", "No such file or directory"),
    ],
)
def test_whatever_is_wrong_around_it_is_a_finding(
    demo: Hanaper, environment: dict[str, str], check: str, said: str
) -> None:
    told = demo("doctor", "--json", status=1, **environment)
    finding = findings(told)[check]
    assert (finding["verdict"], said in finding["text"], bool(finding["cure"])) == ("problem", True, True), finding
    assert CANARY not in told.stdout + told.stderr


def test_a_server_that_runs_is_asked(demo: Hanaper) -> None:
    with demo.serving() as server:
        port = server.url.rpartition(":")[2]
        told = findings(demo("doctor", "--json", HANAPER_PORT=port))
        assert (told["server"]["verdict"], told["server"]["text"]) == ("ok", f"{server.url}/readyz is ready")
        assert server.stop() == 0


def test_the_password_is_not_told(demo_on_either: Hanaper) -> None:
    url = make_url(demo_on_either.environment.get("HANAPER_DATABASE_URL", "sqlite:///x"))
    if url.get_backend_name() != "postgresql":
        url = make_url(f"postgresql://hanaper:{CANARY}@127.0.0.1:1/hanaper")
    shown = url.set(password=CANARY).render_as_string(hide_password=False)
    told = demo_on_either.forks.run(
        ("doctor", "--json"),
        folder=demo_on_either.folder,
        environment={**demo_on_either.environment, "HANAPER_DATABASE_URL": shown},
        stdin=b"",
    )
    assert told.json["findings"]
    assert CANARY not in told.stdout + told.stderr


def test_a_hanaper_that_does_not_wait_for_the_disk_is_found_out(demo: Hanaper) -> None:
    faulty = Hanaper(demo.forks, demo.folder, {**demo.environment, **mutant("weak_sync")})
    told = findings(faulty.anew("doctor", "--json", status=1))
    assert told["sqlite-durability"]["verdict"] == "problem"
    assert "synchronous=1" in told["sqlite-durability"]["text"]
