"""What the documents say about the code is so."""

import re
from pathlib import Path

import typer

from hanaper.cli.doctor import EXIT_PROBLEMS, EXIT_WARNINGS
from hanaper.cli.main import app
from hanaper.diagnosis.diagnose import CHECKS
from hanaper.protocol import codes
from hanaper.refusal import Fault, Invalid, Misconfigured, Unavailable
from hanaper.settings import Settings
from hanaper.web.body import MOST_FIELDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _rows(document: str, columns: int) -> list[list[str]]:
    lines = (DOCS / document).read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return [row for row in rows if len(row) == columns]


def test_the_settings_table_is_the_settings() -> None:
    written = [row for row in _rows("settings.md", 3) if row[0].startswith("`HANAPER_")]
    expected = []
    for name, field in Settings.model_fields.items():
        empty = field.default in ("", (), None)
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        expected.append([f"`HANAPER_{name.upper()}`", "empty" if empty else f"`{default}`", field.description])
    assert written == expected


def test_the_table_of_our_own_codes_is_the_code_table() -> None:
    written = {row[0]: row[1:3] for row in _rows("errors.md", 4) if re.fullmatch(r"17\d\d", row[0])}
    assert written == {
        str(code.number): [str(code.http_status), code.message]
        for code in codes.BY_NUMBER.values()
        if code.number >= codes.FIRST_OWN_NUMBER
    }


def test_the_messages_of_documented_refusals_are_the_codes_messages() -> None:
    rows = [row for columns in (4,) for row in _rows("errors.md", columns) if re.fullmatch(r"\d{3}", row[0])]
    assert len(rows) >= 10
    for number, second, third, _ in rows:
        code = codes.BY_NUMBER[int(number)]
        if second.isdigit():
            assert [second, third] == [str(code.http_status), code.message]
        else:
            assert [second, third] == [code.message, code.signed_by.value]


def test_the_table_of_commands_is_the_command_line() -> None:
    written = {row[0].strip("`") for row in _rows("command-line.md", 2) if row[0].startswith("`")} - set(CHECKS)
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    assert written == set(command.commands)


def test_the_subcommands_are_documented() -> None:
    text = (DOCS / "command-line.md").read_text()
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    for name, sub in command.commands.items():
        if isinstance(sub, typer.core.TyperGroup):
            row = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
            assert all(f"`{part}`" in row for part in sub.commands), name


def test_the_table_of_checks_is_what_the_doctor_looks_at() -> None:
    text = (DOCS / "command-line.md").read_text().partition("<!-- checks:")[2].partition("<!-- checks: end -->")[0]
    assert re.findall(r"(?m)^\| `([a-z-]+)` \|", text) == list(CHECKS)


def test_the_exit_codes_are_documented() -> None:
    written = {row[0] for row in _rows("command-line.md", 2)}
    assert {str(EXIT_PROBLEMS), str(EXIT_WARNINGS)} <= written
    for fault in (Fault, Invalid, Unavailable, Misconfigured):
        assert str(fault.exit_status) in written


def test_the_limit_of_fields_is_documented() -> None:
    assert f"more than {MOST_FIELDS} fields" in (DOCS / "compatibility.md").read_text()


def test_every_document_is_reachable_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(((?:docs/)?[\w./-]+)\)", (ROOT / "README.md").read_text()))
    documents = {str(path.relative_to(ROOT)) for path in DOCS.glob("*.md")}
    assert documents <= linked
    assert all((ROOT / target).exists() for target in linked), "a link leads nowhere"


def test_decision_records_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in (DOCS / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_each_row_of_the_threat_model_names_tests_that_there_are() -> None:
    model = (ROOT / "SECURITY.md").read_text().partition("## Threat model")[2].partition("\n## ")[0]
    rows = [line for line in model.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 25
    for row in rows:
        tests = re.findall(r"`(tests/[^`]+)`", row.strip("|").split(" | ")[-1])
        assert tests, row
        for test in tests:
            assert "def test_" in (ROOT / test).read_text(), test
