"""`hanaper audit`: what commands change is in the log, and what is changed in the log is found."""

import json

import pytest
from tests.support.processes import Hanaper

LICENSE_KEY = "Some-License-Key"


def actions(hanaper: Hanaper, *arguments: str) -> list[str]:
    """Oldest first."""
    return [row["action"] for row in reversed(hanaper("audit", "list", "--json", *arguments).json)]


def test_what_commands_change_is_told(demo: Hanaper) -> None:
    """Some of them; that none goes without is held by test_code.py."""
    demo("api-key", "add", "shop")
    demo("block-list", "remove", "1", status=65)
    demo("key", "new", "--product", "demo", "--stdin", stdin=LICENSE_KEY)
    demo("key", "suspend", "-", stdin=LICENSE_KEY)
    demo("generate", "--generator", "1", "--quantity", "3")
    demo("quarantine", "on", "--reason", "a test")
    rows = demo("audit", "list", "--json").json
    assert [row["action"] for row in reversed(rows)] == [
        *("audit begins", "init", "init --demo", "api-key add", "key new", "key suspend", "generate", "quarantine on"),
    ]
    assert LICENSE_KEY not in json.dumps(rows)
    assert {row["actor"] for row in rows} == {"command line"}
    by_action = {row["action"]: row for row in rows}
    assert by_action["api-key add"]["objects"] == {"api_key": 2}
    assert by_action["key suspend"]["objects"] == {"licenses": "1", "product": 1}
    assert by_action["key suspend"]["license_digest"] == by_action["key new"]["license_digest"] is not None
    assert (by_action["generate"]["batch"], by_action["generate"]["code"]) == (1, 815)
    assert actions(demo, "--action", "key", "--since", "2020-01-01") == ["key new", "key suspend"]
    assert actions(demo, "--since", "2999-01-01") == []
    assert actions(demo, "--limit", "1") == ["quarantine on"]
    assert "api key 2" in demo("audit", "list").stdout


def test_what_was_changed_in_the_log_is_named(demo_on_either: Hanaper) -> None:
    hanaper = demo_on_either
    old = hanaper("audit", "seal").stdout.strip()
    hanaper("api-key", "add", "shop")
    new = hanaper("audit", "seal").stdout.strip()
    assert new.startswith("1:2:4:")
    whole = hanaper("audit", "verify", "--json", "--checkpoint", old, "--checkpoint", new).json
    assert (whole["clean"], whole["rows"], whole["sealed"], whole["checkpoints"]) == (True, 4, 4, 2)
    assert (whole["first"], whole["findings"], whole["unsealed_since"]) == (None, [], None)
    # As somebody who has made an API key for himself, and covers it up.
    hanaper.sql("DELETE FROM audit_events WHERE id > 3")
    hanaper.sql("DELETE FROM audit_links WHERE event_id > 3")
    hanaper.sql("DELETE FROM audit_checkpoints WHERE event_id > 3")
    assert hanaper("audit", "verify", "--checkpoint", old).stdout.endswith("Nothing was changed since it was sealed.\n")
    cut = hanaper("audit", "verify", "--json", "--checkpoint", new, status=1).json
    assert (cut["clean"], cut["first"], cut["found"], cut["findings"][0]["kind"]) == (False, 4, 1, "truncated")
    hanaper.sql("UPDATE audit_events SET action = 'another' WHERE id = 2")
    edited = hanaper("audit", "verify", status=1)
    assert "the first row that is not as it was sealed: 2" in edited.stderr
    assert "this is no checkpoint" in hanaper("audit", "verify", "--checkpoint", new[:99], status=65).stderr


def test_a_forged_checkpoint_is_none(demo: Hanaper) -> None:
    token = demo("audit", "seal").stdout.strip()
    for forged in (token.replace("1:1:3:3:", "1:1:2:3:", 1), token.replace("1:1:3:3:", "1:1:3:4:", 1)):
        found = demo("audit", "verify", "--json", "--checkpoint", forged, status=1).json
        assert [finding["kind"] for finding in found["findings"]] == ["checkpoint"]


@pytest.mark.slow
def test_a_server_seals_within_a_minute(demo: Hanaper) -> None:
    with demo.serving() as server:
        demo("api-key", "add", "shop")
        token = str(server.wait_for("audit checkpoint")["checkpoint"])
    whole = demo("audit", "verify", "--json", "--checkpoint", token).json
    assert (whole["clean"], whole["unsealed_since"]) == (True, None)
