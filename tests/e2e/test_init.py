"""`hanaper init`, `hanaper db` and `hanaper public-key`: an installation comes to be."""

import stat
from pathlib import Path

import pytest
from tests.e2e.conftest import Made
from tests.support.processes import Hanaper

from hanaper.storage.schema import head

SAMPLE_KEY = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
KEYS = ["data_dir", "database_url", "product_id", "generator_id", "api_key", "product_public_key", "global_public_key"]


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_init_with_demo_data_says_all_that_a_client_needs(made_with_demo: Made) -> None:
    folder = made_with_demo.folder
    assert list(made_with_demo.said) == KEYS
    assert made_with_demo.said == {
        "data_dir": str(folder),
        "database_url": f"sqlite:///{folder / 'hanaper.db'}",
        "product_id": 1,
        "generator_id": 1,
        "api_key": SAMPLE_KEY,
        "product_public_key": str(folder / "public-keys" / "product-1.pem"),
        "global_public_key": str(folder / "public-keys" / "global.pem"),
    }
    assert folder.is_absolute()
    assert Path(made_with_demo.said["product_public_key"]).read_text().startswith("-----BEGIN PUBLIC KEY-----\n")


def test_init_without_demo_data_has_no_demo_parts(made_without_demo: Made) -> None:
    folder = made_without_demo.folder
    assert list(made_without_demo.said) == KEYS
    assert made_without_demo.said == {
        "data_dir": str(folder),
        "database_url": f"sqlite:///{folder / 'hanaper.db'}",
        "product_id": None,
        "generator_id": None,
        "api_key": None,
        "product_public_key": None,
        "global_public_key": str(folder / "public-keys" / "global.pem"),
    }


def test_what_init_makes_is_for_its_owner_only(made_with_demo: Made) -> None:
    folder = made_with_demo.folder
    assert mode(folder) == 0o700
    assert mode(folder / "key-encryption-key") == 0o600
    assert mode(folder / "hanaper.db") == 0o600
    assert mode(folder / "hanaper.db.lock") == 0o600


def test_init_again_changes_nothing(demo: Hanaper) -> None:
    before = everything_below(demo.data_dir)
    first = demo("init", "--demo", "--json").json
    assert demo("init", "--demo", "--json").json == first
    assert everything_below(demo.data_dir) == before


def test_init_without_demo_on_demo_data_keeps_and_names_them(demo: Hanaper) -> None:
    said = demo("init", "--json").json
    assert (said["product_id"], said["generator_id"], said["api_key"]) == (1, 1, SAMPLE_KEY)
    assert said["product_public_key"] == str(demo.data_dir / "public-keys" / "product-1.pem")


def test_init_with_demo_adds_the_demo_data_to_an_installation(plain: Hanaper) -> None:
    key = (plain.data_dir / "public-keys" / "global.pem").read_bytes()
    said = plain("init", "--demo", "--json").json
    assert (said["product_id"], said["generator_id"], said["api_key"]) == (1, 1, SAMPLE_KEY)
    assert (plain.data_dir / "public-keys" / "global.pem").read_bytes() == key


def test_init_does_not_name_a_sample_key_that_was_revoked(demo: Hanaper) -> None:
    demo("api-key", "revoke", "1")
    assert demo("init", "--demo", "--json").json["api_key"] is None


def test_init_puts_lost_public_keys_back(demo: Hanaper) -> None:
    file = demo.data_dir / "public-keys" / "product-1.pem"
    before = file.read_bytes()
    file.unlink()
    demo("init")
    assert file.read_bytes() == before


def test_init_tells_people_what_there_is_and_what_comes_next(demo: Hanaper, plain: Hanaper) -> None:
    said = demo("init")
    assert f"data dir            {demo.data_dir}" in said.stdout.splitlines()
    assert f"api key             {SAMPLE_KEY}" in said.stdout.splitlines()
    assert "Next: hanaper serve" in said.stderr
    without = plain("init")
    assert "product id          -" in without.stdout.splitlines()
    assert "Next: hanaper product add" in without.stderr


def test_init_makes_its_folder_where_the_option_says_and_not_where_the_variable_says(bare: Hanaper) -> None:
    said = bare("init", "--data-dir", "by/option", "--json", HANAPER_DATA_DIR="by-variable").json
    assert said["data_dir"] == str(bare.folder / "by" / "option")
    assert mode(bare.folder / "by" / "option") == 0o700
    assert not (bare.folder / "by-variable").exists()


def test_init_cannot_make_a_folder_below_a_file(bare: Hanaper) -> None:
    (bare.folder / "file").touch()
    ended = bare("init", "--data-dir", "file/data", status=78)
    folder = bare.folder / "file" / "data"
    assert ended.stderr == (
        f"hanaper: the data folder {folder} cannot be made (Not a directory): "
        "name another by --data-dir or HANAPER_DATA_DIR\n"
    )


def test_a_database_below_a_file_cannot_be_made(bare: Hanaper) -> None:
    (bare.folder / "file").touch()
    ended = bare("init", status=69, HANAPER_DATABASE_URL=f"sqlite:///{bare.folder / 'file' / 'hanaper.db'}")
    assert ended.stderr == (
        f"hanaper: the database {bare.folder / 'file' / 'hanaper.db'} cannot be created: Not a directory\n"
    )


def test_init_uses_the_key_encryption_key_that_a_setting_names(bare: Hanaper) -> None:
    secret = bare.folder / "secret"
    secret.write_text("TWlzY2hpZWYgbWFuYWdlZCAoYnV0IDMyIGJ5dGVzIWE=\n")
    secret.chmod(0o600)
    bare("init", HANAPER_KEY_ENCRYPTION_KEY_FILE="secret")
    assert not (bare.folder / "data" / "key-encryption-key").exists()
    assert "key encryption key" in bare("product", "list", status=78).last_line
    bare("product", "list", HANAPER_KEY_ENCRYPTION_KEY_FILE="secret")


def test_init_does_not_make_the_key_encryption_key_that_a_setting_names(bare: Hanaper) -> None:
    ended = bare("init", status=78, HANAPER_KEY_ENCRYPTION_KEY_FILE="secret")
    assert f"the key encryption key {bare.folder / 'secret'} is missing" in ended.last_line
    assert not (bare.folder / "secret").exists()


def test_init_works_on_postgresql_too(bare: Hanaper, empty_database_url: str) -> None:
    said = bare("init", "--demo", "--json", HANAPER_DATABASE_URL=empty_database_url).json
    assert list(said) == KEYS
    assert (said["product_id"], said["generator_id"], said["api_key"]) == (1, 1, SAMPLE_KEY)
    assert bare("init", "--demo", "--json", HANAPER_DATABASE_URL=empty_database_url).json == said


# --- db ---


def test_db_upgrade_makes_the_schema_and_db_check_tells_whether_it_is_there(bare: Hanaper) -> None:
    (bare.folder / "data").mkdir()
    missing = bare("db", "check", "--json", status=78)
    assert missing.json == {"found": None, "needed": head(), "current": False}
    assert missing.last_line.endswith("has no hanaper schema yet: run `hanaper init` first")
    assert bare("db", "upgrade", "--json").json == {"before": None, "now": head()}
    assert bare("db", "check", "--json").json == {"found": head(), "needed": head(), "current": True}
    assert bare("db", "upgrade").stdout.split() == ["before", head(), "now", head()]
    assert bare("db", "check").stdout.split() == ["found", head(), "needed", head(), "current", "yes"]


@pytest.mark.parametrize(
    "arguments",
    ["product list", "generator list", "api-key list", "key export", "public-key", "generate --generator 1"],
)
def test_a_command_before_init_says_so(bare: Hanaper, arguments: str) -> None:
    (bare.folder / "data").mkdir()
    more = ["--quantity", "1"] if arguments.startswith("generate ") else []
    ended = bare(*arguments.split(), *more, status=78)
    file = bare.folder / "data" / "hanaper.db"
    assert ended.stdout == ""
    assert ended.stderr == (
        f"hanaper: there is no database {file}: run `hanaper init` first, or put it back from its backup\n"
    )
    assert not file.exists()


# --- public-key ---


def test_public_key_prints_the_global_key_or_that_of_a_product(demo: Hanaper) -> None:
    files = demo.data_dir / "public-keys"
    assert demo("public-key").stdout == (files / "global.pem").read_text()
    uuid = demo("product", "list", "--json").json[0]["uuid"]
    for reference in ("1", "demo", uuid, uuid.upper()):
        assert demo("public-key", "--product", reference).stdout == (files / "product-1.pem").read_text()


def test_public_key_writes_a_file(demo: Hanaper) -> None:
    said = demo("public-key", "--product", "demo", "--output", "demo.pem")
    assert (said.stdout, said.stderr) == ("", "written to demo.pem\n")
    assert (demo.folder / "demo.pem").read_text() == (demo.data_dir / "public-keys" / "product-1.pem").read_text()


def test_public_key_refuses_what_it_cannot_do(demo: Hanaper) -> None:
    assert demo("public-key", "--product", "2", status=65).stderr == (
        "hanaper: there is no product '2': see `hanaper product list`\n"
    )
    assert demo("public-key", "-o", "no/folder", status=65).stderr == (
        "hanaper: no/folder cannot be written: No such file or directory\n"
    )
    assert demo("public-key", "--product", "\udcff", status=65).stderr == (
        "hanaper: an id, a UUID or a slug has printable characters only\n"
    )
