from pathlib import Path

import pytest

from hanaper.refusal import Misconfigured
from hanaper.storage.engine import locate

URL = "postgresql://hanaper@database/hanaper"


def test_the_password_comes_out_of_the_file_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("p@ss/w%41:rd #x\r\n")
    database = locate(URL, file)
    assert database.url.password == "p@ss/w%41:rd #x"
    assert database.url == locate(URL).url.set(password="p@ss/w%41:rd #x")
    assert "p@ss" not in database.shown
    assert "p%40ss" not in database.shown


@pytest.mark.parametrize("content", [b"", b"\n", b"one\ntwo\n", b"a\0b", b"\xff\xfe"])
def test_a_file_without_a_password_is_named_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(Misconfigured) as caught:
        locate(URL, file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "two" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured, match="cannot be read") as caught:
        locate(URL, tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_password_in_both_places_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    with pytest.raises(Misconfigured, match="use one of them") as caught:
        locate("postgresql://hanaper:other@database/hanaper", file)
    assert "other" not in str(caught.value)


def test_a_password_for_sqlite_is_refused_since_the_url_was_forgotten(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="HANAPER_DATABASE_URL") as caught:
        locate(f"sqlite:///{tmp_path / 'hanaper.db'}", tmp_path / "password")
    assert str(tmp_path / "password") in str(caught.value)
