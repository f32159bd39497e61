"""`hanaper public-key`: the PEM files that clients verify with."""

from pathlib import Path
from typing import Annotated

import typer

from hanaper.cli.options import DataDir, opened, reference
from hanaper.cli.output import note
from hanaper.keystore import store as keys
from hanaper.products import store as products
from hanaper.refusal import Invalid
from hanaper.storage.scope import EVERYTHING


def public_key(
    product: Annotated[
        str | None, typer.Option(help="Id, UUID or slug of a product.", show_default="the global key")
    ] = None,
    kid: Annotated[
        str | None,
        typer.Option(help="Identifier of a key, see `hanaper signing-key list`.", show_default="the one that signs"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to a file.", show_default="print")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Print the public key of a product, or the global one, as PEM."""
    if kid is not None and product is not None:
        raise Invalid("--kid names one key: leave --product out")
    with opened(data_dir) as services:
        product_id = None
        if product is not None:
            found = services.storage.read(lambda session: products.find(session, reference(product), scope=EVERYTHING))
            if found is None:
                raise Invalid(f"there is no product {product!r}: see `hanaper product list`")
            product_id = found.id
        pem = services.storage.read(
            lambda session: (
                keys.public_pem(session, product_id, scope=EVERYTHING) if kid is None else keys.pem_of(session, kid)
            )
        )
    if pem is None and kid is not None:
        raise Invalid(f"there is no signing key {kid!r}: see `hanaper signing-key list`")
    if pem is None:
        raise Invalid(f"product {product!r} has no key of its own: its answers are signed with the global key")
    if output is None:
        print(pem, end="")
        return
    try:
        output.write_text(pem, encoding="ascii")
    except OSError as error:
        raise Invalid(f"{output} cannot be written: {error.strerror}") from error
    note(f"written to {output}")
