"""License keys in any state, made past the rules, and a desk where they are shown."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import FromClause, Row, select
from tests.support.api import Answer, Api, Encoding, serving
from tests.support.world import World, add_product

from hanaper.app import create_app, open_services
from hanaper.clock import Clock, utc_now
from hanaper.keystore import store as keys
from hanaper.licenses.models import Activation, LicenseKey, LicenseKeyMeta, StagedBatch
from hanaper.products.models import Product
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

DEMO, STRICT, CLOSED = "demo", "strict", "closed"

# What protocol.md 3 says of each code: message, private_key_used, HTTP status.
WORDS: dict[int | str, tuple[str, str, int]] = {
    100: ("Invalid API Key", "global", 401),
    101: ("Inactive API Key", "global", 401),
    102: ("The used API key doesn't have the required capability to access this endpoint", "global", 401),
    103: ("API key can't be used from this IP address", "global", 401),
    150: ("Access denied", "global", 403),
    200: ("Valid license key", "product", 200),
    201: ("This license key is not assigned", "product", 200),
    202: ("No activation found for this license key/identifier combination", "product", 200),
    203: ("The product associated with this license key is not active or doesn't exist", "product", 200),
    204: ("License key blocked", "product", 200),
    205: ("License key expired", "product", 200),
    210: ("Invalid license key", "global", 200),
    215: ("Identifier is required", "product", 200),
    250: ("Meta key is required", "product", 200),
    251: ("Meta key doesn't exist", "product", 200),
    252: ("Metadata deleted", "product", 200),
    300: ("License key activated", "product", 200),
    301: ("License key already active", "product", 200),
    302: ("License key reached activation limit", "product", 200),
    350: ("Meta key is required", "product", 200),
    351: ("Meta value is required", "product", 200),
    352: ("Meta key doesn't exist", "product", 200),
    353: ("Metadata updated", "product", 200),
    "400": ("License key deactivated", "global", 200),
    401: ("License key already inactive", "product", 200),
    450: ("Meta key is required", "product", 200),
    451: ("Meta value is required", "product", 200),
    452: ("Meta key already exists", "product", 200),
    453: ("Metadata created", "product", 200),
    500: ("Active license key found", "product", 200),
}

META = ("create-license-key-meta", "update-license-key-meta", "delete-license-key-meta")
ENDPOINTS = ("verify", "activate", "deactivate", "get-license-key-details", *META)


def code_of(answer: Answer, *more: str) -> int | str:
    """The code, after everything that the table says of it has been checked.

    Args:
        more: keys of the payload between `message` and `timestamp`.
    """
    message, signed_by, status = WORDS[answer.code]
    assert isinstance(answer.code, str) == (answer.code == "400")
    assert answer.payload["message"] == message
    assert (answer.signed_by, answer.status) == (signed_by, status)
    assert list(answer.payload) == ["code", "message", *more, "timestamp"]
    return answer.code


@dataclass(frozen=True)
class Desk:
    """Asks a server with an API key, and expects the signatures of one product."""

    api: Api
    api_key: str = field(repr=False)

    def ask(
        self,
        endpoint: str,
        fields: Mapping[str, Any],
        *,
        encoding: Encoding = "json",
        base: str = "/api/v1",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """POST to an endpoint. As JSON also what is no UTF-8."""
        sent = {"api_key": self.api_key, **fields}
        if encoding != "json":
            return self.api.post(f"{base}/{endpoint}", sent, encoding=encoding, headers=headers)
        return self.raw(endpoint, json.dumps(sent), base=base, headers=headers)

    def raw(self, endpoint: str, body: str, *, base: str = "/api/v1", headers: dict[str, str] | None = None) -> Answer:
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self.api.check(self.api.http.post(f"{base}/{endpoint}", content=body, headers=sent))

    def with_key(self, api_key: str) -> "Desk":
        return replace(self, api_key=api_key)

    def at(self, base_url: str, product_pem: str) -> "Desk":
        return replace(self, api=Api(base_url, global_pem=self.api.global_pem, product_pem=product_pem))


@dataclass(frozen=True)
class Wanted:
    """A license key to be made.

    Attributes:
        columns: what differs from the ordinary.
        places: identifiers with the status of the activation.
        meta: what is attached to it.
    """

    columns: Mapping[str, Any]
    places: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)

    def add(self, session: Session) -> str:
        now = utc_now()
        times = {"created_at": now, "updated_at": now}
        ordinary: dict[str, Any] = {
            "license_key": f"KEY-{uuid4()}",
            "source": "generator",
            "status": "assigned",
            "assigned_at": now - timedelta(days=1),
            "activation_limit": 0,
            "validity": 0,
        }
        row = LicenseKey(**{**ordinary, **times, **self.columns})
        session.add(row)
        session.flush()
        text, row_id = row.license_key, row.id
        for identifier, status in self.places.items():
            moment = now - timedelta(hours=1)
            place = {"identifier": identifier, "status": status, "activated_at": moment}
            session.add(Activation(license_key_id=row_id, **place, **times))
        for key, value in self.meta.items():
            session.add(LicenseKeyMeta(license_key_id=row_id, key=key, value=value, **times))
        session.flush()
        return text


@dataclass(frozen=True)
class Stock:
    """A server, products whose signatures are known, and license keys of them.

    Attributes:
        desks: by product: `demo` is in order, `strict` refuses what has expired, `closed` does so and is inactive.
        products: their ids.
    """

    services: Services
    desks: dict[str, Desk]
    products: dict[str, int]
    pems: dict[str, str]

    @property
    def storage(self) -> Storage:
        return self.services.storage

    def license_key(
        self,
        product: str | int = DEMO,
        *,
        active: Sequence[str] = (),
        ended: Sequence[str] = (),
        meta: Mapping[str, str] | None = None,
        **columns: Any,
    ) -> str:
        """Make a license key: assigned, unlimited and for ever, unless the columns say otherwise.

        Args:
            active: identifiers it is active on.
            ended: identifiers it was active on.
            meta: what is attached to it.
        """
        product_id = product if isinstance(product, int) else self.products[product]
        places = {**dict.fromkeys(active, "active"), **dict.fromkeys(ended, "inactive")}
        wanted = Wanted({"product_id": product_id, **columns}, places, meta or {})
        return self.license_keys([wanted])[0]

    def license_keys(self, wanted: Sequence["Wanted"]) -> list[str]:
        """Make license keys at once."""
        return self.storage.write(lambda session: [one.add(session) for one in wanted])

    def change(self, license_key: str, **columns: Any) -> None:
        """Change columns of a license key."""

        def work(session: Session) -> None:
            row = session.scalars(select(LicenseKey).where(LicenseKey.license_key == license_key)).one()
            for name, value in columns.items():
                setattr(row, name, value)

        self.storage.write(work)

    def change_product(self, product: str | int, **columns: Any) -> None:
        """Change columns of a product."""
        product_id = product if isinstance(product, int) else self.products[product]

        def work(session: Session) -> None:
            row = session.get(Product, product_id)
            assert row is not None
            for name, value in columns.items():
                setattr(row, name, value)

        self.storage.write(work)

    def stage(self, batch_id: int, *, staged: bool) -> None:
        """Say that a batch is still being stored, or is not any more."""

        def work(session: Session) -> None:
            if staged:
                session.add(StagedBatch(batch_id=batch_id, abandoned=0, touched_at=utc_now()))
            else:
                session.delete(session.get_one(StagedBatch, batch_id))

        self.storage.write(work)

    def activations(self, license_key: str) -> dict[str, Row[Any]]:
        """All columns of the activations of a license key, by identifier."""
        return {row.identifier: row for row in self._rows(Activation.__table__, [license_key])}

    def metadata(self, license_key: str) -> dict[str, Row[Any]]:
        """All columns of what is attached to a license key, by name."""
        return {row.key: row for row in self._rows(LicenseKeyMeta.__table__, [license_key])}

    def everything_of(self, *license_keys: str) -> tuple[Any, ...]:
        """All that is stored of license keys, to be compared."""
        query = select(LicenseKey.__table__).where(LicenseKey.license_key.in_(license_keys)).order_by(LicenseKey.id)
        rows = self.storage.read(lambda session: list(session.execute(query).all()))
        assert len(rows) == len(license_keys)
        return rows, *(self._rows(model.__table__, license_keys) for model in (Activation, LicenseKeyMeta))

    def _rows(self, table: FromClause, license_keys: Sequence[str]) -> list[Row[Any]]:
        owner = LicenseKey.id == table.c.license_key_id
        query = select(table).join(LicenseKey, owner).where(LicenseKey.license_key.in_(license_keys))
        return self.storage.read(lambda session: list(session.execute(query.order_by(table.c.id)).all()))

    def close(self) -> None:
        for desk in self.desks.values():
            desk.api.http.close()


@contextmanager
def stocked(world: World) -> Iterator[Stock]:
    """Two more products in a world."""

    def strict(product: Product) -> None:
        product.require_non_expired = 1

    def closed(product: Product) -> None:
        product.require_non_expired = 1
        product.status = "inactive"

    mark = uuid4().hex[:8]
    strict_id, strict_pem = add_product(world.services, f"strict-{mark}", strict)
    closed_id, closed_pem = add_product(world.services, f"closed-{mark}", closed)
    good = world.keys["good"]
    demo_pem = world.storage.read(lambda session: _public_pem(session, world.products["demo"]))
    pems = {DEMO: demo_pem, STRICT: strict_pem, CLOSED: closed_pem}
    stock = Stock(
        world.services,
        {name: Desk(world.api.for_product(pem), good) for name, pem in pems.items()},
        {DEMO: world.products["demo"], STRICT: strict_id, CLOSED: closed_id},
        pems,
    )
    try:
        yield stock
    finally:
        stock.close()


@contextmanager
def another_server(stock: Stock, time: Clock = utc_now, **settings: Any) -> Iterator[Stock]:
    """One more process on the same database, with other settings."""
    services = open_services(stock.services.settings.model_copy(update=settings), time)
    with serving(create_app(services)) as base_url:
        desks = {name: desk.at(base_url, stock.pems[name]) for name, desk in stock.desks.items()}
        other = replace(stock, services=services, desks=desks)
        try:
            yield other
        finally:
            other.close()


@dataclass
class SetClock:
    """A clock that stands where it is put."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


def _public_pem(session: Session, product_id: int) -> str:
    pem = keys.public_pem(session, product_id, scope=EVERYTHING)
    assert pem is not None
    return pem
