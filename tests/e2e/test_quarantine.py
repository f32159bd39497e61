"""`hanaper quarantine`, and the commands that are refused in it."""

from tests.support.processes import Hanaper

LICENSE_KEY = "Some-License-Key"


def is_in_quarantine(hanaper: Hanaper) -> bool:
    answer: bool = hanaper("quarantine", "--json").json["quarantine"]
    return answer


def test_it_is_shown_set_and_lifted(demo_on_either: Hanaper) -> None:
    shown = demo_on_either("quarantine", "--json").json
    assert shown == {"quarantine": False, "reason": None, "since": None}
    entered = demo_on_either("quarantine", "on", "--reason", "restored by hand", "--json").json
    assert (entered["quarantine"], entered["reason"]) == (True, "restored by hand")
    assert demo_on_either("quarantine", "--json").json == entered
    again = demo_on_either("quarantine", "on", "--reason", "another")
    assert "It was in quarantine before, and stays so with its reason." in again.stderr
    assert demo_on_either("quarantine", "--json").json == entered
    lifted = demo_on_either("quarantine", "off", "--yes", "--json")
    assert lifted.json["quarantine"] is False
    assert demo_on_either("quarantine", "off").stderr == ""
    assert not is_in_quarantine(demo_on_either)


def test_it_is_not_lifted_before_somebody_has_read_what_may_be_missing(demo: Hanaper) -> None:
    demo("generate", "--generator", "1", "--quantity", "3")
    demo("quarantine", "on", "--reason", "restored by hand")
    ended = demo("quarantine", "off", status=65)
    for said in ("restored by hand", "has 3 license keys", "newest batch is 1, of 20", "The old server has to be off"):
        assert said in ended.stderr
    assert ended.last_line.endswith("confirm with --yes")
    assert is_in_quarantine(demo)


def test_a_reason_is_one_line(demo: Hanaper) -> None:
    for reason in ("", "two\nlines", "x" * 256):
        demo("quarantine", "on", "--reason", reason, status=65)
    assert not is_in_quarantine(demo)


def test_the_folder_may_be_named_before_the_subcommand(demo: Hanaper, tmp_path: object) -> None:
    folder = str(demo.data_dir)
    demo("quarantine", "--data-dir", folder, "on", "--reason", "x", HANAPER_DATA_DIR=f"{tmp_path}/another")
    assert is_in_quarantine(demo)


def test_commands_that_hand_license_keys_out_are_refused(demo_on_either: Hanaper) -> None:
    demo_on_either("key", "new", "--product", "demo", "--stdin", stdin=LICENSE_KEY)
    license_key = str(demo_on_either("key", "list", "--json").json[0]["id"])
    demo_on_either("quarantine", "on", "--reason", "a test")
    generate = ("generate", "--generator", "1", "--quantity")
    output = demo_on_either.folder / "keys"
    for command in (
        (*generate, "3"),
        (*generate, "3", "--output", str(output)),
        (*generate, "3", "--output", str(output), "--format", "envelope"),
        ("key", "new", "--product", "demo"),
        ("key", "assign", license_key),
    ):
        ended = demo_on_either(*command, status=69)
        assert "in quarantine (a test): nothing is issued until `hanaper quarantine off` lifts it" in ended.last_line
        assert not output.exists()
    # What was taken back after the backup can be taken back again.
    demo_on_either("key", "suspend", license_key)
    demo_on_either("key", "revoke", license_key, "--yes")
    demo_on_either("api-key", "revoke", "1")
    assert demo_on_either("check-store", "--json").json["checked"]["license_keys"] == 1
    demo_on_either("quarantine", "off", "--yes")
    demo_on_either(*generate, "3", "--output", str(output))
    assert demo_on_either("check-store", "--json").json["checked"]["license_keys"] == 4


def test_an_order_that_is_under_way_stops_between_two_batches(demo: Hanaper) -> None:
    """And goes on once the quarantine is lifted."""
    output = demo.folder / "keys"
    trigger = "CREATE TRIGGER stop AFTER INSERT ON batches BEGIN {} END"
    demo.sql(
        trigger.format("INSERT INTO quarantine (id, reason, since) VALUES (1, 'now', '2026-01-01 00:00:00.000000');")
    )
    command = ("generate", "--generator", "1", "--quantity", "2500", "--output", str(output))
    assert "in quarantine" in demo(*command, status=69).stderr
    assert len(output.read_text().splitlines()) == 1001
    demo.sql("DROP TRIGGER stop")
    demo("quarantine", "off", "--yes")
    demo(*command, "--resume")
    assert len(output.read_text().splitlines()) == 2501
