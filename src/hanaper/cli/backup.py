"""`hanaper backup`: a copy of the database, while the server runs."""

from pathlib import Path
from typing import Annotated

import typer

from hanaper.backup import back_up
from hanaper.cli.options import AsJson, DataDir, load_settings
from hanaper.cli.output import note, print_row
from hanaper.cli.progress import progress
from hanaper.clock import plain, utc_now
from hanaper.storage.transactions import Storage


def backup(
    file: Annotated[Path, typer.Argument(help="A new file.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Copy the whole database into a new file. A server may be running. The key encryption key is not in it."""
    settings = load_settings(data_dir)
    with Storage.open(settings, make=False) as storage:
        pages = back_up.size(storage)
        with progress("Copying", pages, shown=pages is not None) as advance:
            made = back_up.back_up(storage, file.expanduser().absolute(), clock=utc_now, advance=advance)
        row = {
            "file": str(made.file),
            "bytes": made.size,
            "as_of": f"{plain(made.as_of)} UTC" if not as_json else made.as_of.isoformat(),
            "schema": made.schema,
            "database": storage.database.shown,
        }
    print_row(row, as_json=as_json)
    note(
        f"The key encryption key is not in it, and it is useless without: keep {settings.key_encryption_key} too, in "
        "another place. Whoever has both can sign in your name. The settings are not in it either."
    )
