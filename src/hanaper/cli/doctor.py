"""`hanaper doctor`: is this installation set up so that what is promised holds?"""

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from hanaper.cli.options import AsJson, DataDir, load_settings
from hanaper.cli.output import note, print_json, print_rows
from hanaper.diagnosis.diagnose import Diagnosis, diagnose, unreadable
from hanaper.diagnosis.finding import Verdict
from hanaper.refusal import Misconfigured

EXIT_PROBLEMS = 1
EXIT_WARNINGS = 3
_COLUMNS = ("verdict", "check", "found")


def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 3 where there are warnings.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Look for what is set up wrongly, and say what to do; exit status 1 when there is a problem."""
    try:
        found = diagnose(load_settings(data_dir))
    except Misconfigured as fault:
        found = unreadable(fault)
    _print(found, as_json=as_json)
    if found.verdict is Verdict.PROBLEM:
        raise typer.Exit(EXIT_PROBLEMS)
    if strict and found.verdict is Verdict.WARNING:
        raise typer.Exit(EXIT_WARNINGS)


def _print(found: Diagnosis, *, as_json: bool) -> None:
    if as_json:
        print_json({"verdict": found.verdict, "findings": [asdict(finding) for finding in found.findings]})
        return
    rows = []
    for finding in found.findings:
        rows.append({"verdict": finding.verdict, "check": finding.check, "found": finding.text})
        if finding.cure:
            rows.append({"verdict": "", "check": "", "found": f"-> {finding.cure}"})
    print_rows(rows, _COLUMNS, as_json=False, empty="")
    counts = Counter(finding.verdict for finding in found.findings)
    note(", ".join(f"{verdict}: {counts[verdict]}" for verdict in reversed(Verdict)))
