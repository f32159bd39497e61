"""`hanaper product`, `hanaper generator` and `hanaper block-list`."""

import re

import pytest
from tests.support.processes import Hanaper

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


# --- product ---


def test_a_product_is_added_with_a_key_of_its_own_and_listed(plain: Hanaper) -> None:
    assert plain("product", "list").stdout == "There are no products yet.\n"
    assert plain("product", "list", "--json").json == []
    made = plain("product", "add", "Señor Éclair 2", "--require-non-expired", "--json").json
    assert UUID4.fullmatch(made.pop("uuid"))
    assert MOMENT.fullmatch(made.pop("created_at"))
    assert re.fullmatch("[0-9a-f]{16}", made.pop("signing_key"))
    assert made == {
        "id": 1,
        "slug": "senor-eclair-2",
        "name": "Señor Éclair 2",
        "status": "active",
        "require_non_expired": True,
    }
    second = plain("product", "add", "Second", "--slug", "other", "--description", "A text", "--rsa-bits", "3072")
    assert re.search(r"^id +2$", second.stdout, re.MULTILINE)
    assert re.search(r"^require non expired +no$", second.stdout, re.MULTILINE)
    listed = plain("product", "list", "--json").json
    assert [(row["id"], row["slug"]) for row in listed] == [(1, "senor-eclair-2"), (2, "other")]
    assert listed[0]["signing_key"] != listed[1]["signing_key"]
    shown = plain("product", "list").stdout.splitlines()
    assert shown[0].split() == ["id", "slug", "name", "status", "signing", "key"]
    assert [line.split()[:2] for line in shown[1:]] == [["1", "senor-eclair-2"], ["2", "other"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "the name of a product has 1 to 255 printable characters"),
        (["x" * 256], "the name of a product has 1 to 255 printable characters"),
        (["two\nlines"], "the name of a product has 1 to 255 printable characters"),
        (["\udcff"], "the name of a product has 1 to 255 printable characters"),
        (["Name", "--slug", "Not A Slug"], "a slug has 1 to 100 lower-case letters, digits and single hyphens"),
        (["Name", "--slug", "123"], "a slug has 1 to 100 lower-case letters, digits and single hyphens"),
        (["Demo"], "another product has the slug 'demo': choose one with --slug"),
        (["Name", "--description", "\udcff"], "a description holds no NUL characters, and nothing that is not UTF-8"),
    ],
)
def test_a_product_that_breaks_a_rule_is_refused(demo: Hanaper, arguments: list[str], said: str) -> None:
    ended = demo("product", "add", *arguments, status=65)
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"hanaper: {said}")


# --- generator ---


def test_a_generator_is_added_with_its_arithmetic_and_listed(demo: Hanaper) -> None:
    made = demo(
        *("generator", "add", "--product", "demo", "--method", "chunk-system", "--name", "Short", "--prefix", "AB-"),
        *(
            "--chunks",
            "3",
            "--chunk-length",
            "4",
            "--activation-limit",
            "2",
            "--validity",
            "365",
            "--inactive",
            "--json",
        ),
    )
    row = made.json
    assert UUID4.fullmatch(row["uuid"])
    assert (row["id"], row["product_id"], row["name"], row["method"]) == (2, 1, "Short", "chunk-system")
    assert (row["prefix"], row["suffix"], row["function_name"], row["charset"]) == ("AB-", "", "", "0123456789ABCDEF")
    assert (row["number_of_chunks"], row["chunk_length"]) == (3, 4)
    assert (row["activation_limit"], row["validity"], row["active"]) == (2, 365, False)
    assert (row["key_space"], row["bits"]) == (2**48, 48.0)
    assert made.stderr.startswith("warning: fewer than 64 bits: ")
    table = demo("generator", "list").stdout.splitlines()
    columns = "id product id name method prefix activation limit validity active generated cap"
    assert " ".join(table[0].split()) == columns
    assert table[2].split() == ["2", "1", "Short", "chunk-system", "AB-", "2", "365", "no", "0", "-"]
    assert [row["id"] for row in demo("generator", "list", "--json").json] == [1, 2]
    strong = demo("generator", "add", "--product", "1")
    assert re.search(r"^bits +122\.0$", strong.stdout, re.MULTILINE)
    assert "possible keys (122.0 bits)" in strong.stderr
    assert "warning" not in strong.stderr


def test_the_list_of_generators_may_be_empty(plain: Hanaper) -> None:
    assert plain("generator", "list").stdout == "There are no generators yet.\n"
    assert plain("generator", "list", "--json").json == []


@pytest.mark.parametrize("command", ["add --product 1", "preview"])
def test_a_generator_whose_keys_could_be_guessed_is_refused_with_the_arithmetic(demo: Hanaper, command: str) -> None:
    weak = ["--method", "chunk-system", "--chunks", "2", "--chunk-length", "4", "--charset", "0123456789"]
    ended = demo("generator", *command.split(), *weak, status=65)
    assert ended.stdout == ""
    assert ended.stderr.startswith(
        "hanaper: the keys could be guessed: 100,000,000 possible keys (26.6 bits); "
        "odds that two of 1,000,000 keys collide when drawn: 1; at 1,000 guesses a second one of them is found after "
    )
    assert ended.stderr.endswith(". At least 40 bits are needed\n")
    assert len(demo("generator", "list", "--json").json) == 1


def test_a_generator_with_too_few_keys_for_what_is_expected_is_refused_with_the_arithmetic(demo: Hanaper) -> None:
    few = ["--method", "chunk-system", "--chunks", "2", "--chunk-length", "5", "--expected-keys", "2000000000"]
    ended = demo("generator", "add", "--product", "1", *few, status=65)
    assert ended.stderr.startswith("hanaper: there are not enough different keys for 2,000,000,000: 1.10e+12 possible")
    assert ended.stderr.endswith("At most one key in 1,000 may be issued\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--product", "2"], "there is no product 2: see `hanaper product list`"),
        (["--product", "no-such-slug"], "there is no product 'no-such-slug': see `hanaper product list`"),
        (["--product", "9" * 30], f"there is no product '{'9' * 30}': see `hanaper product list`"),
        (["--product", "\udcff"], "an id, a UUID or a slug has printable characters only"),
        (["--product", "1", "--prefix", "x" * 65], "a prefix has at most 64 printable characters"),
        (["--product", "1", "--suffix", "\t"], "a suffix has at most 64 printable characters"),
        (["--product", "1", "--validity", "-1"], "a validity is 0 (for ever) to 1,000,000 days, not -1"),
        (["--product", "1", "--activation-limit", "-1"], "an activation limit is 0 (unlimited) to 2,147,483,647"),
        (["--product", "1", "--expected-keys", "0"], "at least one key is expected of a generator"),
        (["--product", "1", "--name", "x" * 101], "the name of a generator has 1 to 100 printable characters"),
        (
            ["--product", "1", "--method", "chunk-system", "--charset", "AAB"],
            "a charset has every character once, here twice: A",
        ),
        (
            ["--product", "1", "--method", "chunk-system", "--chunks", "33"],
            "a key has 1 to 32 chunks, not 33",
        ),
        (
            ["--product", "1", "--method", "custom", "--function-name", "none_such"],
            "no installed package offers 'none_such' under hanaper.generators; offered are: ",
        ),
        (
            ["--product", "1", "--method", "custom", "--function-name", "no such"],
            "the name of a custom function has 1 to 100 letters, digits, dots, hyphens and underscores",
        ),
    ],
)
def test_a_generator_that_breaks_a_rule_is_refused(demo: Hanaper, arguments: list[str], said: str) -> None:
    ended = demo("generator", "add", *arguments, status=65)
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"hanaper: {said}")


def test_a_preview_shows_examples_and_stores_nothing(bare: Hanaper) -> None:
    chunks = ["--method", "chunk-system", "--prefix", "P-", "--suffix", "-S", "--quantity", "7"]
    shown = bare("generator", "preview", *chunks)
    assert len(shown.stdout.splitlines()) == 7
    assert all(re.fullmatch(r"P-(?:[0-9A-F]{4}-){4}S", line) for line in shown.stdout.splitlines())
    assert "possible keys (64.0 bits)" in shown.stderr
    row = bare("generator", "preview", "--json").json
    assert list(row) == ["examples", "key_space", "bits", "collision_odds", "years_to_guess"]
    assert len(row["examples"]) == 5
    assert all(UUID4.fullmatch(example) for example in row["examples"])
    assert list(bare.folder.iterdir()) == []


def test_a_generator_is_disabled_and_enabled_again(demo: Hanaper) -> None:
    uuid = demo("generator", "list", "--json").json[0]["uuid"]
    assert demo("generator", "disable", uuid, "--json").json["active"] is False
    refused = demo("generate", "--generator", "1", "--quantity", "1", status=1)
    assert refused.stderr == "hanaper: refused with 806 Generator not found\n"
    assert re.search(r"^active +yes$", demo("generator", "enable", "1").stdout, re.MULTILINE)
    demo("generate", "--generator", uuid, "--quantity", "1")
    for command in ("enable", "disable"):
        ended = demo("generator", command, "7", status=65)
        assert ended.stderr == "hanaper: there is no generator 7: see `hanaper generator list`\n"


# --- block-list ---


def test_the_block_list_is_added_to_listed_and_shortened(plain: Hanaper) -> None:
    assert plain("block-list", "list").stdout == "Nothing is blocked.\n"
    network = plain("block-list", "add", "--address", "203.0.113.0/24", "--reason", "abuse", "--json").json
    assert MOMENT.fullmatch(network.pop("created_at"))
    assert network == {"id": 1, "kind": "address", "value": "203.0.113.0/24", "reason": "abuse", "expires_at": None}
    shown = plain("block-list", "add", "--identifier", "evil.example", "--expires", "2099-12-31").stdout
    assert re.search(r"^value +evil\.example$", shown, re.MULTILINE)
    assert re.search(r"^expires at +2099-12-31T00:00:00\.000000Z$", shown, re.MULTILINE)
    table = plain("block-list", "list").stdout.splitlines()
    assert table[0].split() == ["id", "kind", "value", "reason", "expires", "at"]
    assert table[1].split() == ["1", "address", "203.0.113.0/24", "abuse", "-"]
    removed = plain("block-list", "remove", "1")
    assert (removed.stdout, removed.stderr) == ("", "")
    assert [row["id"] for row in plain("block-list", "list", "--json").json] == [2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("add", "name either --address or --identifier"),
        ("add --address 192.0.2.1 --identifier name", "name either --address or --identifier"),
        ("add --address nowhere", "'nowhere' is no address and no network"),
        ("add --address 10.0.0.1/8", "'10.0.0.1/8' is no address and no network: 10.0.0.1/8 has host bits set"),
        ("add --address ::ffff:192.0.2.1", "'::ffff:192.0.2.1' is IPv4 written as IPv6: write the IPv4 form"),
        ("add --identifier \udcff", "an identifier has 1 to 255 printable characters"),
        ("add --identifier name --reason \udcff", "a reason has at most 255 printable characters"),
        ("remove 1", "there is no entry 1 on the block list"),
    ],
)
def test_the_block_list_refuses_what_is_wrong(plain: Hanaper, arguments: str, said: str) -> None:
    ended = plain("block-list", *arguments.split(), status=65)
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"hanaper: {said}")


def test_nothing_is_on_the_block_list_twice(plain: Hanaper) -> None:
    plain("block-list", "add", "--address", "192.0.2.1")
    ended = plain("block-list", "add", "--address", "192.0.2.1/32", status=65)
    assert ended.stderr == "hanaper: '192.0.2.1/32' is on the block list already\n"
