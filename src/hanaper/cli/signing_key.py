"""`hanaper signing-key`: the RSA keys that answers are signed with, and their exchange."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from hanaper.audit.record import about
from hanaper.cli.change import change
from hanaper.cli.confirm import Yes, confirm
from hanaper.cli.options import AsJson, DataDir, opened, reference
from hanaper.cli.output import note, print_row, print_rows
from hanaper.clock import iso_z
from hanaper.idempotency import store as idempotency
from hanaper.keystore import kek_file, rotate, store
from hanaper.keystore import rewrap as rewrapping
from hanaper.keystore.keys import NewKey
from hanaper.keystore.models import SigningKey
from hanaper.products import store as products
from hanaper.refusal import Invalid, Misconfigured, TokenAway
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.web.services import Services

app = typer.Typer(no_args_is_help=True, help="The keys that answers are signed with, and their exchange.")

Kid: TypeAlias = Annotated[str, typer.Argument(help="The identifier of the key, see `hanaper signing-key list`.")]
Owner: TypeAlias = Annotated[
    str | None, typer.Option("--product", help="Id, UUID or slug of a product.", show_default="the global key")
]
Place: TypeAlias = Annotated[
    Literal["token", "database"] | None,
    typer.Option(
        "--in", help="Where its private half lies.", show_default="the token, if HANAPER_PKCS11_MODULE is set"
    ),
]


@app.command("list")
def list_keys(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all signing keys there are and have been."""
    with opened(data_dir) as services:
        rows = services.storage.read(lambda session: [_row(key) for key in store.all_keys(session)])
    print_rows(
        rows,
        ("kid", "owner", "version", "bits", "state", "created_at", "retired_at", "place"),
        as_json=as_json,
        empty="There are no signing keys: run `hanaper init`.",
    )


@app.command("announce")
def announce(product: Owner = None, place: Place = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Make the next key and publish its public half. It signs nothing until it is activated."""
    with opened(data_dir) as services:
        product_id = _product_id(services, product)
        keystore, now = services.keystore, services.clock()
        with _new_key(services, place) as pair:
            _change(
                services,
                "announce",
                lambda session: rotate.announce(session, pair, product_id=product_id, keystore=keystore, now=now),
                as_json=as_json,
            )
    note(
        f"Give the public half to your clients (`hanaper public-key --kid {pair.kid}`, /.well-known/jwks.json), "
        f"then: hanaper signing-key activate {pair.kid}"
    )


@app.command("activate")
def activate(kid: Kid, data_dir: DataDir = None, as_json: AsJson = False, yes: Yes = False) -> None:
    """Sign with an announced key from now on, on every replica. The one before is kept to verify by."""
    if not yes:
        confirm(f"Sign with {kid} from now on? Clients that do not know its public half will trust no new answer.")
    with opened(data_dir) as services:
        _change(
            services,
            "activate",
            lambda session: rotate.activate(session, kid, keystore=services.keystore, now=services.clock()),
            as_json=as_json,
        )


@app.command("rotate")
def rotate_key(
    product: Owner = None,
    place: Place = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Announce and activate at once: for a key that is known to others, and for clients that fetch the public keys."""
    if not yes:
        confirm("Sign with a new key from now on? Clients that do not fetch the public keys will trust no new answer.")
    with opened(data_dir) as services:
        product_id = _product_id(services, product)
        keystore, now = services.keystore, services.clock()
        with _new_key(services, place) as pair:

            def exchange(session: Session) -> SigningKey:
                rotate.announce(session, pair, product_id=product_id, keystore=keystore, now=now)
                return rotate.activate(session, pair.kid, keystore=keystore, now=now)

            _change(services, "rotate", exchange, as_json=as_json)


@app.command("retire")
def retire(
    kid: Kid,
    early: Annotated[
        bool, typer.Option("--early", help="Also within 30 days after it has signed last, or while answers are kept.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Destroy a key that signs no more, or was never activated: its private half is deleted, and it is not published.

    The public half stays in the database, for `hanaper check-store`. Of a key that is destroyed already, what its token
    still has is deleted.
    """
    if not yes:
        confirm(f"Delete the private half of {kid}?")
    with opened(data_dir) as services:

        def work(session: Session) -> SigningKey:
            key = rotate.destroy(session, kid, early=early, now=services.clock())
            if not early and idempotency.is_needed(session, key.id):
                raise Invalid(
                    f"answers that signing key {kid} has signed are still kept under idempotency keys, and clients "
                    "that get one again look for it in /.well-known/jwks.json: wait, or destroy it with --early"
                )
            return key

        kept = services.storage.read(lambda session: _left_in_token(session, kid))
        if kept is None:
            _change(services, "retire", work, as_json=as_json)
        else:
            print_row(kept, as_json=as_json)
        _delete_in_token(services, kid)


@app.command("rewrap")
def rewrap(data_dir: DataDir = None) -> None:
    """Encrypt what HANAPER_OTHER_KEY_ENCRYPTION_KEY_FILE has encrypted with the key encryption key."""
    with opened(data_dir) as services:
        if services.settings.other_key_encryption_key_file is None:
            raise Invalid("name the key encryption key it is encrypted with by HANAPER_OTHER_KEY_ENCRYPTION_KEY_FILE")
        encryption = services.keystore.encryption
        number = change(services, "signing-key rewrap", lambda session: rewrapping.rewrap(session, encryption))
    print(f"{number} secrets are encrypted with another key encryption key now")


@app.command("new-kek")
def new_kek(file: Annotated[Path, typer.Argument(help="The file to be made, mode 0600.")]) -> None:
    """Make a file with a new key encryption key. Nothing is encrypted with it yet."""
    kek_file.create(file.expanduser().absolute())
    note(f"written to {file}")


def _new_key(services: Services, place: str | None) -> AbstractContextManager[NewKey]:
    if place == "token" and services.keystore.token is None:
        raise Invalid("there is no token: name its library by HANAPER_PKCS11_MODULE")
    return services.keystore.new_key(services.settings.rsa_bits, in_database=place == "database")


def _change(services: Services, name: str, work: Callable[[Session], SigningKey], *, as_json: bool) -> None:
    def told(session: Session) -> dict[str, object]:
        key = work(session)
        about(session, product=key.product_id, signing_key=key.kid)
        return _row(key)

    print_row(change(services, f"signing-key {name}", told), as_json=as_json)


def _left_in_token(session: Session, kid: str) -> dict[str, object] | None:
    key = store.by_kid(session, kid)
    return _row(key) if key is not None and key.state == store.DESTROYED and key.token is not None else None


def _delete_in_token(services: Services, kid: str) -> None:
    """After the commit: a key that is deleted first could not sign any more if nothing came of the commit."""
    row = services.storage.read(lambda session: store.by_kid(session, kid))
    if row is None or row.token is None:
        return
    try:
        services.keystore.destroy(row)
    except (Misconfigured, TokenAway) as fault:
        raise type(fault)(
            f"signing key {kid} is destroyed for hanaper, and what token {row.token!r} has of it could not be deleted: "
            f"{fault}; run the command again when the token is there"
        ) from fault


def _product_id(services: Services, product: str | None) -> int | None:
    if product is None:
        return None
    found = services.storage.read(lambda session: products.find(session, reference(product), scope=EVERYTHING))
    if found is None:
        raise Invalid(f"there is no product {product!r}: see `hanaper product list`")
    return found.id


def _row(key: SigningKey) -> dict[str, object]:
    return {
        "kid": key.kid,
        "owner": "global" if key.product_id is None else key.product_id,
        "version": key.version,
        "bits": key.bits,
        "state": rotate.shown(key.state),
        "created_at": iso_z(key.created_at),
        "retired_at": None if key.retired_at is None else iso_z(key.retired_at),
        "place": "database" if key.token is None else f"token {key.token}",
        "key_encryption_key": key.kek_id,
    }
