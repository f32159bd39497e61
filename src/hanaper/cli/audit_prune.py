"""`hanaper audit prune`: rows of long ago leave the audit log, into an archive if one is wanted."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from hanaper.audit import archive as archives
from hanaper.audit import prune as pruning
from hanaper.audit import store
from hanaper.audit import verify as verification
from hanaper.audit.prune import Plan
from hanaper.backup.new_file import new_file
from hanaper.cli.change import change
from hanaper.cli.confirm import Yes, confirm
from hanaper.cli.options import AsJson, DataDir, in_utc, opened
from hanaper.cli.output import note, print_row
from hanaper.cli.progress import progress
from hanaper.refusal import Fault, Invalid
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage


def prune(
    before: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only rows from before it, in UTC.")
    ],
    archive: Annotated[
        Path | None, typer.Option(help="A new file for them, for `hanaper audit verify --archive`.")
    ] = None,
    yes: Yes = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Delete rows from before a day, as far as a checkpoint. What is left can be verified from there on."""
    with opened(data_dir) as services:
        storage, moment = services.storage, in_utc(before)
        if moment is None or moment > services.clock():
            raise Invalid("--before is a moment that has been")
        with progress("Verifying", storage.read(store.count)) as advance:
            verdict = verification.verify(storage, services.keystore, advance=advance)
        if verdict.first is not None:
            raise Fault(
                "the audit log is not as it was sealed, and pruning would hide it: see `hanaper audit verify`. "
                "Nothing was deleted"
            )
        pruning.clear(storage)  # What a pruning has left that was interrupted.
        wanted = storage.read(lambda session: pruning.plan(session, moment))
        if wanted is not None:
            if not yes:
                confirm(_question(wanted, archive))
            if archive is not None:
                _archive(storage, wanted, archive.expanduser().absolute())

            def cut(session: Session) -> None:
                pruning.cut_off(session, wanted, pepper=services.pepper, now=services.clock())

            change(services, "audit prune", cut)
            pruning.clear(storage)
    print_row(_row(wanted, archive), as_json=as_json)
    if wanted is None:
        note("Nothing to prune: the oldest part of the log that ends with a checkpoint has a row that is not that old.")


def _question(wanted: Plan, archive: Path | None) -> str:
    where = "They are kept nowhere else." if archive is None else f"They will be in {archive}."
    return f"Delete {wanted.rows:,} rows, up to row {wanted.up_to.event_id}, for ever? {where}"


def _archive(storage: Storage, wanted: Plan, file: Path) -> None:
    """The file is read again before it gets its name, and before anything is deleted."""
    with new_file(file) as unfinished:
        with progress("Archiving", wanted.rows) as advance:
            storage.read(lambda session: archives.write(session, unfinished, wanted, advance=advance))
        if archives.verify(unfinished, [wanted.behind, wanted.up_to]).first is not None:
            raise Fault("what was written to the archive is not what was sealed: nothing was deleted")


def _row(wanted: Plan | None, archive: Path | None) -> dict[str, object]:
    return {
        "rows": 0 if wanted is None else wanted.rows,
        "up_to": None if wanted is None else wanted.up_to.event_id,
        "checkpoint": None if wanted is None else wanted.up_to.token,
        "archive": None if wanted is None or archive is None else str(archive.expanduser().absolute()),
    }
