"""`hanaper api-key`: who may call."""

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hanaper.access import abilities, manage, store
from hanaper.access.models import ApiKey
from hanaper.audit.record import about
from hanaper.cli.change import change
from hanaper.cli.options import LARGEST_ID, AsJson, DataDir, Expires, in_utc, opened, reference
from hanaper.cli.output import note, print_row, print_rows
from hanaper.clock import iso_z
from hanaper.products import store as products
from hanaper.refusal import Invalid
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session

app = typer.Typer(help="API keys: who may call.", no_args_is_help=True)

Abilities: TypeAlias = Annotated[
    list[str], typer.Option("--ability", help=f"Repeat for several: {', '.join(abilities.ENDPOINTS)}, or * for all.")
]
Allowed: TypeAlias = Annotated[
    list[str] | None, typer.Option("--allow", help="Address or network it may be used from; repeat for several.")
]
Products: TypeAlias = Annotated[
    list[str] | None, typer.Option("--product", help="Limit it to a product; repeat for several.")
]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="For people.")],
    test: Annotated[bool, typer.Option("--test", help="Make a key that begins with hnp_test_.")] = False,
    ability: Abilities = [abilities.EVERYTHING],  # noqa: B006 -- typer copies it
    allow: Allowed = None,
    product: Products = None,
    expires: Expires = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key. It is shown this once; the database only has its digest."""
    with opened(data_dir) as services:

        def make(session: Session) -> tuple[ApiKey, str]:
            terms = manage.Terms(name, ability, allow or (), _product_ids(session, product), in_utc(expires))
            row, api_key = manage.create(
                session, "test" if test else "live", terms, pepper=services.pepper, now=services.clock()
            )
            return _told(session, row), api_key

        row, api_key = change(services, "api-key add", make)
        print_row({**_row(row), "api_key": api_key}, as_json=as_json)
    if not as_json:
        note("Store the API key now: it is not shown again.")


@app.command("import")
def import_key(
    name: Annotated[str, typer.Argument(help="For people.")],
    file: Annotated[
        Path | None, typer.Option(help="File with the key; - for standard input.", show_default="ask for it")
    ] = None,
    ability: Abilities = [abilities.EVERYTHING],  # noqa: B006 -- typer copies it
    allow: Allowed = None,
    product: Products = None,
    expires: Expires = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take over an API key of another system, such as the reference system's UUID keys."""
    secret = _read_secret(file)
    with opened(data_dir) as services:

        def take(session: Session) -> ApiKey:
            terms = manage.Terms(name, ability, allow or (), _product_ids(session, product), in_utc(expires))
            row = manage.import_key(session, secret, terms, pepper=services.pepper, now=services.clock())
            return _told(session, row)

        print_row(_row(change(services, "api-key import", take)), as_json=as_json)
    if not as_json:
        note("Imported keys are only as random as the system that made them: plan to replace it by a new one.")


@app.command("list")
def list_keys(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the API keys, as far as they are known."""
    with opened(data_dir) as services:
        rows = services.storage.read(lambda session: [_row(row) for row in store.api_keys(session)])
        print_rows(
            rows,
            ("id", "name", "kind", "hint", "status", "abilities", "allowed", "product_ids", "expires_at"),
            as_json=as_json,
            empty="There are no API keys yet.",
        )


@app.command("revoke")
def revoke(
    api_key_id: Annotated[int, typer.Argument(max=LARGEST_ID, help="Its id, see `hanaper api-key list`.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End an API key, at once and on every replica."""
    with opened(data_dir) as services:
        row = change(
            services,
            "api-key revoke",
            lambda session: _told(session, manage.revoke(session, api_key_id, now=services.clock())),
        )
        print_row(_row(row), as_json=as_json)


def _read_secret(file: Path | None) -> str:
    try:
        if file is None:
            return getpass("API key: ").strip() if sys.stdin.isatty() else sys.stdin.read().strip()
        return (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the API key cannot be read from {file}: {type(error).__name__}") from error


def _told(session: Session, row: ApiKey) -> ApiKey:
    about(session, api_key=row.id)
    return row


def _product_ids(session: Session, wanted: list[str] | None) -> list[int] | None:
    if not wanted:
        return None
    found = []
    for text in wanted:
        product = products.find(session, reference(text), scope=EVERYTHING)
        if product is None:
            raise Invalid(f"there is no product {text!r}: see `hanaper product list`")
        found.append(product.id)
    return found


def _row(row: ApiKey) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "hint": row.hint,
        "status": row.status,
        "abilities": row.abilities,
        "allowed": row.allowed_networks,
        "product_ids": row.product_ids,
        "expires_at": None if row.expires_at is None else iso_z(row.expires_at),
        "created_at": iso_z(row.created_at),
    }
