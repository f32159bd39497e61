"""`hanaper product`: products."""

from typing import Annotated, Literal, TypeAlias

import typer

from hanaper.cli import change as changing
from hanaper.cli.confirm import Yes, confirm
from hanaper.cli.options import AsJson, DataDir, opened, reference
from hanaper.cli.output import print_row, print_rows
from hanaper.clock import iso_z
from hanaper.keystore import store as keys
from hanaper.licenses import store as licenses
from hanaper.products import rules, store
from hanaper.products.change import Changes, change
from hanaper.products.change import delete as delete_product
from hanaper.products.create import NewProduct, create
from hanaper.products.models import Product
from hanaper.refusal import Invalid
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.web.fields import LONGEST_URL, is_url, storable

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
        new = NewProduct(name, slug, description, require_non_expired)
        with services.keystore.new_key(int(rsa_bits) if rsa_bits else services.settings.rsa_bits) as pair:
            product = changing.change(
                services,
                "product add",
                lambda session: create(
                    session, new, pair, scope=EVERYTHING, keystore=services.keystore, now=services.clock()
                ),
            )
        print_row({**_row(product), "signing_key": pair.kid}, as_json=as_json)


@app.command("list")
def list_products(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the products."""
    with opened(data_dir) as services:
        rows = services.storage.read(
            lambda session: [
                {**_row(product), "signing_key": keys.active_kid(session, product.id)}
                for product in store.listed(session, scope=EVERYTHING)
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
    changes = Changes(
        name=name,
        description=description,
        status=status,
        require_non_expired=None if require_non_expired is None else int(require_non_expired),
        post_url=post_url,
    )
    _check(changes)
    with opened(data_dir) as services:

        def write(session: Session) -> dict[str, object]:
            row = _locked(session, product)
            change(row, changes, now=services.clock())
            return {
                **_row(row),
                "description": row.description,
                "post_url": row.post_url,
                "signing_key": keys.active_kid(session, row.id),
            }

        print_row(changing.change(services, "product set", write), as_json=as_json)


@app.command("delete")
def delete(product: Named, yes: Yes = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Delete a product. Its license keys and generators are gone with it."""
    with opened(data_dir) as services:
        if not yes:
            confirm(services.storage.read(lambda session: _question(session, product)))

        def write(session: Session) -> Product:
            row = _locked(session, product)
            delete_product(row, now=services.clock())
            return row

        row = changing.change(services, "product delete", write)
        print_row({**_row(row), "deleted_at": iso_z(row.updated_at)}, as_json=as_json)


def _check(changes: Changes) -> None:
    fault = None
    if changes == Changes():
        fault = "nothing was named that is to be changed"
    elif changes.name is not None and rules.name_fault(changes.name) is not None:
        fault = rules.name_fault(changes.name)
    elif changes.description is not None and not storable(changes.description):
        fault = "a description holds no NUL characters, and nothing that is not UTF-8"
    elif changes.post_url and not is_url(changes.post_url):
        fault = f"a post_url begins with http:// or https:// and has at most {LONGEST_URL:,} printable characters"
    if fault is not None:
        raise Invalid(fault)


def _locked(session: Session, product: str) -> Product:
    return _there(store.locked(session, reference(product), scope=EVERYTHING), product)


def _there(found: Product | None, product: str) -> Product:
    if found is None:
        raise Invalid(f"there is no product {reference(product)!r}: see `hanaper product list`")
    return found


def _question(session: Session, product: str) -> str:
    found = _there(store.find(session, reference(product), scope=EVERYTHING), product)
    license_keys = licenses.count(session, scope=EVERYTHING, product_id=found.id)
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
