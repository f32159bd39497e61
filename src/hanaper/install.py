"""A new installation: folder, schema, keys, and demo data where they are wanted."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hanaper.access import key_format, manage
from hanaper.access import store as access
from hanaper.audit.record import record
from hanaper.issuing import generators
from hanaper.issuing import store as issuing
from hanaper.issuing.formats import Recipe
from hanaper.keystore import kek_file, pepper
from hanaper.keystore import store as keys
from hanaper.keystore.keys import Keystore
from hanaper.products import store as products
from hanaper.products.create import NewProduct, create
from hanaper.refusal import Misconfigured
from hanaper.settings import Settings
from hanaper.storage import schema
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

DEMO_SLUG = "demo"


@dataclass(frozen=True, slots=True)
class Installed:
    """What is there afterwards; the demo parts are None where there are no demo data."""

    data_dir: Path
    database_url: str
    product_id: int | None
    generator_id: int | None
    api_key: str | None
    product_public_key: Path | None
    global_public_key: Path


def install(settings: Settings, *, demo: bool, now: datetime) -> Installed:
    """Make what is missing, and leave what is there. It may be run again at any time.

    Raises:
        Misconfigured: the folder cannot be made, the schema is not current, or a key is wrong or missing.
        Unavailable: the database or the token does not answer.
    """
    _make_folder(settings.data_dir)
    with Storage.open(settings) as storage:
        if schema.current(storage) is None:
            from hanaper.storage import migrate  # noqa: PLC0415 -- commands that do not migrate do without Alembic

            migrate.upgrade(storage)
        schema.require_current(storage)
        keystore = _open_or_make_keystore(settings, storage)
        _make_keys(settings, storage, keystore, now)
        if demo:
            _add_demo(settings, storage, keystore, now)
        return _describe(settings, storage)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"the data folder {folder} cannot be made ({error.strerror}): "
            "name another by --data-dir or HANAPER_DATA_DIR"
        ) from error


def _open_or_make_keystore(settings: Settings, storage: Storage) -> Keystore:
    # A new key for a database that has keys already would only hide that the right one is missing.
    new = storage.read(keys.count) == 0
    if new and settings.key_encryption_key_file is None and not settings.key_encryption_key.exists():
        kek_file.create(settings.key_encryption_key)
    return Keystore.from_settings(settings)


def _make_keys(settings: Settings, storage: Storage, keystore: Keystore, now: datetime) -> None:
    if storage.read(lambda session: keys.active_id(session, None, scope=EVERYTHING)) is not None:
        keystore.keyring(storage)  # proves that the key encryption key is the right one
        return
    with keystore.new_key(settings.rsa_bits) as pair:

        def add(session: Session) -> None:
            keystore.add(session, pair, product_id=None, now=now)
            pepper.make(session, keystore.encryption, now=now)
            record(session, "init", now=now)

        storage.write(add)


def _add_demo(settings: Settings, storage: Storage, keystore: Keystore, now: datetime) -> None:
    if storage.read(lambda session: products.find(session, DEMO_SLUG, scope=EVERYTHING)) is not None:
        return
    with keystore.new_key(settings.rsa_bits) as pair:

        def add(session: Session) -> None:
            product = create(
                session, NewProduct("Demo product", DEMO_SLUG), pair, scope=EVERYTHING, keystore=keystore, now=now
            )
            generators.create(
                session,
                generators.NewGenerator(product.id, Recipe("uuid"), "Demo generator"),
                scope=EVERYTHING,
                now=now,
            )
            # Everybody knows this key, so it reaches the demo product and nothing else.
            terms = manage.Terms("Published sample key", product_ids=[product.id])
            manage.add_sample(session, terms, pepper=pepper.read(session, keystore.encryption), now=now)
            record(session, "init --demo", now=now)

        storage.write(add)


def _describe(settings: Settings, storage: Storage) -> Installed:
    def look(session: Session) -> tuple[str, int | None, str | None, int | None, bool]:
        global_pem = keys.public_pem(session, None, scope=EVERYTHING)
        assert global_pem is not None, "made above"  # noqa: S101 -- narrows the type
        product = products.find(session, DEMO_SLUG, scope=EVERYTHING)
        if product is None:
            return global_pem, None, None, None, False
        made = issuing.listed(session, scope=EVERYTHING, product=product.id)
        sample = any(row.kind == "demo" and row.status == "active" for row in access.api_keys(session))
        return (
            global_pem,
            product.id,
            keys.public_pem(session, product.id, scope=EVERYTHING),
            made[0].id if made else None,
            sample,
        )

    global_pem, product_id, product_pem, generator_id, sample = storage.read(look)
    folder = settings.data_dir / "public-keys"
    return Installed(
        data_dir=settings.data_dir,
        database_url=storage.database.shown,
        product_id=product_id,
        generator_id=generator_id,
        api_key=key_format.PUBLISHED_SAMPLE if sample else None,
        product_public_key=None if product_pem is None else _publish(folder / f"product-{product_id}.pem", product_pem),
        global_public_key=_publish(folder / "global.pem", global_pem),
    )


def _publish(file: Path, pem: str) -> Path:
    try:
        file.parent.mkdir(mode=0o755, exist_ok=True)
        file.write_text(pem, encoding="ascii")
    except OSError as error:
        raise Misconfigured(f"the public key {file} cannot be written ({error.strerror})") from error
    return file
