"""`hanaper check-store`: is everything that is stored whole?"""

from dataclasses import asdict

import typer

from hanaper.checking import check
from hanaper.checking.report import Report
from hanaper.cli.options import AsJson, DataDir, load_settings
from hanaper.cli.output import note, print_json, print_row, print_rows
from hanaper.cli.progress import progress
from hanaper.clock import utc_now
from hanaper.keystore.keys import Keystore
from hanaper.storage.schema import require_current
from hanaper.storage.transactions import Storage

_COLUMNS = ("kind", "table", "id", "text")


def check_store(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check every row and every signature; exit status 1 when something is wrong. A server may be running."""
    settings = load_settings(data_dir)
    with Storage.open(settings, make=False) as storage:
        require_current(storage)
        keystore = Keystore.from_settings(settings)
        with progress("Checking", check.size(storage)) as advance:
            report = check.check(storage, keystore, now=utc_now(), advance=advance)
    _print(report, as_json=as_json)
    if not report.is_clean:
        raise typer.Exit(1)


def _print(report: Report, *, as_json: bool) -> None:
    rows = [asdict(finding) for finding in report.findings]
    found = report.counts.total()
    if as_json:
        print_json(
            {
                "clean": report.is_clean,
                "checked": dict(report.checked),
                "found": found,
                "kinds": dict(report.counts),
                "findings": rows,
            }
        )
        return
    print_row(report.checked, as_json=False)
    print_rows(rows, _COLUMNS, as_json=False, empty="Nothing is wrong.")
    if found:
        note(f"{found:,} findings" + (f", the first {len(rows):,} are shown" if found > len(rows) else ""))
