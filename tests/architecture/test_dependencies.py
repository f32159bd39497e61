"""What is installed, and how it is pinned."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from hanaper.storage import sqlite

LOCK = (Path(__file__).parents[2] / "requirements.lock").read_text()
PARTS = re.split(r"(?m)^# --- (?:build|development|fuzzing) ---$", LOCK)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


@pytest.mark.parametrize(
    ("package", "floor"),
    [
        ("starlette", "1.3.1"),  # CVE-2026-54283, CVE-2026-48710
        ("python-multipart", "0.0.31"),  # CVE-2026-53540
        ("cryptography", "46.0.6"),  # CVE-2026-34073
        ("h11", "0.16.0"),  # CVE-2025-43859
    ],
)
def test_no_dependency_is_below_its_security_floor(package: str, floor: str) -> None:
    assert _numbers(version(package)) >= _numbers(floor)
    locked = re.search(rf"(?m)^{package}==(\S+)", LOCK)
    assert locked is not None
    assert _numbers(locked.group(1)) >= _numbers(floor)


def test_write_ahead_logging_is_only_used_with_a_sqlite_that_is_safe_for_it() -> None:
    found = sqlite.library().sqlite_version_info
    assert sqlite.journal_mode(found) == ("wal" if found >= (3, 51, 3) else "truncate")
    assert sqlite.journal_mode((3, 51, 2)) == "truncate"
    assert sqlite.journal_mode((3, 51, 3)) == "wal"


def test_the_lock_file_names_no_host() -> None:
    assert "://" not in LOCK
    entries = "".join(line for line in LOCK.splitlines(keepends=True) if not line.startswith("#"))
    assert set(re.findall(r"--[a-z-]+", entries)) == {"--hash"}


def test_every_locked_package_is_pinned_with_hashes() -> None:
    entries = re.findall(r"(?m)^[a-z0-9][^\n]*\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", LOCK)
    names = re.findall(r"(?m)^[a-z0-9].*", LOCK)
    assert len(entries) == len(names) > 0
    assert all(re.match(r"[a-z0-9._-]+(?:\[[a-z,]+\])?==\S+( ; .+)? \\$", name) for name in names)


def test_the_lock_file_has_its_four_parts() -> None:
    runtime, build, development, fuzzing = PARTS
    assert "\nfastapi==" in runtime
    assert "\nhatchling==" in build
    assert "\npytest==" in development
    assert "\npytest==" not in runtime
    # 35 MB, for one platform only: nobody needs them to run the tests.
    assert re.findall(r"(?m)^[a-z0-9]+(?===)", fuzzing) == ["atheris", "atheris"]
    assert "\natheris==" not in development


def test_what_is_installed_is_what_is_locked() -> None:
    for package in ("fastapi", "starlette", "pydantic", "sqlalchemy", "cryptography", "uvicorn", "alembic"):
        assert f"\n{package}=={version(package)} \\\n" in LOCK
