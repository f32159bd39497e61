"""A request on PostgreSQL is answered in time, and what takes long for other reasons is not cut short."""

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs
from tests.conftest import SAMPLE_KEY, Installation, client_of
from tests.support.api import Api, serving
from tests.support.world import add_weak_generator, counts

from hanaper.app import create_app, open_services
from hanaper.issuing import custom, large_order
from hanaper.issuing.formats import Recipe
from hanaper.storage import patience, transactions
from hanaper.web.services import Services

GENERATE = "/api/v1/generate"
LONGEST_S = 0.5

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"])


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "LONGEST_REQUEST_S", LONGEST_S)
    monkeypatch.setattr(patience, "LOOK_EVERY_S", 0.05)


@pytest.fixture
def services(installation: Installation) -> Services:
    return open_services(installation.settings.model_copy(update={"max_quantity": 2000}))


@pytest.fixture
def api(installation: Installation, services: Services) -> Iterator[Api]:
    with serving(create_app(services)) as url:
        client = client_of(url, installation.installed)
        with client.http:
            yield client


def test_a_thread_that_waits_is_left_and_its_request_answered(api: Api, services: Services) -> None:
    made = api.post(GENERATE, {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}).payload["licenseKeys"][0]
    assign = {"api_key": SAMPLE_KEY, "license_key": made, "email": "ann@example.com"}
    with services.storage.engine.connect() as other, capture_logs() as logged:
        other.execute(text("SELECT 1 FROM license_keys FOR UPDATE"))
        answer = api.post("/api/v1/assign-license-key", assign)
        assert (answer.status, answer.code) == (503, 1705)
        assert answer.http.headers["retry-after"] == "5"
        refused = [(line["outcome"], line["reason"]) for line in logged if line["event"] == "unavailable"]
        assert refused == [("unknown", "the request was not done within 0.5 s")]
    # The thread has gone on: that is why nobody was told that it failed.
    state = text("SELECT status FROM license_keys")
    end = time.monotonic() + 60
    while services.storage.read(lambda session: session.scalars(state).one()) != "assigned":
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_custom_function_takes_as_long_as_it_takes(
    api: Api, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(quantity: int) -> list[str]:
        time.sleep(3 * LONGEST_S)
        return [f"slow-{number}" for number in range(quantity)]

    monkeypatch.setattr(custom, "load", lambda _: slow)
    generator = add_weak_generator(services, 1, Recipe("custom", function_name="slow"))
    answer = api.post(GENERATE, {"api_key": SAMPLE_KEY, "generator_id": generator, "quantity": 2})
    assert answer.payload["licenseKeys"] == ["slow-0", "slow-1"]


def test_a_large_order_takes_as_long_as_it_takes(api: Api, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_order, "KEYS_PER_PIECE", 2)
    began = time.monotonic()
    answer = api.post(GENERATE, {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1500})
    assert time.monotonic() - began > LONGEST_S
    assert (answer.status, len(answer.payload["licenseKeys"])) == (200, 1500)
    assert counts(services.storage).license_keys == 1500
