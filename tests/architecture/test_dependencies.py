"""What is installed, and how it is pinned."""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from hanaper import RELEASED
from hanaper.storage import sqlite

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
REQUIRED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
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
    # Who installs the wheel without the lock file gets none below it either.
    [required] = [text for text in REQUIRED if re.split(r"[\[>]", text)[0] == package]
    assert (*_numbers(required.partition(">=")[2]), 0, 0) >= _numbers(floor)


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


def test_the_bill_of_materials_has_what_runs_and_nothing_else(tmp_path: Path) -> None:
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    for file in files:
        subprocess.run([sys.executable, ROOT / ".ci/sbom.py", file], check=True, cwd=tmp_path, capture_output=True)
    assert files[0].read_bytes() == files[1].read_bytes()
    bill = json.loads(files[0].read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert "https://" not in files[0].read_text()
    product = bill["metadata"]["component"]
    assert (product["name"], product["version"]) == ("hanaper", version("hanaper"))
    assert product["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert bill["metadata"]["timestamp"] == RELEASED.isoformat()

    names = re.findall(r"(?m)^([a-z0-9._-]+)(?:\[.*\])?==(\S+)", PARTS[0])
    assert [(part["name"], part["version"]) for part in bill["components"]] == names
    assert len(names) > 35
    hashes = []
    for part in bill["components"]:
        assert part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}"
        [files_of_it] = part["externalReferences"]
        assert {found["alg"] for found in files_of_it["hashes"]} == {"SHA-256"}
        hashes += [found["content"] for found in files_of_it["hashes"]]
    assert sorted(hashes) == sorted(re.findall(r"sha256:(\w+)", PARTS[0]))
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    assert sorted(needs[product["purl"]]) == sorted(part["purl"] for part in bill["components"])
    elsewhere = {part["name"] for part in bill["components"] if "properties" in part}
    assert elsewhere == set(re.findall(r"(?m)^([a-z0-9._-]+)\S* ; ", PARTS[0]))
