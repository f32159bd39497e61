"""Schemathesis reads the description of the API and asks for everything in it, well and badly (T25)."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import SAMPLE_KEY, Installation
from tests.support.api import serving
from tests.support.slow import first

from hanaper.app import create_app, open_services

EXAMPLES = int(os.environ.get("HANAPER_TEST_SCHEMATHESIS_EXAMPLES", "50"))
"""For each operation, in the long form."""

# Not its checks that bad input is refused by its status, and good input accepted: here refusals are HTTP 200.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance"
CHECKS += ",response_schema_conformance,unsupported_method,signed"
SHORT = ("--phases=fuzzing", "--max-examples=4", "--include-path-regex=^/v1/")
"""One of the two base paths: the routes are the same."""
LONG = ("--phases=examples,coverage,fuzzing", f"--max-examples={EXAMPLES}")
ROOT = Path(__file__).parents[2]

_logger = logging.getLogger(__name__)


@pytest.mark.long
@pytest.mark.parametrize(
    ("database_kind", "how_much"),
    first(1, [("sqlite", SHORT), ("postgresql", SHORT), ("sqlite", LONG), ("postgresql", LONG)]),
    indirect=["database_kind"],
)
def test_every_answer_is_documented_and_signed(
    database_kind: str, installation: Installation, how_much: tuple[str, ...], tmp_path: Path
) -> None:
    services = open_services(installation.settings.model_copy(update={"openapi": True, "max_quantity": 20}))
    with serving(create_app(services)) as url:
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", f"--checks={CHECKS}"),
                *(f"--header=Authorization: Bearer {SAMPLE_KEY}", "--seed=25", "--generation-deterministic"),
                # However busy the machine is.
                *("--request-timeout=60", "--suppress-health-check=all"),
                *("--no-color", "--warnings=off", *how_much),
            ],
            cwd=tmp_path,
            env={
                # Its own lines are not what is to be covered, and take three times as long when they are counted.
                **{name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": str(ROOT / "tests/support/schemathesis_checks.py"),
                "HANAPER_TEST_URL": url,
                "HANAPER_TEST_GLOBAL_KEY": str(installation.installed.global_public_key),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    asked = re.search(r"(\d+) generated", ended.stdout)
    assert asked is not None, ended.stdout
    assert int(asked[1]) > 26
    _logger.info("%s: %s", database_kind, asked[0])
