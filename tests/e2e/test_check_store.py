"""`hanaper check-store`: what it prints, and what it ends with."""

import re

from tests.support.processes import Hanaper

CANARY = "Canary-5309-License-Key"


def filled(hanaper: Hanaper) -> None:
    hanaper("generate", "--generator", "1", "--quantity", "3")
    hanaper("key", "new", "--product", "demo", "--stdin", stdin=f"{CANARY}\n")


def test_nothing_is_wrong_with_what_commands_store(demo_on_either: Hanaper) -> None:
    filled(demo_on_either)
    report = demo_on_either("check-store", "--json").json
    assert list(report) == ["clean", "checked", "found", "kinds", "findings"]
    assert (report["clean"], report["found"], report["kinds"], report["findings"]) == (True, 0, {}, [])
    checked = report["checked"]
    assert (checked["license_keys"], checked["batches"], checked["signatures"], checked["signing_keys"]) == (4, 1, 1, 2)
    shown = demo_on_either("check-store")
    assert re.search(r"^license keys +4$", shown.stdout, re.MULTILINE)
    assert shown.stdout.endswith("Nothing is wrong.\n")
    assert shown.stderr == ""


def test_what_is_wrong_is_told_without_a_license_key(demo_on_either: Hanaper) -> None:
    filled(demo_on_either)
    demo_on_either.sql("UPDATE batches SET signed_at = 1")
    demo_on_either.sql("UPDATE license_keys SET license_key = ' ' || license_key WHERE batch_id IS NULL")
    ended = demo_on_either("check-store", "--json", status=1)
    report = ended.json
    assert (report["clean"], report["found"]) == (False, 2)
    assert report["kinds"] == {"signature": 1, "text": 1}
    by_hand = next(row["id"] for row in demo_on_either("key", "list", "--json").json if row["batch_id"] is None)
    assert [(row["kind"], row["table"], row["id"]) for row in report["findings"]] == [
        ("signature", "batches", 1),
        ("text", "license_keys", by_hand),
    ]
    shown = demo_on_either("check-store", status=1)
    assert re.search(r"^signature +batches +1 +its signature does not cover", shown.stdout, re.MULTILINE)
    assert shown.stderr == "2 findings\n"
    assert CANARY not in ended.stdout + ended.stderr + shown.stdout + shown.stderr


def test_it_runs_beside_a_server(demo_on_either: Hanaper) -> None:
    filled(demo_on_either)
    with demo_on_either.serving() as server:
        assert demo_on_either("check-store", "--json").json["clean"]
        server.stop()


def test_without_an_installation_or_its_key_it_says_what_is_missing(bare: Hanaper, demo: Hanaper) -> None:
    bare("check-store", "--data-dir", str(bare.folder), status=78)
    demo.settings.key_encryption_key.unlink()
    assert "key encryption key" in demo("check-store", status=78).stderr


def test_a_database_that_is_away_is_no_finding(demo: Hanaper) -> None:
    ended = demo("check-store", status=69, HANAPER_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert ended.stdout == ""
