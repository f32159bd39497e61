"""`hanaper init`: a new installation."""

from dataclasses import asdict
from typing import Annotated

import typer

from hanaper.cli.options import AsJson, DataDir, load_settings
from hanaper.cli.output import note, print_row
from hanaper.clock import utc_now
from hanaper.install import install


def init(
    demo: Annotated[
        bool, typer.Option("--demo", help="Add a demo product, generator 1 and the published sample API key.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make the data folder, the database schema and the keys. What is there already stays as it is."""
    installed = install(load_settings(data_dir), demo=demo, now=utc_now())
    row = {name: value if isinstance(value, int) else _text(value) for name, value in asdict(installed).items()}
    print_row(row, as_json=as_json)
    if not as_json:
        note("")
        note("Keep the key encryption key apart from backups of the database: each is useless without the other.")
        if installed.product_id is None:
            note("Next: hanaper product add, hanaper generator add, hanaper api-key add, hanaper serve")
        else:
            note("Next: hanaper serve")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
