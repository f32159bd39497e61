"""Every endpoint that changes something, under an idempotency key (protocol.md 7.1; reliability.md T15).

A table made by hand and held against the route table: an endpoint without a row fails.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select, update
from tests.conftest import client_of, lasting
from tests.support.api import Answer, Api, Encoding, serving
from tests.support.registry import SetClock, Wanted
from tests.support.world import add_api_key, add_product, execute

from hanaper import api as endpoints
from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.idempotency import rules
from hanaper.idempotency.store import Replay
from hanaper.install import install
from hanaper.licenses.models import Activation, LicenseKey
from hanaper.limiting.models import RateWindow
from hanaper.outbound.models import OutgoingCall
from hanaper.products.models import ProductMeta
from hanaper.protocol import codes
from hanaper.storage.base import Base
from hanaper.storage.session import Session
from hanaper.web import call, idempotent
from hanaper.web import endpoint as web
from hanaper.web.services import Services

PHP = "GetKeyManager-PHP-SDK/2.0.0"
JS = "GetKeyManager-JS-SDK/2.0.0"
POST_URL = "https://shop.example/ended"
CLIENTS: tuple[tuple[str, Encoding], ...] = (("curl/8", "multipart"), (PHP, "json"), (JS, "json"))
READING = {"verify", "get-license-key-details"}
"""They change nothing, and ignore the key: see test_idempotency.py."""


@dataclass
class Shop:
    """A server whose clock is put, and two API keys."""

    services: Services
    api: Api
    clock: SetClock
    keys: tuple[str, str] = field(repr=False)

    def later(self) -> None:
        """What is signed now has another timestamp."""
        self.clock.now += timedelta(seconds=2)

    def license_key(self, status: str = "assigned", *, on: str = "", meta: str = "") -> str:
        """Make a license key, active on an identifier that names a `post_url`, with metadata."""
        columns = {"product_id": 1, "status": status, **({} if status == "assigned" else {"assigned_at": None})}
        wanted = Wanted(columns, {on: "active"} if on else {}, {meta: "old"} if meta else {})

        def add(session: Session) -> str:
            license_key = wanted.add(session)
            session.execute(update(Activation).where(Activation.post_url == "").values(post_url=POST_URL))
            return license_key

        return self.services.storage.write(add)

    def product(self) -> int:
        """Make a product."""
        return add_product(self.services, f"new-{uuid4().hex}")[0]

    def product_meta(self) -> str:
        """Attach something to the demo product; its name."""
        now = self.clock()
        row = ProductMeta(product_id=1, key=uuid4().hex, value="old", created_at=now, updated_at=now)

        def add(session: Session) -> str:
            session.add(row)
            return row.key

        return self.services.storage.write(add)

    def to_be_had(self, *, license_keys: int) -> dict[str, Any]:
        """Make it so many license keys of the demo product that are available, and ask for some."""
        others = update(LicenseKey).where(LicenseKey.status == "available").values(status="reserved")
        execute(self.services.storage, others)
        for _ in range(license_keys):
            self.license_key("available")
        return {"product_id": 1, "owner_email": "a@example.com"}

    def everything(self) -> dict[str, list[Any]]:
        """All rows of all tables, but for what is counted of requests."""

        def rows(session: Session) -> dict[str, list[Any]]:
            return {
                table.name: sorted(map(repr, session.execute(select(*columns_of(table)))))
                for table in Base.metadata.sorted_tables
                if table.name not in {*SEALS, RateWindow.__tablename__}
            }

        return self.services.storage.read(rows)


SEALS = ("audit_links", "audit_checkpoints")
"""What a thread in the background writes."""


def columns_of(table: Any) -> list[Any]:
    """All but those that a thread in the background changes."""
    if table.name == OutgoingCall.__tablename__:
        return [table.c.id, table.c.url, table.c.body]
    return list(table.c)


def effect(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> dict[str, int]:
    """The tables in which anything has changed, with the number of rows that came."""
    return {name: len(rows) - len(before[name]) for name, rows in after.items() if rows != before[name]}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop") / "data"
    settings = lasting(request, folder)
    installed = install(settings, demo=True, now=utc_now())
    clock = SetClock(utc_now() - timedelta(minutes=2))
    services = open_services(settings, clock)
    with serving(create_app(services)) as base_url:
        api = client_of(base_url, installed)
        yield Shop(services, api, clock, (add_api_key(services), add_api_key(services)))
        api.http.close()


@dataclass(frozen=True)
class Row:
    """An endpoint that changes something, and one request to it.

    Attributes:
        code: it is answered by.
        effect: the tables it changes, with the number of rows that come.
        fields: what is asked, after what it needs has been made.
        other: what makes it another request.
        afterwards: the code of the same request from somebody else, for whom it is a new one.
    """

    endpoint: str
    code: int | str
    effect: dict[str, int]
    fields: Callable[[Shop], dict[str, Any]]
    other: dict[str, Any]
    afterwards: int | str
    encoding: Encoding = "form"
    user_agent: str = "curl/8"
    note: str = ""

    def __str__(self) -> str:
        return f"{self.endpoint} {self.note}".strip()


ROWS = [
    Row(
        *("generate", 815, {"batches": 1, "license_keys": 3}),
        lambda _: {"generator_id": 1, "quantity": 3},
        {"quantity": 4},
        afterwards=815,
    ),
    Row(
        *("generate", 815, {"batches": 1, "license_keys": 2}),
        lambda _: {"generator_id": 1, "quantity": 2, "activation_limit": 7, "validity_days": 9},
        {"activation_limit": 8},
        afterwards=815,
        encoding="json",
        user_agent=PHP,
        note="as the PHP client asks",
    ),
    *(
        Row(
            *("activate", 300, {"activations": 1}),
            lambda shop: {"license_key": shop.license_key(), "identifier": "pc", "post_url": POST_URL},
            {"identifier": "other pc"},
            afterwards=301,
            user_agent=user_agent,
            encoding=encoding,
            note=user_agent[:17],
        )
        for user_agent, encoding in CLIENTS
    ),
    *(
        Row(
            *("deactivate", "400", {"activations": 0}),
            lambda shop: {"license_key": shop.license_key(on="pc"), "identifier": "pc"},
            {"identifier": "other pc"},
            afterwards=401,
            user_agent=user_agent,
            note=user_agent[:17],
        )
        for user_agent in ("curl/8", JS)
    ),
    Row(
        *("create-license-keys", 900, {"license_keys": 2}),
        lambda _: {
            "license_keys": json.dumps([f"K-{uuid4()}", f"K-{uuid4()}"]),
            "product_id": 1,
            "activation_limit": 0,
            "validity": 0,
            "status": "available",
        },
        {"status": "reserved"},
        afterwards=900,
    ),
    Row(
        *("create-license-keys", 900, {"license_keys": 2}),
        lambda _: {"licenses": [{"generator_id": 1}, {"generator_id": 1, "owner_email": "a@example.com"}]},
        {"licenses": [{"generator_id": 1}, {"generator_id": 1, "owner_email": "b@example.com"}]},
        afterwards=900,
        encoding="json",
        note="one for each element",
    ),
    Row(
        *("update-license-key", 950, {"license_keys": 0, "license_key_meta": 1}),
        lambda shop: {"license_key": shop.license_key(), "validity": 30, "metadata": {"seats": 5}},
        {"validity": 31},
        afterwards=950,
        encoding="json",
    ),
    Row(
        *("update-license-key", 950, {"license_keys": 0, "activations": 0, "outgoing_calls": 1}),
        lambda shop: {"license_key": shop.license_key(on="pc"), "status": "revoked"},
        {"status": "blocked"},
        afterwards=950,
        note="that ends activations",
    ),
    Row(
        *("delete-license-key", 850, {"license_keys": 0}),
        lambda shop: {"license_key": shop.license_key()},
        {"license_key": "other"},
        afterwards=851,
    ),
    Row(
        *("create-license-key-meta", 453, {"license_key_meta": 1}),
        lambda shop: {"license_key": shop.license_key(), "key": "seats", "value": 5},
        {"value": 6},
        afterwards=452,
    ),
    Row(
        *("update-license-key-meta", 353, {"license_key_meta": 0}),
        lambda shop: {"license_key": shop.license_key(meta="seats"), "key": "seats", "value": "5"},
        {"value": "6"},
        afterwards=353,
    ),
    Row(
        *("delete-license-key-meta", 252, {"license_key_meta": -1}),
        lambda shop: {"license_key": shop.license_key(meta="seats"), "key": "seats"},
        {"key": "other"},
        afterwards=251,
    ),
    Row(
        *("assign-license-key", 800, {"license_keys": 0}),
        lambda shop: {"license_key": shop.license_key("available"), "email": "a@example.com"},
        {"email": "b@example.com"},
        afterwards=801,
    ),
    Row(
        *("assign-and-activate-license-key", 300, {"license_keys": 0, "activations": 1}),
        lambda shop: {
            "license_key": shop.license_key("available"),
            "identifier": "pc",
            "owner_email": "a@example.com",
        },
        {"owner_email": "b@example.com"},
        afterwards=801,
        encoding="json",
        user_agent=PHP,
    ),
    Row(
        *("random-assign-license-keys", 803, {"license_keys": 0}),
        lambda shop: {**shop.to_be_had(license_keys=1), "quantity": 1, "generate": 0},
        {"owner_email": "b@example.com"},
        afterwards=802,
    ),
    Row(
        *("random-assign-license-keys", 803, {"license_keys": 2}),
        lambda shop: {**shop.to_be_had(license_keys=0), "quantity": 2, "generate": 1, "generator_id": 1},
        {"quantity": 3},
        afterwards=803,
        note="newly generated",
    ),
    Row(
        *("create-product", 750, {"products": 1, "signing_keys": 1, "configuration_version": 0}),
        lambda _: {"name": "Made", "slug": f"made-{uuid4().hex}"},
        {"description": "other"},
        afterwards=751,
        encoding="json",
    ),
    Row(
        *("update-product", 650, {"products": 0, "configuration_version": 0}),
        lambda shop: {"product_id": shop.product(), "name": "Newer"},
        {"name": "Newest"},
        afterwards=650,
    ),
    Row(
        *("delete-product", 550, {"products": 0, "configuration_version": 0}),
        lambda shop: {"product_id": shop.product()},
        {"product_id": 1},
        afterwards=551,
    ),
    Row(
        *("create-product-meta", 273, {"product_meta": 1}),
        lambda _: {"product_id": 1, "key": uuid4().hex, "value": "v"},
        {"value": "w"},
        afterwards=272,
    ),
    Row(
        *("update-product-meta", 373, {"product_meta": 0}),
        lambda shop: {"product_id": 1, "key": shop.product_meta(), "value": "red"},
        {"value": "blue"},
        afterwards=373,
    ),
    Row(
        *("delete-product-meta", 482, {"product_meta": -1}),
        lambda shop: {"product_id": 1, "key": shop.product_meta()},
        {"key": "other"},
        afterwards=481,
    ),
]


def test_every_endpoint_that_takes_a_post_is_in_the_table() -> None:
    posts = {
        route.path.removeprefix("/")
        for router in endpoints.ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and "POST" in (route.methods or ())
    }
    assert {row.endpoint for row in ROWS} | READING == posts
    assert not {row.endpoint for row in ROWS} & READING
    assert all(row.effect for row in ROWS)


@dataclass(frozen=True)
class Asker:
    """Sends one request of the table, as it is and in variations."""

    shop: Shop
    row: Row
    fields: dict[str, Any]
    idempotency_key: str

    def __call__(
        self,
        fields: dict[str, Any] | None = None,
        *,
        endpoint: str = "",
        api_key: str = "",
        encoding: Encoding | None = None,
        user_agent: str = "",
        base: str = "/api/v1",
    ) -> httpx.Response:
        sent = {"api_key": api_key or self.shop.keys[0], **(fields or self.fields)}
        path = f"{base}/{endpoint or self.row.endpoint}"
        headers = {"Idempotency-Key": self.idempotency_key, "User-Agent": user_agent or self.row.user_agent}
        post = self.shop.api.http.post
        match encoding or self.row.encoding:
            case "json":
                return post(path, json=sent, headers=headers)
            case "multipart":
                return post(path, files={name: (None, str(value)) for name, value in sent.items()}, headers=headers)
        return post(path, data=sent, headers=headers)

    def answered(self, response: httpx.Response) -> Answer:
        """An answer that has been checked; without the mirror."""
        signed = response.content
        if "data" in response.json():
            signed = signed[: signed.rindex(b',"data":{"code":')] + b"}"
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return self.shop.api.check(httpx.Response(response.status_code, headers=headers, content=signed))


def is_replay(response: httpx.Response, first: httpx.Response) -> None:
    """An answer is an earlier one once more."""
    assert response.content == first.content
    assert response.status_code == 200
    assert response.headers["idempotent-replayed"] == "true"
    for name in ("x-signing-key-id", "content-type", "content-length", "cache-control"):
        assert response.headers[name] == first.headers[name]
    assert response.headers["x-request-id"] != first.headers["x-request-id"]


def is_new(response: httpx.Response) -> None:
    assert "idempotent-replayed" not in response.headers


def go_through(shop: Shop, row: Row) -> None:
    """Everything that holds for a request under an idempotency key."""
    ask = Asker(shop, row, row.fields(shop), uuid4().hex)
    before = shop.everything()
    first = ask()
    is_new(first)
    answer = ask.answered(first)
    assert (answer.code, answer.status) == (row.code, 200)
    done = shop.everything()
    # One row of the audit log: also the proof that no endpoint goes without (T38).
    assert effect(before, done) == {**row.effect, "idempotency_records": 1, "audit_events": 1}

    # Whatever does not make it another request.
    shop.later()
    is_replay(ask(), first)
    is_replay(ask(base="/v1"), first)
    for user_agent in ("curl/8", PHP, JS):
        is_replay(ask(user_agent=user_agent), first)
    if not any(isinstance(value, dict | list) for value in ask.fields.values()):
        encodings: tuple[Encoding, ...] = ("form", "multipart", "json")
        for encoding in encodings:
            is_replay(ask(encoding=encoding), first)
    assert shop.everything() == done

    # Another request under the same key.
    for fields in ({**ask.fields, **row.other}, {**ask.fields, "more": "1"}, {"more": "1"}):
        other = ask(fields)
        is_new(other)
        refusal = ask.answered(other)
        assert (refusal.code, refusal.status, refusal.signed_by) == (901, 409, "global")
        assert refusal.errors == {"idempotency_key": ["The idempotency key has been used for another request."]}
        assert "retry-after" not in other.headers
    assert shop.everything() == done

    # The same key of somebody else, and elsewhere.
    somebody_else = ask(api_key=shop.keys[1])
    is_new(somebody_else)
    assert ask.answered(somebody_else).code == row.afterwards
    assert somebody_else.content != first.content
    elsewhere = "activate" if row.endpoint == "generate" else "generate"
    fields = {"license_key": shop.license_key(), "identifier": "pc"} if elsewhere == "activate" else GENERATE
    independent = ask(fields, endpoint=elsewhere, encoding="form", user_agent="curl/8")
    is_new(independent)
    assert ask.answered(independent).code == (300 if elsewhere == "activate" else 815)

    # All of them stand side by side.
    shop.later()
    is_replay(ask(), first)
    is_replay(ask(fields, endpoint=elsewhere, encoding="form"), independent)


GENERATE = {"generator_id": 1, "quantity": 1}


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_request_is_carried_out_once_and_answered_alike(shop: Shop, row: Row) -> None:
    go_through(shop, row)


@pytest.mark.parametrize("row", [row for row in ROWS if row.endpoint in ("activate", "deactivate")], ids=str)
def test_the_mirror_belongs_to_the_bytes(shop: Shop, row: Row) -> None:
    """A request is repeated by the client that sent it: what that one read the first time it finds again."""
    ask = Asker(shop, row, row.fields(shop), uuid4().hex)
    first = ask()
    mirrored = row.user_agent in (PHP, JS)
    assert ("data" in first.json()) is mirrored
    for user_agent in ("curl/8", PHP, JS, ""):
        assert ask(user_agent=user_agent).content == first.content


# --- the same with a planted fault ---


@dataclass(frozen=True)
class Mutant:
    """A fault, and the statement that finds it."""

    plant: Callable[[pytest.MonkeyPatch, Shop], None]
    found_by: str
    endpoint: str = "activate"


def one_fingerprint(patch: pytest.MonkeyPatch, _: Shop) -> None:
    patch.setattr(rules, "fingerprint_of", lambda _: bytes(32))


def scope_without_api_key(patch: pytest.MonkeyPatch, _: Shop) -> None:
    scope_of = rules.scope_of
    patch.setattr(rules, "scope_of", lambda _, endpoint, key: scope_of(0, endpoint, key))


def scope_without_endpoint(patch: pytest.MonkeyPatch, _: Shop) -> None:
    scope_of = rules.scope_of
    patch.setattr(rules, "scope_of", lambda api_key_id, _, key: scope_of(api_key_id, "", key))


def signed_anew(patch: pytest.MonkeyPatch, shop: Shop) -> None:
    replay_of = idempotent.replay_of

    async def anew(*arguments: Any) -> Replay | None:
        replay = await replay_of(*arguments)
        if replay is None:
            return None
        content = {"licenseKeys": json.loads(replay.body)["response"]["licenseKeys"]}
        answer = shop.services.signing.answer(codes.GENERATED_LICENSE_KEYS, content, product_key_id=DEMO_KEY_ID)
        return replace(replay, body=answer.body)

    patch.setattr(web, "replay_of", anew)


def never_looked_up(patch: pytest.MonkeyPatch, _: Shop) -> None:
    async def none(*_: Any) -> None:
        return None

    patch.setattr(web, "replay_of", none)


def never_claimed(patch: pytest.MonkeyPatch, _: Shop) -> None:
    patch.setattr(call, "claim", lambda *_: None)


def never_completed(patch: pytest.MonkeyPatch, _: Shop) -> None:
    patch.setattr(call, "complete", lambda *_: None)


DEMO_KEY_ID = 2
MUTANTS = {
    "one fingerprint": Mutant(one_fingerprint, 'assert "idempotent-replayed" not in response.headers'),
    "scope without the API key": Mutant(scope_without_api_key, 'assert "idempotent-replayed" not in response.headers'),
    "scope without the endpoint": Mutant(scope_without_endpoint, "assert ask.answered(independent).code =="),
    "signed anew": Mutant(signed_anew, "assert response.content == first.content", "generate"),
    "never looked up": Mutant(never_looked_up, "assert response.content == first.content"),
    "never claimed": Mutant(never_claimed, "assert effect(before, done) =="),
    "never completed": Mutant(never_completed, "assert response.content == first.content"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_found(shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    mutant = MUTANTS[name]
    mutant.plant(monkeypatch, shop)
    with pytest.raises(AssertionError) as caught:
        go_through(shop, next(row for row in ROWS if row.endpoint == mutant.endpoint))
    assert mutant.found_by in str(caught.traceback[-1].statement)
