"""What an image is built from, and what the documents say of it."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("Dockerfile", ".dockerignore", "compose.yaml", "pyproject.toml", "requirements.lock", "README.md", "LICENSE")
FOLDERS = ("src", "alembic", "docs")
STRANGE = (
    *(".git/config", ".env", "secrets/other", "data/key-encryption-key", "data/hanaper.db", "a.backup"),
    *("src/hanaper/__pycache__/left.cpython-313.pyc", "alembic/__pycache__/left.cpython-313.pyc", "tests/test_left.py"),
)
"""What lies in a folder that somebody works in, and has to stay out of images."""


def lay_out(tree: Path, strange: Sequence[str] = STRANGE) -> None:
    """Copy the sources, with strange things among them, readable by nobody but their owner, as after `umask 077`."""
    tree.mkdir()
    for name in PARTS:
        shutil.copyfile(ROOT / name, tree / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in strange:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("has to stay outside")
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)


def documented(heading: str) -> list[str]:
    """The commands below a heading of docs/docker.md, block by block, a line each."""
    text = (ROOT / "docs/docker.md").read_text()
    [section] = re.findall(rf"(?ms)^#+ {heading}$(.*?)(?=^##|\Z)", text)
    blocks: list[str] = re.findall(r"(?s)```sh\n(.*?)```", section)
    assert blocks
    return [re.sub(r"\\\n\s*", "", block) for block in blocks]
