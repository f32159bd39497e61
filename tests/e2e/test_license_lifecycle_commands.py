"""`hanaper key` and `hanaper product`: what an operator does to one license key, or to a product, by command."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs

import pytest
from sqlalchemy import select
from tests.e2e.conftest import client
from tests.support.api import Api
from tests.support.processes import LONGEST_S, Hanaper, Outcome
from tests.support.slow import first

from hanaper.licenses.models import Activation, LicenseKey
from hanaper.outbound.models import OutgoingCall
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
CANARY = "Canary-5309-License-Key"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000000Z")
LONG_AGO = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
STORED = [
    "id",
    "license_key",
    "product_id",
    "generator_id",
    "batch_id",
    "status",
    "owner_name",
    "owner_email",
    "activation_limit",
    "validity",
    "assigned_at",
    "source",
    "created_at",
    "updated_at",
]
FULL = [*STORED, "state", "activations", "expires_at"]

# Each with the options it needs to do something.
LOOKS = ("show", "activations")
CHANGES = (
    "assign --owner-email a@example.com",
    "suspend",
    "reinstate",
    "renew --days 3",
    "renew --validity 3",
    "revoke --yes",
    "delete --yes",
    "deactivate --identifier host",
)

Found = TypeVar("Found")


def work_in(hanaper: Hanaper, work: Callable[[Session], Found]) -> Found:
    with Storage.open(hanaper.settings) as storage:
        return storage.write(work)


def set_columns(hanaper: Hanaper, key_id: int, **columns: object) -> None:
    def work(session: Session) -> None:
        row = session.get_one(LicenseKey, key_id)
        for name, value in columns.items():
            setattr(row, name, value)

    work_in(hanaper, work)


def activate(hanaper: Hanaper, key_id: int, *identifiers: str, **columns: Any) -> None:
    def work(session: Session) -> None:
        times = {"activated_at": LONG_AGO, "created_at": LONG_AGO, "updated_at": LONG_AGO}
        for identifier in identifiers:
            values = {"identifier": identifier, "status": "active", **times, **columns}
            session.add(Activation(license_key_id=key_id, **values))

    work_in(hanaper, work)


def told(hanaper: Hanaper) -> list[tuple[str, str, str]]:
    """Address, license key and identifier of each call that waits."""

    def work(session: Session) -> list[tuple[str, str, str]]:
        calls = session.scalars(select(OutgoingCall).order_by(OutgoingCall.id)).all()
        forms = [(call.url, parse_qs(call.body)) for call in calls]
        return [(url, form["license_key"][0], form["identifier"][0]) for url, form in forms]

    return work_in(hanaper, work)


def new_key(hanaper: Hanaper, license_key: str = CANARY, **columns: object) -> int:
    """Enter a license key; returns its id."""
    hanaper("key", "new", "--product", "1", "--stdin", stdin=license_key)
    key_id: int = hanaper("key", "show", "-", "--json", stdin=license_key).json["id"]
    if columns:
        set_columns(hanaper, key_id, **columns)
    return key_id


def run(hanaper: Hanaper, command: str, named: str, *more: str, status: int = 0, stdin: str = "") -> Outcome:
    verb, *options = command.split()
    return hanaper("key", verb, named, *options, *more, status=status, stdin=stdin)


def everything(hanaper: Hanaper) -> list[Any]:
    """All rows about license keys, to be compared."""

    def work(session: Session) -> list[Any]:
        tables = (LicenseKey.__table__, Activation.__table__, OutgoingCall.__table__)
        return [[tuple(row) for row in session.execute(select(table).order_by(table.c.id))] for table in tables]

    return work_in(hanaper, work)


def refused(hanaper: Hanaper, command: str, named: str, *more: str, stdin: str = "") -> str:
    """The one line that a command is refused with; nothing has changed."""
    before = everything(hanaper)
    ended = run(hanaper, command, named, *more, status=65, stdin=stdin)
    assert ended.stdout == ""
    assert CANARY not in ended.stderr
    assert everything(hanaper) == before
    (line,) = ended.stderr.splitlines()
    return line.removeprefix("hanaper: ")


# --- the whole life, and what the API says of it ---


def test_the_api_sees_every_change_at_once(demo_on_either: Hanaper) -> None:
    hanaper = demo_on_either
    said = []

    def by_hand(command: str) -> dict[str, Any]:
        # The text of the license key goes in over standard input only, and comes out on standard output only.
        ended = run(hanaper, command, "-", "--json", stdin=f"{CANARY}\n")
        assert ended.stderr == ""
        said.append(" ".join(ended.arguments))
        row: dict[str, Any] = ended.json
        return row

    hanaper("key", "new", "--product", "demo", "--stdin", "--activation-limit", "2", stdin=CANARY)
    with hanaper.serving(HANAPER_LOG_LEVEL="debug") as server, client(server.url, hanaper) as api:
        fields = {"api_key": SAMPLE_KEY, "license_key": CANARY, "identifier": "host"}

        def verified(api: Api = api) -> int | str:
            return api.post("/api/v1/verify", fields).code

        assert verified() == 201
        assigned = by_hand("assign --owner-name Ann --owner-email ann@example.com")
        assert (assigned["owner_name"], assigned["owner_email"]) == ("Ann", "ann@example.com")
        assert (assigned["state"], assigned["status"], verified()) == ("assigned", "assigned", 202)
        assert api.post("/api/v1/activate", fields).code == 300
        assert (by_hand("show")["state"], verified()) == ("active", 200)
        assert (by_hand("suspend")["state"], verified()) == ("suspended", 204)
        reinstated = by_hand("reinstate")
        assert (reinstated["state"], reinstated["activations"], verified()) == ("active", 1, 200)
        assert reinstated["assigned_at"] == assigned["assigned_at"]
        assert (by_hand("deactivate --identifier host")["activations"], verified()) == (0, 202)
        assert api.post("/api/v1/activate", fields).code == 300

        hanaper("product", "set", "demo", "--require-non-expired")
        set_columns(hanaper, 1, validity=1, assigned_at=LONG_AGO)
        assert (by_hand("show")["state"], verified()) == ("expired", 205)
        assert (by_hand("renew --days 1")["state"], verified()) == ("active", 200)
        hanaper("product", "set", "demo", "--no-require-non-expired")
        set_columns(hanaper, 1, validity=1)
        assert verified() == 200

        hanaper("product", "set", "demo", "--status", "inactive")
        assert verified() == 203
        hanaper("product", "set", "demo", "--status", "active")
        assert verified() == 200
        assert (by_hand("revoke --yes")["state"], verified()) == ("revoked", 204)
        deleted = by_hand("delete --yes")
        assert (list(deleted), deleted["id"]) == (["id", "product_id", "deleted_at"], 1)
        assert MOMENT.fullmatch(deleted["deleted_at"])
        assert verified() == 210
        again = hanaper("key", "new", "--product", "1", "--stdin", stdin=CANARY, status=65)
        assert again.stderr == "hanaper: this license key is stored already\n"

        other = "Another-Key"
        new_key(hanaper, other)
        fields["license_key"] = other
        assert verified() == 201
        hanaper("product", "delete", "demo", "--yes")
        assert verified() == 210
        assert server.stop() == 0
    assert CANARY not in server.log
    assert CANARY not in "\n".join(said)


# --- show, list, activations ---


def test_every_state_is_shown(demo: Hanaper) -> None:
    assigned = {"status": "assigned", "assigned_at": LONG_AGO, "owner_email": "ann@example.com"}
    wanted: dict[str, dict[str, Any]] = {
        "available": {},
        "reserved": {"status": "reserved"},
        "assigned": assigned,
        "active": {**assigned, "activation_limit": 5},
        "expired": {**assigned, "validity": 1},
        "suspended": {**assigned, "status": "blocked", "block_reason": "suspended"},
        "revoked": {"status": "blocked", "block_reason": "revoked"},
    }
    for state, columns in wanted.items():
        new_key(demo, f"Key-{state}", **columns)
    for state in ("active", "expired", "suspended"):
        activate(demo, 1 + list(wanted).index(state), "first", "second")
    activate(demo, 4, "ended", status="inactive")

    listed = demo("key", "list", "--json").json
    assert [list(row) for row in listed] == [FULL] * len(wanted)
    assert [row["state"] for row in listed] == list(wanted)
    assert [row["activations"] for row in listed] == [0, 0, 0, 2, 2, 2, 0]
    assert [row["expires_at"] for row in listed if row["expires_at"]] == ["2020-02-04T04:05:06.000000Z"]
    for row in listed:
        assert demo("key", "show", str(row["id"]), "--json").json == row
    table = demo("key", "list").stdout.splitlines()
    assert table[4].split()[:9] == ["4", "Key-active", "1", "assigned", "active", "2", "5", "0", "ann@example.com"]
    assert table[5].split()[4:10] == ["expired", "2", "0", "1", "ann@example.com", "2020-02-04T04:05:06.000000Z"]
    shown = demo("key", "show", "4").stdout
    assert [line.split("  ")[0] for line in shown.splitlines()] == [name.replace("_", " ") for name in FULL]
    assert re.search(r"^state +active$", shown, re.MULTILINE)
    assert re.search(r"^expires at +-$", shown, re.MULTILINE)


def test_what_a_license_key_is_active_on_is_listed(demo: Hanaper) -> None:
    new_key(demo, status="assigned", assigned_at=LONG_AGO)
    assert demo("key", "activations", "1").stdout == "It is active nowhere.\n"
    assert demo("key", "activations", "1", "--json").json == []
    activate(demo, 1, "ended", status="inactive")
    activate(demo, 1, "host", ip="192.0.2.1", user_agent="Client/1", post_url="https://example.com/told")
    assert demo("key", "activations", "-", "--json", stdin=CANARY).json == [
        {
            "id": 2,
            "identifier": "host",
            "activated_at": "2020-02-03T04:05:06.000000Z",
            "ip": "192.0.2.1",
            "user_agent": "Client/1",
            "post_url": "https://example.com/told",
        }
    ]
    header, row = demo("key", "activations", "1").stdout.splitlines()
    assert " ".join(header.split()) == "id identifier activated at ip user agent post url"
    assert row.split() == [
        *("2", "host", "2020-02-03T04:05:06.000000Z", "192.0.2.1", "Client/1", "https://example.com/told")
    ]


def test_what_others_wrote_is_shown_as_it_is_and_obeyed_by_no_terminal(demo: Hanaper) -> None:
    hostile = "[/x] [red]no \x1b]0;title\x07 \x9b31m\nnew line \u202eback"
    new_key(demo, status="assigned", assigned_at=LONG_AGO, owner_name=hostile, owner_email="[bold]")
    activate(demo, 1, hostile, user_agent="[link=https://example.com]here[/link]")
    listed = demo("key", "activations", "1").stdout
    assert len(listed.splitlines()) == 2
    assert r"[/x] [red]no \x1b]0;title\x07 \x9b31m\nnew line \u202eback" in listed
    assert "[link=https://example.com]here[/link]" in listed
    assert "[bold]" in demo("key", "list").stdout
    shown = demo("key", "show", "1").stdout
    assert r"[/x] [red]no \x1b]0;title\x07" in shown
    assert all(character.isprintable() or character == "\n" for character in shown + listed)
    assert demo("key", "activations", "1", "--json").json[0]["identifier"] == hostile
    demo("product", "set", "1", "--name", "[/x]", "--description", "two\nlines")
    assert "[/x]" in demo("product", "list").stdout


# --- moves ---


def test_a_license_key_is_named_by_its_id_or_on_standard_input(demo: Hanaper) -> None:
    new_key(demo)
    new_key(demo, "12")
    assert demo("key", "suspend", "1", "--json").json["license_key"] == CANARY
    assert demo("key", "reinstate", "-", "--json", stdin=f"  {CANARY} \nsecond line\n").json["id"] == 1
    # What consists of digits is an id as an argument, and a license key on standard input.
    assert demo("key", "show", "-", "--json", stdin="12").json["id"] == 2
    assert refused(demo, "show", "12") == "there is no license key 12: see `hanaper key list`"


def test_a_move_is_shown_to_people(demo: Hanaper) -> None:
    new_key(demo)
    shown = demo("key", "assign", "1", "--owner-name", "Ann").stdout
    assert re.search(r"^owner name +Ann$", shown, re.MULTILINE)
    assert re.search(r"^owner email +-$", shown, re.MULTILINE)
    assert re.search(r"^state +assigned$", shown, re.MULTILINE)
    assert re.search(r"^state +suspended$", demo("key", "suspend", "1").stdout, re.MULTILINE)
    assert re.search(r"^state +assigned$", demo("key", "reinstate", "1").stdout, re.MULTILINE)
    assert re.search(r"^validity +9$", demo("key", "renew", "1", "--validity", "9").stdout, re.MULTILINE)
    assert re.search(r"^state +revoked$", demo("key", "revoke", "1", "--yes").stdout, re.MULTILINE)
    assert re.search(r"^deleted at +\d{4}-", demo("key", "delete", "1", "--yes").stdout, re.MULTILINE)
    assert demo("key", "list").stdout == "There are no license keys yet.\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "available"),
        ({"status": "reserved"}, "available"),
        ({"status": "assigned", "assigned_at": LONG_AGO}, "assigned"),
        ({"owner_email": "ann@example.com"}, "assigned"),
        ({"owner_name": "Ann"}, "assigned"),
    ],
)
def test_a_suspension_is_lifted_to_where_the_license_key_was(demo: Hanaper, before: dict[str, Any], after: str) -> None:
    new_key(demo, **before)
    assert demo("key", "suspend", "1", "--json").json["state"] == "suspended"
    lifted = demo("key", "reinstate", "1", "--json").json
    assert lifted["state"] == after
    for name in ("owner_name", "owner_email"):
        assert lifted[name] == before.get(name)
    if "assigned_at" in before:
        assert lifted["assigned_at"] == "2020-02-03T04:05:06.000000Z"
    else:
        assert (lifted["assigned_at"] is not None) == (after == "assigned")


@pytest.mark.parametrize(
    ("command", "columns"),
    [
        ("suspend", {"status": "blocked", "block_reason": "suspended"}),
        ("revoke --yes", {"status": "blocked", "block_reason": "revoked"}),
        ("reinstate", {"status": "assigned", "assigned_at": LONG_AGO}),
        ("reinstate", {"status": "reserved"}),
        ("reinstate", {"status": "available"}),
    ],
)
def test_staying_where_it_is_changes_nothing(demo: Hanaper, command: str, columns: dict[str, Any]) -> None:
    new_key(demo, **columns, updated_at=LONG_AGO)
    activate(demo, 1, "host", post_url="https://example.com")
    before = everything(demo)
    assert run(demo, command, "1", "--json").json["updated_at"] == "2020-02-03T04:05:06.000000Z"
    assert everything(demo) == before


def test_a_reserved_license_key_can_be_assigned(demo: Hanaper) -> None:
    new_key(demo, status="reserved")
    row = demo("key", "assign", "1", "--json").json
    assert (row["state"], row["owner_name"], row["owner_email"]) == ("assigned", None, None)


def test_the_last_activations_of_a_license_key_are_told_of_its_end(demo_on_either: Hanaper) -> None:
    hanaper = demo_on_either
    hanaper("product", "set", "1", "--post-url", "https://example.com/product")
    columns: dict[str, Any] = {"status": "assigned", "assigned_at": LONG_AGO}
    keys = [new_key(hanaper, license_key, **columns) for license_key in (CANARY, "Second", "Third")]
    for key_id in keys:
        activate(hanaper, key_id, "own", post_url="https://example.com/own")
        activate(hanaper, key_id, "product's")
        activate(hanaper, key_id, "ended", status="inactive", post_url="https://example.com/ended")
    first, second, third = map(str, keys)

    def of(license_key: str, *identifiers: str) -> list[tuple[str, str, str]]:
        addresses = {"own": "https://example.com/own", "product's": "https://example.com/product"}
        return [(addresses[identifier], license_key, identifier) for identifier in identifiers]

    assert hanaper("key", "suspend", first, "--json").json["activations"] == 2
    assert told(hanaper) == []
    row = hanaper("key", "deactivate", first, "--identifier", "own", "--json").json
    assert (row["activations"], row["state"]) == (1, "suspended")
    expected = of(CANARY, "own")
    assert told(hanaper) == expected
    assert hanaper("key", "revoke", second, "--yes", "--json").json["activations"] == 0
    expected += of("Second", "own", "product's")
    assert told(hanaper) == expected
    hanaper("key", "delete", third, "--yes")
    expected += of("Third", "own", "product's")
    assert told(hanaper) == expected
    # And nobody is told twice.
    hanaper("key", "delete", second, "--yes")
    assert "is not active on 'own'" in refused(hanaper, "deactivate --identifier own", first)
    assert told(hanaper) == expected


# --- renew ---


@pytest.mark.parametrize(("before", "days"), [(0, 1), (1, 30), (100_000, 1), (1, 36_500)])
def test_a_license_key_is_renewed_until_so_many_days_from_now(demo: Hanaper, before: int, days: int) -> None:
    new_key(demo, status="assigned", assigned_at=LONG_AGO, validity=before)
    row = demo("key", "renew", "1", "--days", str(days), "--json").json
    assert row["state"] == "assigned"
    assert row["assigned_at"] == "2020-02-03T04:05:06.000000Z"
    left = datetime.fromisoformat(row["expires_at"]) - datetime.fromisoformat(row["updated_at"])
    assert timedelta(days=days) <= left <= timedelta(days=days + 1)


def test_the_validity_is_set_as_a_total(demo: Hanaper) -> None:
    new_key(demo)
    row = demo("key", "renew", "1", "--validity", "12", "--json").json
    assert (row["state"], row["validity"], row["expires_at"]) == ("available", 12, None)
    set_columns(demo, 1, status="assigned", assigned_at=LONG_AGO)
    assert demo("key", "renew", "1", "--validity", "1", "--json").json["state"] == "expired"
    row = demo("key", "renew", "-", "--validity", "0", "--json", stdin=CANARY).json
    assert (row["state"], row["validity"], row["expires_at"]) == ("assigned", 0, None)
    demo("key", "suspend", "1")
    row = demo("key", "renew", "1", "--validity", "7", "--json").json
    assert (row["state"], row["validity"]) == ("suspended", 7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "name either --days or --validity"),
        ("--days 1 --validity 1", "name either --days or --validity"),
        ("--days 0", "--days is 1 to 1,000,000, not 0"),
        ("--days -1", "--days is 1 to 1,000,000, not -1"),
        ("--days 1000001", "--days is 1 to 1,000,000, not 1000001"),
        # It has been assigned for years.
        ("--days 1000000", "a validity is 0 (for ever) to 1,000,000 days, not 100"),
        ("--validity -1", "a validity is 0 (for ever) to 1,000,000 days, not -1"),
        ("--validity 1000001", "a validity is 0 (for ever) to 1,000,000 days, not 1000001"),
    ],
)
def test_a_renewal_that_breaks_a_rule_is_refused(demo: Hanaper, options: str, said: str) -> None:
    new_key(demo, status="assigned", assigned_at=LONG_AGO)
    assert refused(demo, f"renew {options}", "1").startswith(said)


def test_a_validity_that_has_not_begun_cannot_be_counted_from_today(demo: Hanaper) -> None:
    new_key(demo)
    assert refused(demo, "renew --days 3", "1") == (
        "license key 1 is not assigned, so its validity has not begun: name --validity"
    )
    set_columns(demo, 1, status="assigned", assigned_at=datetime(2999, 1, 1, tzinfo=UTC))
    assert refused(demo, "renew --days 3", "1") == (
        "the validity of license key 1 begins after that, at 2999-01-01T00:00:00.000000Z"
    )


# --- refusals ---


@pytest.mark.parametrize("command", first(4, [*LOOKS, *CHANGES]))
def test_a_license_key_that_is_not_there_is_refused_and_not_repeated(demo: Hanaper, command: str) -> None:
    assert refused(demo, command, "7") == "there is no license key 7: see `hanaper key list`"
    assert refused(demo, command, "-", stdin=CANARY) == "there is no such license key: see `hanaper key list`"
    assert refused(demo, command, CANARY).startswith("a license key is named by its id")


def test_what_names_no_license_key_is_refused_and_not_repeated(demo: Hanaper) -> None:
    for number in ("0", "9" * 18):
        assert refused(demo, "show", number) == f"there is no license key {number}: see `hanaper key list`"
    for unusable in ("", "\n", CANARY * 20, f"{CANARY}\x07"):
        assert refused(demo, "show", "-", stdin=unusable).startswith("a license key has 1 to 255 printable characters")
    for typed in ("", "1.0", "+1", "٣", "9" * 19, "\udcff", f"{CANARY}\n"):
        assert refused(demo, "show", typed) == (
            "a license key is named by its id, see `hanaper key list`, or by -, and then read from standard input"
        )


def test_a_license_key_that_is_not_text_is_refused(demo: Hanaper) -> None:
    ended = demo.anew("key", "suspend", "-", status=65, stdin=b"\xff\xfe", PYTHONIOENCODING="utf-8:strict")
    assert ended.stderr == "hanaper: the license key on standard input is not text\n"


def test_a_deleted_license_key_and_one_of_a_deleted_product_are_not_there(demo_on_either: Hanaper) -> None:
    first, second = new_key(demo_on_either), new_key(demo_on_either, "Second")
    demo_on_either("key", "delete", str(first), "--yes")
    demo_on_either("product", "delete", "1", "--yes")
    for key_id, license_key in ((first, CANARY), (second, "Second")):
        for command in ("show", "suspend", "delete --yes"):
            assert "there is no license key" in refused(demo_on_either, command, str(key_id))
            assert "there is no such license key" in refused(demo_on_either, command, "-", stdin=license_key)


@pytest.mark.parametrize(
    "command", first(2, ["assign", "suspend", "reinstate", "renew --days 3", "renew --validity 3"])
)
def test_what_is_revoked_stays_so(demo_on_either: Hanaper, command: str) -> None:
    columns: dict[str, Any] = {"status": "blocked", "block_reason": "revoked", "assigned_at": LONG_AGO}
    new_key(demo_on_either, **columns)
    for named in ("1", "-"):
        assert refused(demo_on_either, command, named, stdin=CANARY) == "license key 1 is revoked, and stays so"


def test_what_cannot_be_assigned_says_why(demo: Hanaper) -> None:
    new_key(demo)
    demo("product", "set", "1", "--status", "inactive")
    assert refused(demo, "assign", "1") == (
        "product 1 is inactive, so its license keys cannot be assigned: see `hanaper product set`"
    )
    demo("product", "set", "1", "--status", "active")
    demo("key", "suspend", "1")
    assert refused(demo, "assign", "1") == "license key 1 is suspended: reinstate it first"
    demo("key", "reinstate", "1")
    demo("key", "assign", "1", "--owner-name", "Ann")
    assert refused(demo, "assign --owner-name Bob", "1") == "license key 1 is assigned already"


@pytest.mark.parametrize("option", first(1, ["--owner-name", "--owner-email"]))
@pytest.mark.parametrize("value", ["", "x" * 256, "two\nlines", "\udcff"])
def test_an_owner_who_breaks_a_rule_is_refused(demo: Hanaper, option: str, value: str) -> None:
    new_key(demo)
    assert refused(demo, "assign", "1", option, value) == (
        "name and address of an owner have 1 to 255 printable characters"
    )


@pytest.mark.parametrize("identifier", ["elsewhere", "ended", "", "HOST", "\udcff"])
def test_what_is_not_active_cannot_be_deactivated(demo: Hanaper, identifier: str) -> None:
    new_key(demo, status="assigned", assigned_at=LONG_AGO)
    activate(demo, 1, "host")
    activate(demo, 1, "ended", status="inactive")
    said = refused(demo, "deactivate", "1", "--identifier", identifier)
    assert said == f"license key 1 is not active on {identifier!r}: see `hanaper key activations`"


@pytest.mark.parametrize(
    "arguments",
    [
        *(f"key {command.split()[0]}" for command in (*LOOKS, *CHANGES)),
        "key deactivate 1",
        "key renew 1 --days many",
        "product set",
        "product set 1 --status sold",
        "product delete",
    ],
)
def test_an_incomplete_command_is_a_wrong_command_line(bare: Hanaper, arguments: str) -> None:
    ended = bare(*arguments.split(), status=2)
    assert ended.stdout == ""
    assert "Usage:" in ended.stderr


def test_a_database_that_does_not_answer_is_told_in_one_line(demo: Hanaper) -> None:
    away = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    for command in ("key show 1", "key suspend 1", "key revoke 1", "product set 1 --name New", "product delete 1"):
        ended = demo(*command.split(), status=69, HANAPER_DATABASE_URL=away)
        assert ended.last_line.startswith("hanaper: ")


# --- what cannot be undone is asked ---


def on_a_terminal(hanaper: Hanaper, typed: str | None, *arguments: str) -> tuple[int, str, str]:
    """What becomes of a command on a terminal: exit status, standard output and standard error.

    Args:
        typed: what somebody answers; None presses Control-C.
    """
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hanaper", *arguments]
    pipe = subprocess.PIPE
    # Shells have it ignored by what they run in the background, and so would the command if the tests are.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, cwd=hanaper.folder, env=hanaper.environment, stdin=theirs, stdout=pipe, stderr=pipe, text=True
    ) as process:
        signal.signal(signal.SIGINT, inherited)
        os.close(theirs)
        try:
            if typed is None:
                assert process.stderr is not None
                asked = process.stderr.read(len("Revoke license key"))
                process.send_signal(signal.SIGINT)
            else:
                asked = ""
                os.write(ours, typed.encode())
            stdout, stderr = process.communicate(timeout=LONGEST_S)
        finally:
            os.close(ours)
    assert "Traceback" not in stdout + stderr
    assert CANARY not in stderr
    return process.returncode, stdout, asked + stderr


@pytest.mark.parametrize("answer", first(1, ["y\n", "YES\n"]))
def test_what_is_confirmed_is_done(demo: Hanaper, answer: str) -> None:
    new_key(demo)
    status, stdout, stderr = on_a_terminal(demo, answer, "key", "revoke", "1")
    assert (status, stderr) == (0, "Revoke license key 1, which is available, for ever? [y/N] ")
    assert re.search(r"^state +revoked$", stdout, re.MULTILINE)
    # The license key is typed first, then the answer.
    status, _, stderr = on_a_terminal(demo, f"{CANARY}\n{answer}", "key", "delete", "-", "--json")
    assert (status, stderr) == (0, "Delete license key 1, which is revoked, for ever? [y/N] ")
    assert demo("key", "list", "--json").json == []
    new_key(demo, "Second")
    status, _, stderr = on_a_terminal(demo, answer, "product", "delete", "demo")
    assert (status, stderr) == (0, "Delete product 1, Demo product, with its 1 license keys, for ever? [y/N] ")
    assert demo("product", "list", "--json").json == []


@pytest.mark.parametrize(
    ("command", "answer"),
    first(
        1,
        [
            ("key revoke 1", "n\n"),
            ("key delete 1", "\n"),
            ("product delete 1", "yess\n"),
            ("key revoke 1", "\x04"),
        ],
    ),
)
def test_what_is_not_confirmed_is_not_done(demo: Hanaper, command: str, answer: str) -> None:
    new_key(demo, status="assigned", assigned_at=LONG_AGO)
    activate(demo, 1, "host")
    before = everything(demo)
    status, stdout, stderr = on_a_terminal(demo, answer, *command.split())
    assert (status, stdout) == (1, "")
    assert stderr.endswith(" [y/N] hanaper: nothing was changed\n")
    assert everything(demo) == before
    assert [row["status"] for row in demo("product", "list", "--json").json] == ["active"]


def test_whoever_interrupts_has_not_confirmed(demo: Hanaper) -> None:
    new_key(demo)
    before = everything(demo)
    assert on_a_terminal(demo, None, "key", "revoke", "1")[:2] == (130, "")
    assert everything(demo) == before


@pytest.mark.parametrize("command", ["revoke", "delete"])
def test_without_a_terminal_yes_has_to_be_said_beforehand(demo: Hanaper, command: str) -> None:
    new_key(demo)
    said = "this cannot be undone, and there is no terminal to ask on: confirm with --yes"
    assert refused(demo, command, "1", stdin="y\n") == said
    assert refused(demo, command, "-", stdin=f"{CANARY}\ny\n") == said
    ended = demo("product", "delete", "1", status=65, stdin="y\n")
    assert (ended.stdout, ended.stderr) == ("", f"hanaper: {said}\n")
    assert len(demo("product", "list", "--json").json) == 1


# --- product ---


def test_a_product_is_changed_as_far_as_is_said(demo_on_either: Hanaper) -> None:
    hanaper = demo_on_either
    (before,) = hanaper("product", "list", "--json").json
    changed = hanaper(
        *("product", "set", before["uuid"], "--name", "Señor", "--description", "two\nlines", "--status", "inactive"),
        *("--require-non-expired", "--post-url", "https://example.com/told", "--json"),
    ).json
    new = {"name": "Señor", "status": "inactive", "require_non_expired": True}
    more = {"description": "two\nlines", "post_url": "https://example.com/told"}
    assert changed == {**before, **new, **more}
    assert list(changed) == [*list(before)[:-1], "description", "post_url", "signing_key"]
    assert hanaper("product", "list", "--json").json == [{**before, **new}]
    shown = hanaper("product", "set", "demo", "--no-require-non-expired").stdout
    assert re.search(r"^require non expired +no$", shown, re.MULTILINE)
    assert re.search(r"^name +Señor$", shown, re.MULTILINE)
    assert re.search(r"^description +two\\nlines$", shown, re.MULTILINE)
    emptied = hanaper("product", "set", "1", "--description", "", "--post-url", "", "--json").json
    assert (emptied["description"], emptied["post_url"]) == ("", "")
    assert (emptied["name"], emptied["status"], emptied["require_non_expired"]) == ("Señor", "inactive", False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "nothing was named that is to be changed"),
        (("--name", ""), "the name of a product has 1 to 255 printable characters"),
        (("--name", "two\nlines"), "the name of a product has 1 to 255 printable characters"),
        (("--description", "\udcff"), "a description holds no NUL characters, and nothing that is not UTF-8"),
        (("--post-url", "ftp://Canary"), "a post_url begins with http:// or https:// and has at most 2,048 printable"),
        (("--post-url", "https://Canary/" + "x" * 2048), "a post_url begins with http:// or https://"),
        (("--post-url", "https://Canary/\n"), "a post_url begins with http:// or https://"),
        (("--name", "New", "--post-url", "\udcff"), "a post_url begins with http:// or https://"),
    ],
)
def test_a_change_of_a_product_that_breaks_a_rule_is_refused(
    demo: Hanaper, options: tuple[str, ...], said: str
) -> None:
    before = demo("product", "list", "--json").json
    ended = demo("product", "set", "1", *options, status=65)
    assert (ended.stdout, len(ended.stderr.splitlines())) == ("", 1)
    assert ended.stderr.startswith(f"hanaper: {said}")
    assert "Canary" not in ended.stderr
    assert demo("product", "list", "--json").json == before


@pytest.mark.parametrize("command", first(1, ["set --name New", "delete --yes", "delete"]))
@pytest.mark.parametrize(("named", "shown"), [("2", "2"), ("none-such", "'none-such'"), ("9" * 30, f"'{'9' * 30}'")])
def test_a_product_that_is_not_there_is_refused(demo: Hanaper, command: str, named: str, shown: str) -> None:
    verb, *options = command.split()
    ended = demo("product", verb, named, *options, status=65)
    assert ended.stdout == ""
    assert ended.stderr == f"hanaper: there is no product {shown}: see `hanaper product list`\n"
    unprintable = demo("product", verb, "\udcff", *options, status=65)
    assert unprintable.stderr == "hanaper: an id, a UUID or a slug has printable characters only\n"


def test_a_product_is_deleted_and_its_slug_stays_taken(demo_on_either: Hanaper) -> None:
    hanaper = demo_on_either
    deleted = hanaper("product", "delete", "demo", "--yes", "--json").json
    assert (deleted["id"], deleted["slug"], list(deleted)[-1]) == (1, "demo", "deleted_at")
    assert MOMENT.fullmatch(deleted["deleted_at"])
    assert hanaper("product", "list", "--json").json == []
    assert "there is no product" in hanaper("product", "set", "demo", "--status", "active", status=65).stderr
    assert "another product has the slug" in hanaper("product", "add", "Demo", status=65).stderr
    ended = hanaper("generate", "--generator", "1", "--quantity", "1", status=1)
    assert ended.stderr == "hanaper: refused with 805 Product not found\n"
