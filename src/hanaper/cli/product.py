"""`hanaper product`: products."""

from typing import Annotated, Literal

import typer

from hanaper.cli.options import AsJson, DataDir, opened
from hanaper.cli.output import print_row, print_rows
from hanaper.clock import iso_z
from hanaper.keystore import store as keys
from hanaper.products import store
from hanaper.products.create import NewProduct, create
from hanaper.products.models import Product
from hanaper.signing.key_pair import KeyPair

app = typer.Typer(help="Products.", no_args_is_help=True)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="For people.")],
    slug: Annotated[str, typer.Option(help="For addresses; made from the name by default.")] = "",
    description: Annotated[str, typer.Option(help="Free text.")] = "",
    require_non_expired: Annotated[
        bool, typer.Option("--require-non-expired", help="Expired license keys fail verification.")
    ] = False,
    rsa_bits: Annotated[
        Literal["2048", "3072", "4096"] | None,
        typer.Option(help="Length of its signing key.", show_default="HANAPER_RSA_BITS"),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Add a product, with a key pair of its own."""
    with opened(data_dir) as services:
        pair = KeyPair.generate(int(rsa_bits) if rsa_bits else services.settings.rsa_bits)
        new = NewProduct(name, slug, description, require_non_expired)
        product = services.storage.write(
            lambda session: create(session, new, pair, keystore=services.keystore, now=services.clock())
        )
        print_row({**_row(product), "signing_key": pair.kid}, as_json=as_json)


@app.command("list")
def list_products(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the products."""
    with opened(data_dir) as services:
        rows = services.storage.read(
            lambda session: [
                {**_row(product), "signing_key": keys.active_kid(session, product.id)}
                for product in store.listed(session)
            ]
        )
        print_rows(
            rows, ("id", "slug", "name", "status", "signing_key"), as_json=as_json, empty="There are no products yet."
        )


def _row(product: Product) -> dict[str, object]:
    return {
        "id": product.id,
        "uuid": product.uuid,
        "slug": product.slug,
        "name": product.name,
        "status": product.status,
        "require_non_expired": bool(product.require_non_expired),
        "created_at": iso_z(product.created_at),
    }
