"""`hanaper key`, `hanaper generate` and `hanaper verify`: license keys come in and go out."""

import csv
import io
import json
import re
import signal
import stat
import subprocess
import sys

import pytest
from tests.support.processes import Hanaper

pytestmark = pytest.mark.long

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
FIELDS = [
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


def rows_of(text_of_file: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text_of_file)))


# --- key ---


def test_a_license_key_is_entered_by_hand_or_drawn(demo: Hanaper) -> None:
    assert demo("key", "list").stdout == "There are no license keys yet.\n"
    assert demo("key", "list", "--json").json == []
    entered = demo("key", "new", "--product", "demo", "--stdin", "--validity", "30", stdin="By-Hand 1\n")
    assert re.search(r"^license key +By-Hand 1$", entered.stdout, re.MULTILINE)
    drawn = demo("key", "new", "--product", "1", "--activation-limit", "3", "--json").json
    assert UUID4.fullmatch(drawn["license_key"])
    listed = demo("key", "list", "--json").json
    assert [list(row) for row in listed] == [[*FIELDS, "state", "activations", "expires_at"]] * 2
    assert [row["license_key"] for row in listed] == ["By-Hand 1", drawn["license_key"]]
    assert [(row["validity"], row["activation_limit"], row["source"]) for row in listed] == [
        (30, 0, "manual"),
        (0, 3, "manual"),
    ]
    table = demo("key", "list", "--product", "demo", "--status", "available", "--limit", "1").stdout.splitlines()
    assert " ".join(table[0].split()) == (
        "id license key product id status state activations activation limit validity owner email expires at created at"
    )
    assert len(table) == 2
    assert demo("key", "list", "--status", "blocked").stdout == "There are no license keys yet.\n"


@pytest.mark.parametrize(
    ("license_key", "arguments", "said"),
    [
        ("Canary-1", ["--product", "2"], "there is no product 2: see `hanaper product list`"),
        ("Canary-1", ["--product", "1", "--validity", "-1"], "a validity is 0 (for ever) to 1,000,000 days, not -1"),
        ("Canary-1", ["--product", "1", "--activation-limit", "2147483648"], "an activation limit is 0 (unlimited) to"),
        ("", ["--product", "1"], "a license key has 1 to 255 printable characters"),
        ("Canary" * 50, ["--product", "1"], "a license key has 1 to 255 printable characters"),
        ("Canary\x07", ["--product", "1"], "a license key has 1 to 255 printable characters"),
    ],
)
def test_a_license_key_that_breaks_a_rule_is_refused_and_not_repeated(
    demo: Hanaper, license_key: str, arguments: list[str], said: str
) -> None:
    ended = demo("key", "new", *arguments, "--stdin", status=65, stdin=license_key)
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"hanaper: {said}")
    assert "Canary" not in ended.stderr


def test_a_license_key_that_is_stored_already_is_refused_and_not_repeated(demo: Hanaper) -> None:
    demo("key", "new", "--product", "1", "--stdin", stdin="Canary")
    ended = demo("key", "new", "--product", "1", "--stdin", stdin="Canary", status=65)
    assert ended.stderr == "hanaper: this license key is stored already\n"


def test_a_license_key_that_is_not_text_is_refused(demo: Hanaper) -> None:
    ended = demo.anew(
        "key", "new", "--product", "1", "--stdin", status=65, stdin=b"\xff\xfe", PYTHONIOENCODING="utf-8:strict"
    )
    assert ended.stderr == "hanaper: the license key on standard input is not text\n"


def test_an_export_is_complete_and_safe_to_open_in_a_spreadsheet(demo: Hanaper) -> None:
    for license_key in ("=1+1", 'Quote"and,comma', "Größe"):
        demo("key", "new", "--product", "1", "--stdin", stdin=license_key)
    demo.sql("UPDATE license_keys SET owner_name = '=cmd()', owner_email = '+1@example.com' WHERE id = 3")
    exported = demo("key", "export")
    assert exported.stderr == "3 license keys written\n"
    rows = rows_of(exported.stdout)
    assert [list(row) for row in rows] == [FIELDS] * 3
    # The license key stays what it is; everything else cannot become a formula.
    assert [row["license_key"] for row in rows] == ["=1+1", 'Quote"and,comma', "Größe"]
    assert (rows[2]["owner_name"], rows[2]["owner_email"]) == ("'=cmd()", "'+1@example.com")
    assert (rows[0]["owner_name"], rows[0]["generator_id"], rows[0]["status"]) == ("", "", "available")
    lines = [json.loads(line) for line in demo("key", "export", "--format", "jsonl").stdout.splitlines()]
    assert [list(line) for line in lines] == [FIELDS] * 3
    assert (lines[2]["license_key"], lines[2]["owner_name"], lines[2]["batch_id"]) == ("Größe", "=cmd()", None)


def test_an_export_to_a_file_is_for_its_owner_only_and_overwrites_nothing(demo: Hanaper) -> None:
    demo("key", "new", "--product", "1", "--stdin", stdin="One")
    said = demo("key", "export", "--output", "keys.csv", "--product", "demo", "--status", "available")
    assert (said.stdout, said.stderr) == ("", "1 license keys written\n")
    file = demo.folder / "keys.csv"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    assert b"One" in before
    refused = demo("key", "export", "-o", "keys.csv", status=65)
    assert refused.stderr == "hanaper: keys.csv is there already: name a new file\n"
    assert file.read_bytes() == before
    nowhere = demo("key", "export", "-o", "no/such/folder.csv", status=65)
    assert nowhere.stderr == "hanaper: no/such/folder.csv cannot be made: No such file or directory\n"
    assert demo("key", "export", "--product", "2", status=65).stderr == (
        "hanaper: there is no product '2': see `hanaper product list`\n"
    )


# --- generate ---


def test_many_keys_are_made_in_batches_of_a_thousand(demo: Hanaper) -> None:
    said = demo("generate", "--generator", "1", "--quantity", "2500", "--output", "keys.csv")
    assert (said.stdout, said.stderr) == ("", "2,500 license keys stored\n")
    assert stat.S_IMODE((demo.folder / "keys.csv").stat().st_mode) == 0o600
    rows = rows_of((demo.folder / "keys.csv").read_text())
    assert len({row["license_key"] for row in rows}) == 2500
    assert [row["batch"] for row in rows] == ["1"] * 1000 + ["2"] * 1000 + ["3"] * 500
    stored = rows_of(demo("key", "export").stdout)
    assert [(row["license_key"], row["batch_id"]) for row in stored] == [
        (row["license_key"], row["batch"]) for row in rows
    ]
    assert demo("generator", "list", "--json").json[0]["generated"] == 2500


def test_keys_come_as_json_lines_on_terms_of_their_own(demo: Hanaper) -> None:
    more = ["--activation-limit", "5", "--validity", "7"]
    made = demo("generate", "--generator", "1", "--quantity", "3", "--format", "jsonl", *more)
    rows = [json.loads(line) for line in made.stdout.splitlines()]
    assert [list(row) for row in rows] == [["license_key", "batch"]] * 3
    listed = demo("key", "list", "--json").json
    assert [row["license_key"] for row in listed] == [row["license_key"] for row in rows]
    assert {(row["activation_limit"], row["validity"], row["source"]) for row in listed} == {(5, 7, "generator")}


def test_an_interrupted_order_has_written_what_it_has_stored(demo: Hanaper) -> None:
    command = [sys.executable, "-m", "hanaper", "generate", "--generator", "1", "--quantity", "10000000"]
    with subprocess.Popen(
        command,
        cwd=demo.folder,
        env=demo.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        # The header, the first batch, and the beginning of the second.
        written = "".join(process.stdout.readline() for _ in range(1002))
        process.send_signal(signal.SIGINT)
        # Not communicate(): it would lose what readline() has read ahead.
        rest = process.stdout.read()
        assert process.stderr is not None
        stderr = process.stderr.read()
        process.wait(timeout=60)
    assert process.returncode == 130
    told = re.search(
        r"hanaper: stopped after ([0-9,]+) of 10,000,000 license keys; those are stored and written", stderr
    )
    assert told is not None
    assert "Traceback" not in stderr
    keys = [row["license_key"] for row in rows_of(written + rest)]
    stored = [row["license_key"] for row in rows_of(demo("key", "export").stdout)]
    assert int(told[1].replace(",", "")) == len(stored)
    assert keys == stored


@pytest.mark.parametrize("form", ["csv", "jsonl", "envelope"])
def test_a_refused_order_ends_with_its_code_and_leaves_no_file(demo: Hanaper, form: str) -> None:
    for generator in ("2", "-1", "no-such-generator"):
        order = ["generate", "--generator", generator, "--quantity", "2", "--format", form, "-o", "keys"]
        ended = demo(*order, status=1)
        assert (ended.stdout, ended.stderr) == ("", "hanaper: refused with 806 Generator not found\n")
        assert not (demo.folder / "keys").exists()


def test_an_order_that_breaks_a_rule_is_refused(demo: Hanaper) -> None:
    (demo.folder / "there").touch()
    for arguments, said in (
        (["--quantity", "1001", "--format", "envelope"], "an envelope holds one batch, at most 1,000 license keys"),
        (["--quantity", "1", "-o", "there"], "there is there already: name a new file"),
    ):
        ended = demo("generate", "--generator", "1", *arguments, status=65)
        assert (ended.stdout, ended.stderr) == ("", f"hanaper: {said}\n")
    assert demo("key", "list", "--json").json == []


# --- verify ---


@pytest.fixture
def envelope(demo: Hanaper) -> str:
    return demo("generate", "--generator", "1", "--quantity", "4", "--format", "envelope").stdout


PRODUCT_KEY = "data/public-keys/product-1.pem"
GLOBAL_KEY = "data/public-keys/global.pem"


def test_a_signed_envelope_can_be_piped_into_verify(demo: Hanaper, envelope: str) -> None:
    verified = demo.anew("verify", "-", "--public-key", PRODUCT_KEY, stdin=envelope.encode())
    payload = verified.json
    assert list(payload) == ["code", "message", "licenseKeys", "timestamp"]
    assert (payload["code"], len(set(payload["licenseKeys"]))) == (815, 4)
    assert verified.stderr == f"Verified: signed with the private key of {PRODUCT_KEY}.\n"
    assert payload["licenseKeys"] == [row["license_key"] for row in demo("key", "list", "--json").json]


def test_an_answer_in_a_file_verifies_without_any_installation(bare: Hanaper, demo: Hanaper, envelope: str) -> None:
    (demo.folder / "answer.json").write_text(json.dumps(json.loads(envelope), indent=4))
    (demo.folder / "elsewhere").mkdir()
    moved = Hanaper(bare.forks, demo.folder / "elsewhere", bare.environment)
    assert moved("verify", "../answer.json", "--public-key", f"../{PRODUCT_KEY}").json["code"] == 815
    assert list(moved.folder.iterdir()) == []


def test_the_published_answer_of_the_reference_system_verifies(bare: Hanaper, request: pytest.FixtureRequest) -> None:
    vectors = request.config.rootpath / "tests" / "vectors"
    published = json.loads((vectors / "generate-815.json").read_text())["answer"]
    verified = bare(
        "verify", "-", "--public-key", str(vectors / "reference-public-key.pem"), stdin=json.dumps(published)
    )
    assert verified.json == published["response"]


def test_a_wrong_key_does_not_verify(demo: Hanaper, envelope: str) -> None:
    ended = demo("verify", "-", "--public-key", GLOBAL_KEY, status=1, stdin=envelope)
    assert ended.stdout == ""
    assert ended.stderr == (
        "hanaper: standard input does not verify: the signature was not made over this answer by the private key of "
        f"{GLOBAL_KEY} (the answer says it is signed with the product key)\n"
    )


@pytest.mark.parametrize("part", ["response", "response_base64", "signature"])
def test_an_envelope_that_was_tampered_with_does_not_verify(demo: Hanaper, envelope: str, part: str) -> None:
    outer = json.loads(envelope)
    if part == "response":
        outer["response"]["licenseKeys"][0] = "Forged"
    else:
        middle = len(outer[part]) // 2
        other = "A" if outer[part][middle] != "A" else "B"
        outer[part] = outer[part][:middle] + other + outer[part][middle + 1 :]
    ended = demo("verify", "-", "--public-key", PRODUCT_KEY, status=1, stdin=json.dumps(outer))
    assert ended.stdout == ""
    assert ended.stderr.startswith("hanaper: standard input does not verify: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an envelope: the text is not JSON"),
        (b"\xff\xfe", "not an envelope: the text is not JSON"),
        (b"[" * 100_000, "not an envelope: the text is not JSON"),
        (b"[]", "not an envelope: the JSON is not an object"),
        (b"{}", "not an envelope: response_base64 is missing or not text"),
    ],
)
def test_what_is_no_envelope_does_not_verify(demo: Hanaper, content: bytes, said: str) -> None:
    (demo.folder / "answer").write_bytes(content)
    ended = demo("verify", "answer", "--public-key", GLOBAL_KEY, status=1)
    assert (ended.stdout, ended.stderr) == ("", f"hanaper: answer does not verify: {said}\n")


def test_verify_says_which_file_is_not_usable(demo: Hanaper, envelope: str) -> None:
    (demo.folder / "answer").write_text(envelope)
    (demo.folder / "empty.pem").touch()
    for arguments, said in (
        (["answer", "--public-key", "none.pem"], "none.pem cannot be read: No such file or directory"),
        (["answer", "--public-key", "."], ". cannot be read: Is a directory"),
        (["answer", "--public-key", "empty.pem"], "the public key empty.pem is not usable: it is not a PEM public key"),
        (["none.json", "--public-key", GLOBAL_KEY], "none.json cannot be read: No such file or directory"),
    ):
        ended = demo("verify", *arguments, status=65)
        assert (ended.stdout, ended.stderr) == ("", f"hanaper: {said}\n")
