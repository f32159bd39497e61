"""`hanaper key`: the register of license keys."""

from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from hanaper.cli import license_change, license_look
from hanaper.cli.change import change
from hanaper.cli.license_named import read_license_key
from hanaper.cli.license_rows import FIELDS, full_rows, stored_row
from hanaper.cli.options import AsJson, DataDir, opened, reference
from hanaper.cli.output import note, print_row, print_rows
from hanaper.cli.progress import progress
from hanaper.cli.records import Format, RecordWriter, open_output
from hanaper.licenses import store
from hanaper.licenses.create import create
from hanaper.licenses.key_formats import UuidFormat
from hanaper.products import store as products
from hanaper.refusal import Invalid
from hanaper.storage import quarantine
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session

app = typer.Typer(help="The register of license keys.", no_args_is_help=True)

OfProduct: TypeAlias = Annotated[str | None, typer.Option("--product", help="Only of this product.")]
OfStatus: TypeAlias = Annotated[
    Literal["available", "assigned", "reserved", "blocked"] | None,
    typer.Option("--status", help="Only in this status."),
]

COLUMNS = (
    "id",
    "license_key",
    "product_id",
    "status",
    "state",
    "activations",
    "activation_limit",
    "validity",
    "owner_email",
    "expires_at",
    "created_at",
)


@app.command("list")
def list_keys(
    product: OfProduct = None,
    status: OfStatus = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most; `key export` has no limit.")] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List license keys, oldest first."""
    with opened(data_dir) as services:

        def look(session: Session) -> list[dict[str, object]]:
            pages = store.pages(
                session,
                scope=EVERYTHING,
                product_id=_product_id(session, product),
                status=status,
                page_size=min(limit, 1000),
            )
            shown = list(islice((key for page in pages for key in page), limit))
            return full_rows(session, shown, now=services.clock())

        print_rows(
            services.storage.read(look),
            COLUMNS,
            as_json=as_json,
            empty="There are no license keys yet.",
        )


@app.command("new")
def new(
    product: Annotated[str, typer.Option(help="Id, UUID or slug of the product.")],
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read the license key from standard input; else a random UUID is drawn.")
    ] = False,
    activation_limit: Annotated[int, typer.Option(help="0 is unlimited.")] = 0,
    validity: Annotated[int, typer.Option(help="Days; 0 is for ever.")] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Enter one license key by hand, without a generator."""
    license_key = read_license_key() if stdin else UuidFormat().draw(1)[0]
    with opened(data_dir) as services:

        def write(session: Session) -> None:
            quarantine.require_none(session)
            create(
                session,
                license_key,
                reference(product),
                scope=EVERYTHING,
                activation_limit=activation_limit,
                validity=validity,
                now=services.clock(),
            )

        change(services, "key new", write)
        print_row({"license_key": license_key, "status": "available"}, as_json=as_json)


@app.command("export")
def export(
    form: Annotated[Format, typer.Option("--format", help="csv or jsonl, one JSON object a line.")] = "csv",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file.", show_default="standard output")
    ] = None,
    product: OfProduct = None,
    status: OfStatus = None,
    data_dir: DataDir = None,
) -> None:
    """Write all license keys out, oldest first."""
    with opened(data_dir) as services, open_output(output) as stream:

        def write(session: Session) -> int:
            product_id = _product_id(session, product)
            writer = RecordWriter(stream, form, list(FIELDS))
            written = 0
            total = store.count(session, scope=EVERYTHING, product_id=product_id, status=status)
            with progress("Exporting", total, shown=output is not None) as advance:
                for page in store.pages(session, scope=EVERYTHING, product_id=product_id, status=status):
                    for key in page:
                        writer.write(stored_row(key))
                    written += len(page)
                    advance(len(page))
            return written

        written = services.storage.read(write)
    note(f"{written:,} license keys written")


app.command("show")(license_look.show)
app.command("assign")(license_change.assign)
app.command("suspend")(license_change.suspend)
app.command("reinstate")(license_change.reinstate)
app.command("renew")(license_change.renew)
app.command("revoke")(license_change.revoke)
app.command("delete")(license_change.delete)
app.command("activations")(license_look.activations)
app.command("deactivate")(license_change.deactivate)


def _product_id(session: Session, product: str | None) -> int | None:
    if product is None:
        return None
    found = products.find(session, reference(product), scope=EVERYTHING)
    if found is None:
        raise Invalid(f"there is no product {product!r}: see `hanaper product list`")
    return found.id
