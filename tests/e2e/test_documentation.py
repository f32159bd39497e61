"""The examples of README and docs, run as they stand.

Every `sh` and `python` block runs, in the order of its document and in one folder, against a server with demo data. A
block that cannot has a comment before it, `<!-- not run...: reason -->`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.processes import Hanaper, clean_environment
from tests.support.slow import first

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
DOCUMENTED_ADDRESS = "http://127.0.0.1:8000"
PROMISED = re.compile(r" # (\d{3} [A-Z].*)$", re.MULTILINE)
BLOCK = re.compile(r"(<!-- not run[^>]*: [^>]+ -->\n)?```(sh|python|toml)\n(.*?)```", re.DOTALL)


def _blocks(document: str) -> list[tuple[bool, str, str]]:
    found = BLOCK.findall((ROOT / document).read_text())
    return [(not skipped, language, code) for skipped, language, code in found]


@pytest.fixture
def workplace(demo: Hanaper) -> Iterator[tuple[Path, str]]:
    """A folder with `data` in it, as the README leaves it, and the address of a server on that data."""
    with demo.serving() as server:
        yield demo.folder, server.url
        server.stop()


def _run(code: str, language: str, folder: Path, base_url: str) -> str:
    code = code.replace(DOCUMENTED_ADDRESS, base_url)
    environment = clean_environment(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    command = ["bash", "-euo", "pipefail", "-c", code] if language == "sh" else [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{code}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


WORKED_PACKAGE = "docs/custom-generators.md"
DOCUMENTS = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    "document",
    first(1, [name for name in DOCUMENTS if name != WORKED_PACKAGE and any(runs for runs, _, _ in _blocks(name))]),
)
def test_the_examples_run(document: str, workplace: tuple[Path, str]) -> None:
    folder, base_url = workplace
    blocks = [(language, code) for runs, language, code in _blocks(document) if runs]
    if any("curl " in code or "openssl " in code for _, code in blocks) and not (
        shutil.which("curl") and shutil.which("openssl")
    ):
        pytest.skip("curl or openssl is not installed")
    output = "".join(_run(code, language, folder, base_url) for language, code in blocks)
    if document == "README.md":
        assert "Verified OK" in output
        assert output.count("ACME-") >= 5
        # What stands behind a call as a comment is what it answers.
        promised = [text for _, code in blocks for text in PROMISED.findall(code)]
        answered = [line for line in output.splitlines() if re.match(r"\d{3} [A-Z]", line)]
        assert len(promised) >= 10
        assert all(answer.startswith(promise) for answer, promise in zip(answered, promised, strict=True)), answered


def test_the_readme_runs_curl_and_python() -> None:
    languages = {language for runs, language, _ in _blocks("README.md") if runs}
    assert languages == {"sh", "python"}


def test_the_worked_custom_generator_can_be_built_installed_and_used(workplace: tuple[Path, str]) -> None:
    folder, _ = workplace
    blocks = {language: code for _, language, code in _blocks(WORKED_PACKAGE)}
    package = folder / "acme-license-keys"
    package.mkdir()
    (package / "pyproject.toml").write_text(blocks["toml"])
    (package / "acme_license_keys.py").write_text(blocks["python"])
    site = folder / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*install, "--target", site, package], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    environment = clean_environment(PYTHONPATH=str(site))

    def hanaper(*arguments: str) -> str:
        command = [sys.executable, "-m", "hanaper", *arguments, "--data-dir", str(folder / "data")]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    documented = re.search(r"hanaper (generator add .+) --data-dir data", blocks["sh"])
    assert documented is not None
    hanaper(*documented.group(1).split())
    rows = hanaper("generate", "--generator", "2", "--quantity", "20").splitlines()[1:]
    keys = {row.split(",")[0] for row in rows}
    assert len(keys) == 20
    assert all(re.fullmatch(r"(?:[a-z]{6}-){5}[a-z]{6}", key) for key in keys)
