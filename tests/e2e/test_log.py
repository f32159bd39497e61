"""What the log of a server says: how it is set up, that it ends, and why something failed."""

import json
from typing import Any

import httpx
from tests.support.processes import Hanaper, Server

from hanaper import __version__
from hanaper.settings import Settings

FORM = {"api_key": "2964c3c9-0b5d-4d89-b3ac-4668f30bc492", "generator_id": "1", "quantity": "2"}
CANARY = "Canary-4471"


def ask(server: Server) -> tuple[int, str]:
    answer = httpx.post(f"{server.url}/api/v1/generate", data=FORM, timeout=60, trust_env=False)
    return answer.json()["response"]["code"], answer.headers["x-request-id"]


def lines_of(server: Server, request_id: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, server.lines) if line.get("request_id") == request_id]


def test_the_settings_in_force_are_told_at_the_start_and_none_that_is_secret(demo: Hanaper) -> None:
    url = f"sqlite:///{demo.data_dir / 'hanaper.db'}"
    with demo.serving(HANAPER_DATABASE_URL=url, HANAPER_MAX_QUANTITY="77", HANAPER_LOG_LEVEL="debug") as server:
        told = server.wait_for("settings")
        server.wait_for("serving")
        assert server.stop() == 0
    assert set(Settings.model_fields) - {"database_url"} <= set(told)
    assert (told["version"], told["max_quantity"], told["log_level"]) == (__version__, 77, "debug")
    assert "database_url" not in told
    events = [json.loads(line)["event"] for line in server.lines]
    assert events.index("settings") < events.index("serving") < events.index("stopped")
    assert all({"event", "level", "timestamp"} <= set(json.loads(line)) for line in server.lines)


def test_every_failure_names_its_reason_under_the_id_of_its_request(demo: Hanaper) -> None:
    database = demo.data_dir / "hanaper.db"
    with demo.serving() as server:
        assert ask(server)[0] == 815
        kept = database.rename(database.with_name("kept.db"))
        unavailable, first = ask(server)
        kept.rename(database)
        demo.sql(
            """CREATE TRIGGER quote BEFORE INSERT ON license_keys
               BEGIN SELECT RAISE(ABORT, 'NOT NULL constraint failed: Canary-4471'); END"""
        )
        bug, second = ask(server)
        assert server.stop() == 0
    assert (unavailable, bug) == (1705, 1706)
    reason, request = lines_of(server, first)
    assert (reason["event"], reason["level"]) == ("unavailable", "error")
    assert "is gone (No such file or directory)" in reason["reason"]
    assert (request["event"], request["status"], request["code"]) == ("request", 503, 1705)
    reason, request = lines_of(server, second)
    assert (reason["event"], reason["level"]) == ("internal error", "error")
    assert any("IntegrityError" in line for line in reason["where"])
    assert (request["event"], request["status"], request["code"]) == ("request", 500, 1706)
    assert CANARY not in server.log
