"""`hanaper api-key`: secrets come in over standard input or a file, and go out once."""

import re
from pathlib import Path

import pytest
from tests.support.processes import Hanaper

OWN = re.compile(r"hnp_(live|test)_[0-9A-Za-z]{49}")
SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
UUID4 = "7b1f6a55-3a1d-4c0e-9a35-5e2f1f6f8d10"
OTHER = "kV3q-9ZtL-m2Xw-P7bR-u5Jc-H8sD-f4Yn-G6eA"


def everything_below(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_a_new_key_is_shown_once_and_stored_nowhere(plain: Hanaper) -> None:
    made = plain("api-key", "add", "Shop", "--json").json
    key = made["api_key"]
    assert OWN.fullmatch(key)
    assert made["hint"] == f"hnp_live_…{key[-4:]}"
    assert (made["id"], made["name"], made["kind"], made["status"]) == (1, "Shop", "live", "active")
    assert (made["abilities"], made["allowed"], made["product_ids"], made["expires_at"]) == (["*"], [], None, None)
    for listed in (plain("api-key", "list"), plain("api-key", "list", "--json"), plain("init", "--json")):
        assert key not in listed.stdout + listed.stderr
    assert key.encode() not in everything_below(plain.data_dir)


def test_a_key_for_people_comes_with_the_advice_to_keep_it(plain: Hanaper) -> None:
    made = plain("api-key", "add", "Shop", "--test")
    shown = re.search(r"^api key +(\S+)$", made.stdout, re.MULTILINE)
    assert shown is not None
    assert shown[1].startswith("hnp_test_")
    assert OWN.fullmatch(shown[1])
    assert made.stderr == "Store the API key now: it is not shown again.\n"


def test_the_terms_of_a_key_are_kept_and_listed(demo: Hanaper) -> None:
    made = demo(
        *("api-key", "add", "Shop", "--ability", "generate", "--ability", "get-all-generators", "--product", "demo"),
        *("--allow", "192.0.2.0/24", "--allow", "2001:db8::1", "--expires", "2099-01-02T03:04:05", "--json"),
    ).json
    assert made["abilities"] == ["generate", "get-all-generators"]
    assert made["allowed"] == ["192.0.2.0/24", "2001:db8::1/128"]
    assert made["product_ids"] == [1]
    assert made["expires_at"] == "2099-01-02T03:04:05.000000Z"
    table = demo("api-key", "list").stdout.splitlines()
    assert " ".join(table[0].split()) == "id name kind hint status abilities allowed product ids expires at"
    assert table[1].split()[:4] == ["1", "Published", "sample", "key"]
    assert "generate, get-all-generators  192.0.2.0/24, 2001:db8::1/128  1" in table[2]


def test_there_may_be_no_keys(plain: Hanaper) -> None:
    assert plain("api-key", "list").stdout == "There are no API keys yet.\n"
    assert plain("api-key", "list", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "the name of an API key has 1 to 100 printable characters"),
        (["x" * 101], "the name of an API key has 1 to 100 printable characters"),
        (["\udcff"], "the name of an API key has 1 to 100 printable characters"),
        (["Shop", "--ability", "fly"], "there is no ability 'fly': choose from *, generate, get-all-generators"),
        (["Shop", "--allow", "10.0.0.1/8"], "'10.0.0.1/8' is no address and no network: 10.0.0.1/8 has host bits set"),
        (["Shop", "--product", "7"], "there is no product '7': see `hanaper product list`"),
        (["Shop", "--expires", "2020-01-01"], "the API key would have expired on 2020-01-01 00:00 UTC"),
    ],
)
def test_terms_that_break_a_rule_are_refused(plain: Hanaper, arguments: list[str], said: str) -> None:
    ended = plain("api-key", "add", *arguments, status=65)
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"hanaper: {said}")


@pytest.mark.parametrize("secret", [UUID4, UUID4.upper(), OTHER])
def test_a_key_of_another_system_is_imported_from_standard_input(plain: Hanaper, secret: str) -> None:
    made = plain("api-key", "import", "Old shop", "--json", stdin=f"{secret}\n")
    assert made.json["kind"] == "imported"
    assert made.json["hint"].casefold() == f"…{secret[-4:]}".casefold()
    assert "api_key" not in made.json
    assert secret not in made.stdout + made.stderr
    assert secret.encode() not in everything_below(plain.data_dir)


def test_a_key_of_another_system_is_imported_from_a_file(plain: Hanaper) -> None:
    (plain.folder / "secret").write_text(f"  {UUID4}\n\n")
    made = plain("api-key", "import", "Old shop", "--file", "secret", "--ability", "generate")
    assert re.search(r"^kind +imported$", made.stdout, re.MULTILINE)
    assert made.stderr.startswith("Imported keys are only as random as the system that made them")
    assert UUID4 not in made.stdout + made.stderr
    again = plain("api-key", "import", "Once more", "--file", "-", status=65, stdin=UUID4)
    assert again.stderr == "hanaper: this API key is stored already: see `hanaper api-key list`\n"


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (SAMPLE_KEY, "this is the sample key of the reference system's public documentation: make a new one"),
        (SAMPLE_KEY.upper(), "this is the sample key of the reference system's public documentation"),
        (
            "f48aa5e4-e798-11f1-9af5-02fc00000001",
            "of UUIDs only random ones (version 4) are imported: make a new key instead",
        ),
        ("Passw0rd-Passw0rd", "this key can be guessed: 17 characters, at most "),
        ("a" * 64, "this key can be guessed: 64 characters, at most 0 bits"),
        ("hnp_live_" + "A" * 49, "this is not a key to import: printable ASCII, at most 255 characters, not one of"),
        ("x" * 256, "this is not a key to import: "),
        ("kÿnig-" * 8, "this is not a key to import: "),
        ("", "this key can be guessed: 0 characters"),
    ],
)
def test_a_key_that_is_known_or_can_be_guessed_is_refused_and_not_repeated(
    plain: Hanaper, secret: str, said: str
) -> None:
    ended = plain("api-key", "import", "Old shop", status=65, stdin=secret)
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"hanaper: {said}")
    assert not secret or secret not in ended.stderr


def test_a_key_that_cannot_be_read_is_refused(plain: Hanaper) -> None:
    for file, reason in (("no-such-file", "FileNotFoundError"), (".", "IsADirectoryError")):
        ended = plain("api-key", "import", "Old shop", "--file", file, status=65)
        assert ended.stderr == f"hanaper: the API key cannot be read from {file}: {reason}\n"
    (plain.folder / "bytes").write_bytes(b"\xff\xfe")
    ended = plain("api-key", "import", "Old shop", "--file", "bytes", status=65)
    assert ended.stderr == "hanaper: the API key cannot be read from bytes: UnicodeDecodeError\n"
    ended = plain.anew("api-key", "import", "Old shop", status=65, stdin=b"\xff\xfe", PYTHONIOENCODING="utf-8:strict")
    assert ended.stderr.startswith("hanaper: the API key cannot be read from ")


def test_a_key_is_revoked(plain: Hanaper) -> None:
    plain("api-key", "add", "Shop")
    assert plain("api-key", "revoke", "1", "--json").json["status"] == "inactive"
    assert re.search(r"^status +inactive$", plain("api-key", "revoke", "1").stdout, re.MULTILINE)
    for api_key_id in ("2", str(2**63 - 1)):
        ended = plain("api-key", "revoke", api_key_id, status=65)
        assert ended.stderr == f"hanaper: there is no API key {api_key_id}: see `hanaper api-key list`\n"
