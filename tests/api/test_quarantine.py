"""In quarantine whatever would change something is refused, and nothing else is (decision 0017)."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from time import monotonic
from typing import Any

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import delete, func, select
from tests.conftest import SAMPLE_KEY, Installation
from tests.support.api import Answer, Api
from tests.support.world import add_api_key

from hanaper import api as endpoints
from hanaper import tables
from hanaper.clock import utc_now
from hanaper.outbound import store as calls
from hanaper.outbound.deliver import Deliverer
from hanaper.storage import configuration, quarantine
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web import endpoint
from hanaper.web.services import Services

READS = {
    "GET": {
        "get-all-generators",
        "get-all-products",
        "get-available-license-keys-count",
        "get-license-keys",
        "get-product",
        "get-product-public-key",
    },
    "POST": {"verify", "get-license-key-details"},
}


@pytest.fixture(autouse=True)
def _trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each request came less than a second after the one before, however slow this machine is."""
    monkeypatch.setattr(configuration, "LONGEST_TRUST_S", 1e9)


@dataclass(frozen=True)
class Elsewhere:
    """Another process, as far as the database and this one can tell."""

    storage: Storage

    def enter(self) -> None:
        self.storage.write(lambda session: quarantine.enter(session, "a test", now=utc_now()))

    def leave(self) -> None:
        assert self.storage.write(quarantine.leave)

    def rows(self) -> dict[str, int]:
        """How many rows each table has that a request may write to."""
        apart = {"quarantine", "configuration_version", "rate_windows"}
        counted = [table for table in tables.metadata.sorted_tables if table.name not in apart]

        def count(session: Session) -> dict[str, int]:
            return {
                table.name: session.execute(select(func.count()).select_from(table)).scalar_one() for table in counted
            }

        return self.storage.read(count)


@pytest.fixture
def elsewhere(installation: Installation) -> Iterator[Elsewhere]:
    with Storage.open(installation.settings) as storage:
        yield Elsewhere(storage)


@pytest.fixture
def vendor(api: Api, services: Services, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Asks with an API key that may do everything."""
    monkeypatch.setitem(services.settings.__dict__, "max_quantity", 2000)
    key = add_api_key(services)

    def ask(endpoint: str, **fields: Any) -> Answer:
        return api.post(f"/api/v1/{endpoint}", {"api_key": key, **fields}, encoding="json")

    return ask


CHANGES: dict[str, dict[str, Any]] = {
    "generate": {"generator_id": 1, "quantity": 2},
    "generate, a large order": {"generator_id": 1, "quantity": 1001},
    "create-license-keys": {
        "product_id": 1,
        "license_keys": ["Some-Key"],
        "status": "available",
        "activation_limit": 0,
        "validity": 0,
    },
    "random-assign-license-keys": {"product_id": 1, "owner_email": "a@b.c", "quantity": 2, "generate": 1},
    "create-product": {"name": "Another"},
}
"""One of each way a request stores something: bulk write, pieces, `Call.write`, minting, `Call.configure`."""


def change(vendor: Callable[..., Answer], name: str) -> Answer:
    return vendor(name.partition(",")[0], **CHANGES[name])


def test_every_endpoint_that_changes_something_is_refused_and_no_other(
    api: Api, services: Services, elsewhere: Elsewhere
) -> None:
    key = add_api_key(services)
    elsewhere.enter()
    before = elsewhere.rows()
    routes = [route for router in endpoints.ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    refused: set[tuple[str, str]] = set()
    answered: set[tuple[str, str]] = set()
    for route in routes:
        (method,) = route.methods or set[str]()
        path = f"/api/v1{route.path}"
        answer = api.get(path, {"api_key": key}) if method == "GET" else api.post(path, {"api_key": key})
        (refused if answer.code == 1705 else answered).add((method, route.name))
        if answer.code == 1705:
            assert (answer.status, answer.signed_by) == (503, "global")
            assert answer.http.headers["retry-after"] == "60"
    assert answered == {(method, name) for method, names in READS.items() for name in names}
    assert len(refused) == len(routes) - len(answered)
    assert len(refused) >= 15
    assert elsewhere.rows() == before


def test_who_may_not_ask_is_told_so_and_not_of_the_quarantine(api: Api, elsewhere: Elsewhere) -> None:
    elsewhere.enter()
    assert api.post("/api/v1/generate", {"api_key": "nobody", "generator_id": 1, "quantity": 1}).code == 100


def test_it_holds_for_the_next_request_and_so_does_its_end(vendor: Callable[..., Answer], elsewhere: Elsewhere) -> None:
    for name in CHANGES:
        for _ in range(2):
            elsewhere.enter()
            before = elsewhere.rows()
            assert [change(vendor, name).code, change(vendor, name).code] == [1705, 1705], name
            assert elsewhere.rows() == before
            elsewhere.leave()
        assert change(vendor, name).status == 200, name


def test_it_holds_for_requests_that_are_under_way(
    vendor: Callable[..., Answer], elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = endpoint.validate  # type: ignore[attr-defined]  # where a request has been let in, and stores nothing yet
    moments: list[Callable[[], None]] = []

    def something_happens(*arguments: Any, **more: Any) -> Any:
        for moment in moments:
            moment()
        moments.clear()
        return validate(*arguments, **more)

    monkeypatch.setattr(endpoint, "validate", something_happens)
    for name in CHANGES:
        before = elsewhere.rows()
        moments.append(elsewhere.enter)
        assert change(vendor, name).code == 1705, name
        assert not moments
        assert elsewhere.rows() == before
        elsewhere.leave()


def test_none_slips_through_under_load(vendor: Callable[..., Answer], elsewhere: Elsewhere) -> None:
    """Whatever is asked while it stands is refused, and whatever is asked after it is not."""
    over = Event()
    seen: list[tuple[float, float, int | str]] = []

    def run(name: str) -> None:
        while not over.is_set():
            asked = monotonic()
            code = change(vendor, name).code
            seen.append((asked, monotonic(), code))

    def codes(since: float, until: float) -> set[int | str]:
        return {code for asked, told, code in seen if since <= asked and told <= until}

    def let_some_pass() -> tuple[float, float]:
        began = monotonic()
        while sum(asked >= began for asked, _, _ in seen) < 10:
            assert not over.wait(0.01)
        return began, monotonic()

    refused, served = [], []
    with ThreadPoolExecutor(4) as threads:
        for name in ("generate", "random-assign-license-keys") * 2:
            threads.submit(run, name)
        try:
            for _ in range(3):
                served.append(let_some_pass())
                elsewhere.enter()
                refused.append(let_some_pass())
                elsewhere.leave()
        finally:
            over.set()
    assert [codes(*moments) for moments in refused] == [{1705}] * 3
    assert all(1705 not in codes(*moments) for moments in served)


def test_nobody_is_served_by_what_has_been_restored_and_not_put_in_quarantine_yet(
    vendor: Callable[..., Answer], elsewhere: Elsewhere, database_kind: str
) -> None:
    """A server that was running when its database was taken away and another one restored in its place."""
    if database_kind == "sqlite":
        pytest.skip("what is restored there is in quarantine from the beginning")
    assert change(vendor, "generate").code == 815
    before = elsewhere.rows()
    elsewhere.storage.write(lambda session: session.execute(delete(configuration.ConfigurationVersion)))
    for name in CHANGES:
        assert change(vendor, name).code == 1705, name
    assert vendor("verify", license_key="x", identifier="x").code == 1705
    assert elsewhere.rows() == before
    elsewhere.enter()
    assert change(vendor, "generate").code == 1705
    assert vendor("verify", license_key="x", identifier="x").code == 210


def test_what_was_answered_before_is_answered_again(api: Api, elsewhere: Elsewhere) -> None:
    fields = {"api_key": SAMPLE_KEY, **CHANGES["generate"]}
    first = api.post("/api/v1/generate", fields, headers={"Idempotency-Key": "one"})
    assert first.code == 815
    elsewhere.enter()
    assert api.post("/api/v1/generate", fields, headers={"Idempotency-Key": "one"}).payload == first.payload
    assert api.post("/api/v1/generate", fields, headers={"Idempotency-Key": "two"}).code == 1705
    elsewhere.leave()
    # The refusal was not recorded.
    assert api.post("/api/v1/generate", fields, headers={"Idempotency-Key": "two"}).code == 815


def test_no_outgoing_call_is_made_in_quarantine(services: Services, elsewhere: Elsewhere) -> None:
    deliverer = Deliverer(services.storage, utc_now, private_networks=True, longest_s=1)
    services.storage.write(lambda session: calls.queue(session, "http://127.0.0.1:9/", {}, now=utc_now()))
    elsewhere.enter()
    assert deliverer.deliver_due().again == 0
    elsewhere.leave()
    assert deliverer.deliver_due().again == 1
