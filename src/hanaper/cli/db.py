"""`hanaper db`: the database schema."""

import typer

from hanaper.cli.change import upgrade as migrate
from hanaper.cli.options import AsJson, DataDir, load_settings
from hanaper.cli.output import print_row
from hanaper.storage import schema
from hanaper.storage.transactions import Storage

app = typer.Typer(help="The database schema.", no_args_is_help=True)


@app.command("upgrade")
def upgrade(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Bring the schema to the state this version needs. Make a backup first."""
    with Storage.open(load_settings(data_dir)) as storage:
        before = schema.current(storage)
        migrate(storage, "db upgrade")
        print_row({"before": before, "now": schema.current(storage)}, as_json=as_json)


@app.command("check")
def check(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Tell whether the schema is the one this version needs; exit status 78 when it is not."""
    with Storage.open(load_settings(data_dir)) as storage:
        found, needed = schema.current(storage), schema.head()
        print_row({"found": found, "needed": needed, "current": found == needed}, as_json=as_json)
        schema.require_current(storage)
