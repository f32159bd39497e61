"""`hanaper product`: products."""

from typing import Annotated, Literal, TypeAlias

import typer

from hanaper.cli.confirm import Yes, confirm
from hanaper.cli.options import AsJson, DataDir, opened, reference
from hanaper.cli.output import print_row, print_rows
from hanaper.clock import iso_z
from hanaper.keystore import store as keys
from hanaper.licenses import store as licenses
from hanaper.products import change, store
from hanaper.products.create import NewProduct, create
from hanaper.products.models import Product
from hanaper.refusal import Invalid
from hanaper.signing.key_pair import KeyPair
from hanaper.storage.session import Session

app = typer.Typer(help="Products.", no_args_is_help=True)

Named: TypeAlias = Annotated[str, typer.Argument(metavar="PRODUCT", help="Its id, UUID or slug.")]


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


@app.command("set")
def set_product(
    product: Named,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    description: Annotated[str | None, typer.Option(help="Free text.")] = None,
    status: Annotated[
        Literal["active", "inactive"] | None,
        typer.Option(help="License keys of an inactive product are refused with 203."),
    ] = None,
    require_non_expired: Annotated[
        bool | None,
        typer.Option(
            "--require-non-expired/--no-require-non-expired", help="Whether expired license keys fail verification."
        ),
    ] = None,
    post_url: Annotated[
        str | None,
        typer.Option(help='Told of activations that end from our side and name no address of their own; "" for none.'),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Change a product. What is not named stays as it is."""
    changes = change.Changes(name, description, status, require_non_expired, post_url)
    with opened(data_dir) as services:

        def write(session: Session) -> dict[str, object]:
            row = change.change(session, reference(product), changes, now=services.clock())
            return {
                **_row(row),
                "description": row.description,
                "post_url": row.post_url,
                "signing_key": keys.active_kid(session, row.id),
            }

        print_row(services.storage.write(write), as_json=as_json)


@app.command("delete")
def delete(product: Named, yes: Yes = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Delete a product. Its license keys and generators are gone with it."""
    with opened(data_dir) as services:
        if not yes:
            confirm(services.storage.read(lambda session: _question(session, product)))
        row = services.storage.write(lambda session: change.delete(session, reference(product), now=services.clock()))
        print_row({**_row(row), "deleted_at": iso_z(row.updated_at)}, as_json=as_json)


def _question(session: Session, product: str) -> str:
    found = store.find(session, reference(product))
    if found is None:
        raise Invalid(f"there is no product {reference(product)!r}: see `hanaper product list`")
    license_keys = licenses.count(session, product_id=found.id)
    return f"Delete product {found.id}, {found.name}, with its {license_keys:,} license keys, for ever?"


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
