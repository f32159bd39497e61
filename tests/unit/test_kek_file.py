"""The file of the key encryption key. It is a file, so these tests write files; nothing else."""

import base64
import os
import stat
from pathlib import Path

import pytest

from hanaper.keystore import kek_file
from hanaper.keystore.wrapping import KeyEncryptionKey
from hanaper.refusal import Misconfigured

SECRET = bytes(range(32))
TEXT = base64.b64encode(SECRET)
KEK_ID = KeyEncryptionKey(SECRET).kek_id


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key-encryption-key"
    path.write_bytes(TEXT + b"\n")
    path.chmod(0o600)
    return path


def refusal(file: Path, *, named: bool = False) -> str:
    with pytest.raises(Misconfigured) as caught:
        kek_file.read(file, named_by_setting=named)
    text = str(caught.value)
    assert str(file) in text
    assert "\n" not in text
    assert TEXT.decode() not in text
    return text.replace(str(file), "FILE")


@pytest.mark.parametrize("text", [TEXT, TEXT + b"\n", TEXT + b"\r\n", b"\n  " + TEXT + b"\t\n"])
def test_the_key_is_read_with_or_without_blanks_around_it(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    assert kek_file.read(file, named_by_setting=False).kek_id == KEK_ID


def test_a_link_to_the_file_is_as_good(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    assert kek_file.read(link, named_by_setting=True).kek_id == KEK_ID


@pytest.mark.parametrize("name", ["missing", "no/such/folder"])
def test_a_missing_file_is_named_with_the_cure(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / name) == (
        "the key encryption key FILE is missing: put the file back from its backup, "
        "or name it by HANAPER_KEY_ENCRYPTION_KEY_FILE (a new installation makes one by `hanaper init`)"
    )


def test_a_link_that_leads_nowhere_is_missing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert "is missing" in refusal(tmp_path / "link")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "the key encryption key FILE is not a file: put the secret's file there"


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "is not a file" in refusal(tmp_path / "pipe")


def test_a_path_through_a_file_cannot_be_read(file: Path) -> None:
    text = refusal(file / "inside")
    assert text == ("the key encryption key FILE cannot be read (Not a directory): give it to the user hanaper runs as")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_cannot_be_read(file: Path) -> None:
    file.chmod(0o000)
    assert "cannot be read (Permission denied): give it to the user hanaper runs as" in refusal(file)


@pytest.mark.parametrize(
    ("mode", "alone", "mounted"),
    [
        (0o400, True, True),
        (0o600, True, True),
        (0o700, True, True),
        (0o440, False, True),
        (0o640, False, True),
        (0o660, False, False),
        (0o620, False, False),
        (0o610, False, False),
        (0o644, False, False),
        (0o604, False, False),
        (0o602, False, False),
        (0o601, False, False),
        (0o777, False, False),
    ],
    ids=lambda value: f"{value:04o}" if type(value) is int else None,
)
@pytest.mark.parametrize("named", [False, True], ids=["in the data folder", "named by setting"])
def test_only_the_owner_may_read_it_and_the_group_of_a_mounted_secret(
    file: Path, mode: int, *, alone: bool, mounted: bool, named: bool
) -> None:
    file.chmod(mode)
    if mounted if named else alone:
        assert kek_file.read(file, named_by_setting=named).kek_id == KEK_ID
    else:
        assert refusal(file, named=named) == (
            f"the key encryption key FILE has mode {mode:04o}, others may read it: run `chmod 600 FILE`"
        )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"not base64!",
        b"\xff\xfe\0",
        TEXT[:-1],
        TEXT[:20] + b"\n" + TEXT[20:],
        TEXT + b"\n" + TEXT,
        base64.b64encode(bytes(31)),
        base64.b64encode(bytes(33)),
        base64.b64encode(bytes(64)),
        base64.urlsafe_b64encode(b"\xff" * 32),
        SECRET,
        SECRET.hex().encode(),
        b"A" * 10_000,
    ],
    ids=[
        "empty",
        "only a line feed",
        "not base64",
        "not text",
        "without padding",
        "two lines",
        "two keys",
        "31 bytes",
        "33 bytes",
        "64 bytes",
        "URL alphabet",
        "raw",
        "hex",
        "too long",
    ],
)
def test_what_is_no_key_is_refused(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    assert refusal(file) == (
        "the key encryption key FILE is not 32 bytes in base64, empty or damaged: put the file back from its backup"
    )


def test_a_new_key_is_readable_by_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "new"
    before = os.umask(0)
    try:
        made = kek_file.create(file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert kek_file.read(file, named_by_setting=False).kek_id == made.kek_id
    assert len(base64.b64decode(file.read_bytes())) == 32


def test_two_new_keys_are_different(tmp_path: Path) -> None:
    assert kek_file.create(tmp_path / "a").kek_id != kek_file.create(tmp_path / "b").kek_id


def test_an_existing_file_is_never_overwritten(file: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be made: File exists"):
        kek_file.create(file)
    assert file.read_bytes() == TEXT + b"\n"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Misconfigured, match="cannot be made: File exists"):
        kek_file.create(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_without_its_folder_it_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be made: No such file or directory"):
        kek_file.create(tmp_path / "no" / "folder")
