"""Long work shows how far it is, to a person who watches."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.processes import Hanaper

pytestmark = pytest.mark.long


def _watched(demo: Hanaper, *arguments: str) -> str:
    """What a command says on a terminal."""
    ours, theirs = pty.openpty()
    environment = {**demo.environment, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [sys.executable, "-m", "hanaper", *arguments], cwd=demo.folder, env=environment, stderr=theirs
    ) as process:
        os.close(theirs)
        said = bytearray()
        try:
            while chunk := os.read(ours, 4096):
                said += chunk
        except OSError:
            pass  # On Linux a terminal that the other side has closed reads as an error.
        finally:
            os.close(ours)
    assert process.returncode == 0, said
    return said.decode()


@pytest.mark.parametrize(("quantity", "shown"), [(1001, True), (1000, False)])
def test_a_large_order_shows_its_progress(demo: Hanaper, quantity: int, *, shown: bool) -> None:
    said = _watched(demo, "generate", "--generator", "1", "--quantity", str(quantity), "--output", "keys.csv")
    assert ("Generating" in said) is shown
    assert (f"{quantity}/{quantity}" in said) is shown
    assert len((demo.folder / "keys.csv").read_text().splitlines()) == quantity + 1


def test_an_export_to_a_file_shows_its_progress(demo: Hanaper, tmp_path: Path) -> None:
    demo("generate", "--generator", "1", "--quantity", "20", "--output", "keys.csv")
    assert "20/20" in _watched(demo, "key", "export", "--output", str(tmp_path / "all.csv"))
