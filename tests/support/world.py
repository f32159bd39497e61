"""A running server in which there is something of everything that a caller can be refused for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import uuid4

from sqlalchemy import Executable, func, select
from tests.support.api import Api

from hanaper.access import key_format, manage
from hanaper.access import store as access
from hanaper.clock import utc_now
from hanaper.issuing import generators
from hanaper.issuing import store as issuing
from hanaper.issuing.formats import Recipe
from hanaper.issuing.models import Batch, Generator
from hanaper.licenses.models import LicenseKey
from hanaper.products import store as products
from hanaper.products.create import NewProduct
from hanaper.products.create import create as create_product
from hanaper.products.models import Product
from hanaper.signing.key_pair import KeyPair
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

UNKNOWN_UUID = "00000000-0000-4000-8000-000000000000"
BLOCKED_IDENTIFIER = "blocked.example"
ONCE_BLOCKED_IDENTIFIER = "once-blocked.example"


@dataclass(frozen=True)
class Counts:
    """How much has been stored."""

    license_keys: int
    batches: int


def counts(storage: Storage) -> Counts:
    def count(session: Session) -> Counts:
        license_keys = session.scalars(select(func.count()).select_from(LicenseKey)).one()
        batches = session.scalars(select(func.count()).select_from(Batch)).one()
        return Counts(license_keys, batches)

    return storage.read(count)


@contextmanager
def nothing_stored(storage: Storage) -> Iterator[None]:
    """Asserts that neither a license key nor a batch has been stored meanwhile."""
    before = counts(storage)
    yield
    assert counts(storage) == before


def execute(storage: Storage, statement: Executable) -> None:
    """Run one statement and commit it."""
    storage.write(lambda session: session.execute(statement))


def add_api_key(services: Services, terms: manage.Terms | None = None, *, days_ago: int = 0) -> str:
    now = utc_now() - timedelta(days=days_ago)
    wanted = terms or manage.Terms("Test")
    return services.storage.write(
        lambda session: manage.create(session, "live", wanted, pepper=services.pepper, now=now)[1]
    )


def add_product(services: Services, slug: str, change: Callable[[Product], None] | None = None) -> tuple[int, str]:
    """Make a product, and change its row; returns its id and its public key."""
    pair = KeyPair.generate(2048)

    def add(session: Session) -> int:
        new = NewProduct(slug.title(), slug)
        product = create_product(session, new, pair, scope=EVERYTHING, keystore=services.keystore, now=utc_now())
        if change is not None:
            change(product)
        return product.id

    return services.storage.write(add), pair.public_pem


def add_generator(services: Services, product_id: int, recipe: Recipe, *, active: bool = True) -> int:
    """Make a generator by the operator's rules."""
    new = generators.NewGenerator(product_id, recipe, active=active, activation_limit=3, validity=365)
    return services.storage.write(
        lambda session: generators.create(session, new, scope=EVERYTHING, now=utc_now())[0].id
    )


def add_weak_generator(services: Services, product_id: int, recipe: Recipe) -> int:
    """Make a generator that the operator's rules would refuse."""
    row = Generator(
        uuid=str(uuid4()),
        product_id=product_id,
        name="weak",
        method=recipe.method,
        prefix=recipe.prefix,
        suffix=recipe.suffix,
        function_name=recipe.function_name,
        number_of_chunks=recipe.number_of_chunks,
        chunk_length=recipe.chunk_length,
        charset=recipe.charset,
        activation_limit=0,
        validity=0,
        status=1,
        created_at=utc_now(),
        updated_at=utc_now(),
    )

    def add(session: Session) -> int:
        issuing.add(session, row, scope=EVERYTHING)
        return row.id

    return services.storage.write(add)


@dataclass(frozen=True)
class World:
    """The server and what is in it.

    Attributes:
        api: a client that knows the demo product's key; the server trusts it as a proxy.
        other_api: a client that knows the key of the product "other".
        keys: API keys by what is special about them.
        generators: ids by what is special about them.
        products: ids by slug.
    """

    api: Api
    other_api: Api
    services: Services
    keys: dict[str, str] = field(repr=False)
    generators: dict[str, int]
    products: dict[str, int]

    @property
    def storage(self) -> Storage:
        return self.services.storage

    def close(self) -> None:
        self.api.http.close()
        self.other_api.http.close()

    def uuid_of(self, generator: str) -> str:
        found = self.storage.read(lambda session: issuing.find(session, self.generators[generator], scope=EVERYTHING))
        assert found is not None
        return found[0].uuid

    def product(self, slug: str) -> Product:
        found = self.storage.read(lambda session: products.find(session, slug, scope=EVERYTHING))
        assert found is not None
        return found


def populate(services: Services, api: Api) -> World:
    """Fill an installation with demo data up to a world. Close it afterwards."""
    storage = services.storage
    demo = storage.read(lambda session: products.find(session, "demo", scope=EVERYTHING))
    assert demo is not None

    def close(product: Product) -> None:
        product.status = "inactive"

    def delete(product: Product) -> None:
        product.deleted_at = utc_now()

    other_id, other_pem = add_product(services, "other")
    product_ids = {
        "demo": demo.id,
        "other": other_id,
        "closed": add_product(services, "closed", close)[0],
        "deleted": add_product(services, "deleted", delete)[0],
    }
    uuid_recipe = Recipe("uuid")
    generator_ids = {
        "demo": 1,
        "other": add_generator(services, other_id, uuid_recipe),
        "inactive": add_generator(services, demo.id, uuid_recipe, active=False),
        "closed": add_generator(services, product_ids["closed"], uuid_recipe),
        "chunks": add_generator(services, demo.id, Recipe("chunk-system", prefix="PRO-", suffix="-X")),
        "exotic": add_generator(services, demo.id, Recipe("uuid", prefix="é/日本\\\"'<&😀-", suffix="/ß")),
        "tiny": add_weak_generator(services, demo.id, Recipe("chunk-system", "T", "", "", 1, 3, "01")),
        "missing function": add_weak_generator(services, demo.id, Recipe("custom", function_name="not-there")),
    }

    # A deleted product is not found any more, so its generator goes in past the rules.
    generator_ids["deleted"] = add_weak_generator(services, product_ids["deleted"], uuid_recipe)
    _block(services, "address", "203.0.113.66", "203.0.113.128/25", "2001:db8:bad::/48")
    _block(services, "identifier", BLOCKED_IDENTIFIER)
    yesterday = utc_now() - timedelta(days=1)
    _block(services, "identifier", ONCE_BLOCKED_IDENTIFIER, until=yesterday)
    _block(services, "address", "203.0.113.67", until=yesterday)
    return World(
        api,
        api.for_product(other_pem),
        services,
        _keys(services, product_ids),
        generator_ids,
        product_ids,
    )


def _block(
    services: Services, kind: Literal["address", "identifier"], *values: str, until: datetime | None = None
) -> None:
    def add(session: Session) -> None:
        for value in values:
            manage.block(session, kind, value, reason="", expires_at=until, now=utc_now())

    services.storage.write(add)


def _keys(services: Services, product_ids: dict[str, int]) -> dict[str, str]:
    office = ["192.0.2.10", "198.51.100.0/24", "2001:db8:1::/48", "2001:db8:2::7"]
    yesterday = utc_now() - timedelta(days=1)
    keys = {
        "good": add_api_key(services),
        "revoked": add_api_key(services),
        "revoked elsewhere": add_api_key(services, manage.Terms("Elsewhere", allowed_networks=["192.0.2.1"])),
        "expired": add_api_key(services, manage.Terms("Expired", expires_at=yesterday), days_ago=2),
        "only listing": add_api_key(services, manage.Terms("Listing", ["get-all-generators"])),
        "only generating": add_api_key(services, manage.Terms("Generating", ["generate"])),
        "office": add_api_key(services, manage.Terms("Office", allowed_networks=office)),
        "office listing": add_api_key(services, manage.Terms("Office", ["get-all-generators"], office)),
        "other product": add_api_key(services, manage.Terms("Other", product_ids=[product_ids["other"]])),
        "demo product": add_api_key(services, manage.Terms("Demo", product_ids=[product_ids["demo"]])),
    }
    revoke(services, keys["revoked"], keys["revoked elsewhere"])
    return keys


def revoke(services: Services, *api_keys: str) -> None:
    def revoke(session: Session) -> None:
        for api_key in api_keys:
            row = access.find_api_key(session, key_format.digest(services.pepper, api_key))
            assert row is not None
            manage.revoke(session, row.id, now=utc_now())

    services.storage.write(revoke)
