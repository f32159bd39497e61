"""`hanaper restore`: a database out of a backup, in quarantine."""

from pathlib import Path
from typing import Annotated

import typer

from hanaper.backup import restore as use_case
from hanaper.cli.options import AsJson, DataDir, load_settings
from hanaper.cli.output import note, print_row
from hanaper.cli.progress import progress
from hanaper.clock import plain, utc_now


def restore(
    file: Annotated[Path, typer.Argument(help="What `hanaper backup` made.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an empty place, in quarantine. The key encryption key has to be in its place already."""
    settings = load_settings(data_dir)
    size = file.stat().st_size if file.is_file() else 0
    with progress("Copying", size, shown=settings.database.startswith("sqlite")) as advance:
        restored = use_case.restore(settings, file.expanduser().absolute(), now=utc_now(), advance=advance)
    as_of = restored.as_of.isoformat() if as_json else f"{plain(restored.as_of)} UTC"
    print_row(
        {"database": restored.shown, "as_of": as_of, "schema": restored.schema, "quarantine": True}, as_json=as_json
    )
    if not restored.is_current:
        note("The schema is older than this hanaper: run `hanaper db upgrade`.")
    note(
        "The database is in quarantine: it verifies, but changes and issues nothing. Make sure that the server the "
        "backup is of is off and stays off; then `hanaper quarantine off` tells what may be missing, and lifts it."
    )
