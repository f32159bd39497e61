"""`hanaper block-list`: who is refused with 150."""

from typing import Annotated

import typer

from hanaper.access import manage, store
from hanaper.access.models import BlockedEntry
from hanaper.audit.record import about
from hanaper.cli.change import change
from hanaper.cli.options import LARGEST_ID, AsJson, DataDir, Expires, in_utc, opened
from hanaper.cli.output import print_row, print_rows
from hanaper.clock import iso_z
from hanaper.refusal import Invalid
from hanaper.storage.session import Session

app = typer.Typer(help="The block list: who is refused with 150.", no_args_is_help=True)


@app.command("add")
def add(
    address: Annotated[str | None, typer.Option(help="An address or a network.")] = None,
    identifier: Annotated[str | None, typer.Option(help="A domain or device.")] = None,
    reason: Annotated[str, typer.Option(help="For people.")] = "",
    expires: Expires = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Block an address, a network or an identifier."""
    if (address is None) == (identifier is None):
        raise Invalid("name either --address or --identifier")
    with opened(data_dir) as services:

        def block(session: Session) -> BlockedEntry:
            row = manage.block(
                session,
                "address" if address is not None else "identifier",
                address or identifier or "",
                reason=reason,
                expires_at=in_utc(expires),
                now=services.clock(),
            )
            about(session, entry=row.id)
            return row

        print_row(_row(change(services, "block-list add", block)), as_json=as_json)


@app.command("list")
def list_entries(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List what is blocked."""
    with opened(data_dir) as services:
        rows = services.storage.read(lambda session: [_row(row) for row in store.block_list(session)])
        print_rows(rows, ("id", "kind", "value", "reason", "expires_at"), as_json=as_json, empty="Nothing is blocked.")


@app.command("remove")
def remove(
    entry_id: Annotated[int, typer.Argument(max=LARGEST_ID, help="Its id, see `hanaper block-list list`.")],
    data_dir: DataDir = None,
) -> None:
    """Take an entry off the list."""
    with opened(data_dir) as services:

        def unblock(session: Session) -> None:
            if not store.unblock(session, entry_id):
                raise Invalid(f"there is no entry {entry_id} on the block list")
            about(session, entry=entry_id)

        change(services, "block-list remove", unblock)


def _row(row: BlockedEntry) -> dict[str, object]:
    return {
        "id": row.id,
        "kind": row.kind,
        "value": row.value,
        "reason": row.reason,
        "expires_at": None if row.expires_at is None else iso_z(row.expires_at),
        "created_at": iso_z(row.created_at),
    }
