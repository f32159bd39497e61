"""Runs tests in a cage: `python -m tests.support.hardened [tests and options]`, by root; see cage.py.

PostgreSQL runs in it, too, for the tests that want one.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import cage

ROOT = Path(__file__).parents[2]
TESTS = ("tests/unit", "tests/wire", "tests/integration", "tests/api")
# On a disk: of databases in memory `hanaper doctor` thinks what it should.
FOLDER = ("--basetemp", f"{cage.DATA}/tests")
TMP = "mode=1777,nosuid,nodev"


def main() -> None:
    """Run the tests; ends as they end."""
    if cage.why_not():
        sys.exit(cage.why_not())
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/tmp",  # noqa: S108 -- of the cage
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",  # noqa: S108 -- of the cage
        **{name: value for name, value in os.environ.items() if name.startswith("HANAPER_TEST_")},
    }
    asked = sys.argv[1:] or TESTS
    pytest = ["env", f"--chdir={ROOT}", sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *FOLDER, *asked]
    with tempfile.TemporaryDirectory() as data:
        os.chown(data, cage.USER, cage.USER)
        command = cage.command(Path(data), *pytest, tmp=TMP)
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
