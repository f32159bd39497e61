"""What is counted when something is not to be had, of an application in this process."""

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.orm import Session
from tests.api.test_database_away import FIELDS, GENERATE, away
from tests.conftest import IN_THIS_PROCESS, SAMPLE_KEY, Installation, client_of
from tests.support.api import Api, serving
from tests.support.metrics import Figures, figures_of

from hanaper.app import create_app, open_services
from hanaper.metrics.prometheus import PrometheusMeter
from hanaper.refusal import Unavailable
from hanaper.settings import Settings
from hanaper.signing.signer import Signer
from hanaper.storage import failures
from hanaper.storage.transactions import Storage
from hanaper.storage.writer import Writer
from hanaper.web.services import Services


class Measured:
    """An application that is measured."""

    def __init__(self, installation: Installation) -> None:
        self.registry = CollectorRegistry()
        self.services: Services = open_services(installation.settings, meter=PrometheusMeter(self.registry))

    def figures(self) -> Figures:
        return figures_of(self.registry)


@pytest.fixture
def measured(installation: Installation) -> Iterator[Measured]:
    made = Measured(installation)
    yield made
    made.services.storage.close()


@pytest.fixture
def measured_api(measured: Measured, installation: Installation) -> Iterator[Api]:
    with serving(create_app(measured.services)) as base_url:
        api = client_of(base_url, installation.installed)
        with api.http:
            yield api


def test_a_database_that_is_away_is_counted_and_its_connections_are_given_back(
    measured: Measured, measured_api: Api, installation: Installation, request: pytest.FixtureRequest
) -> None:
    assert measured_api.post(GENERATE, FIELDS).code == 815
    with away(measured.services, installation, request):
        for _ in range(3):
            assert measured_api.post(GENERATE, FIELDS).code == 1705
        assert measured_api.http.get("/readyz").status_code == 503
    figures = measured.figures()
    assert figures.of("hanaper_database_unavailable_total", reason="database") >= 4
    assert figures.of("hanaper_answers_total", endpoint="generate", code="1705", status="503") == 3
    assert figures.of("hanaper_answers_total", endpoint="readyz", code="unsigned", status="503") == 1
    assert figures["hanaper_license_keys_generated_total"] == 2
    assert measured_api.post(GENERATE, FIELDS).code == 815
    assert measured.figures()["hanaper_database_connections_in_use"] == 0


def test_connections_at_work_are_counted_while_they_are(measured: Measured) -> None:
    def look(_: Session) -> float:
        return measured.figures()["hanaper_database_connections_in_use"]

    assert measured.services.storage.read(look) == 1
    assert measured.services.storage.write(look) == 1
    with pytest.raises(ZeroDivisionError):
        measured.services.storage.write(lambda _: 1 / 0)
    assert measured.figures()["hanaper_database_connections_in_use"] == 0
    # What failed took its time as well.
    assert measured.figures()["hanaper_commit_seconds_count"] == 2


def test_a_pool_that_is_empty_is_counted(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hanaper.storage.engine.POOL_TIMEOUT_S", 0.05)
    registry = CollectorRegistry()
    settings = Settings(**{**installation.settings.model_dump(), "database_pool_size": 1})
    with Storage.open(settings, PrometheusMeter(registry)) as storage:

        def ask_for_another(_: Session) -> None:
            with pytest.raises(Unavailable):
                storage.ping()

        storage.read(ask_for_another)
    assert figures_of(registry).of("hanaper_database_unavailable_total", reason="pool") == 1
    assert figures_of(registry)["hanaper_database_pool_connections"] == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_queue_that_is_too_long_is_counted(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = measured.services.storage
    writer: Writer = storage._writer  # noqa: SLF001 -- so that the test need not wait for a quarter of a minute
    monkeypatch.setattr(writer, "_longest_wait", 0.1)
    began, end = threading.Event(), threading.Event()

    def hold(_: Session) -> None:
        began.set()
        assert end.wait(60)

    holder = threading.Thread(target=storage.write, args=(hold,))
    holder.start()
    assert began.wait(60)
    with pytest.raises(Unavailable, match="busy with other writers"):
        storage.write(lambda _: None)
    assert measured.figures()["hanaper_writer_queue_jobs"] == 1
    end.set()
    holder.join()
    assert measured.figures().of("hanaper_database_unavailable_total", reason="queue") == 1


def test_how_long_a_group_waited_and_how_large_it_was(measured: Measured) -> None:
    began, end = threading.Event(), threading.Event()

    def bulk(_cursor: object, _dialect: str, items: Sequence[int]) -> Sequence[int]:
        began.set()
        assert end.wait(60)
        return items

    async def run() -> None:
        first = asyncio.create_task(measured.services.storage.submit(bulk, 1, size=1))
        await asyncio.to_thread(began.wait, 60)
        others = [asyncio.create_task(measured.services.storage.submit(bulk, n, size=1)) for n in range(5)]
        await asyncio.sleep(0.3)
        assert measured.figures()["hanaper_writer_queue_jobs"] == 5
        end.set()
        await asyncio.gather(first, *others)

    asyncio.run(run())
    figures = measured.figures()
    assert figures["hanaper_writer_queue_jobs"] == 0
    assert figures.of("hanaper_group_jobs_count", way="write") == 2
    assert figures.of("hanaper_group_jobs_sum", way="write") == 6
    assert figures.of("hanaper_group_wait_seconds_sum", way="write") >= 0.3


@IN_THIS_PROCESS
def test_a_signature_that_does_not_verify_is_counted_and_so_is_the_unsigned_answer(
    measured: Measured, measured_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Signer, "_raw", lambda *_: bytes(256))
    answer = measured_api.http.post(GENERATE, data=FIELDS)
    assert (answer.status_code, answer.content) == (500, b"")
    figures = measured.figures()
    # That of the license keys, and that of the failure.
    assert figures.by("hanaper_signatures_total", "kind") == {("failed",): 2}
    assert figures.of("hanaper_answers_total", endpoint="generate", code="unsigned", status="500") == 1
    assert figures.by("hanaper_license_keys_generated_total") == {}


def test_license_keys_count_as_generated_by_whatever_endpoint(measured: Measured, measured_api: Api) -> None:
    assert measured_api.post(GENERATE, {**FIELDS, "quantity": 5}).code == 815
    licenses = [{"generator_id": 1}, {"generator_id": 1}]
    made = measured_api.post("/v1/create-license-keys", {"api_key": SAMPLE_KEY, "licenses": licenses}, encoding="json")
    assert made.payload["created"] == 2
    terms = {"activation_limit": 1, "validity": 0, "status": "available"}
    registered = {"api_key": SAMPLE_KEY, "product_id": 1, "license_keys": ["A-1", "A-2"], **terms}
    assert measured_api.post("/v1/create-license-keys", registered, encoding="json").payload["created"] == 2
    wanted = {"api_key": SAMPLE_KEY, "product_id": 1, "quantity": 12, "generate": 1, "owner_email": "a@example.com"}
    assert measured_api.post("/v1/random-assign-license-keys", wanted).code == 803
    # 5 + 2, and the 3 that were missing of 12; those made elsewhere are not generated.
    assert measured.figures()["hanaper_license_keys_generated_total"] == 10
    assert measured.figures()["hanaper_batch_license_keys_sum"] == 5


def test_a_replayed_answer_is_an_answer_and_generates_nothing(measured: Measured, measured_api: Api) -> None:
    for _ in range(3):
        answer = measured_api.http.post(GENERATE, data=FIELDS, headers={"Idempotency-Key": "order-1"})
        assert answer.status_code == 200
    figures = measured.figures()
    assert figures.of("hanaper_answers_total", endpoint="generate", code="815", status="200") == 3
    assert figures["hanaper_license_keys_generated_total"] == 2


def test_who_translates_errors_without_a_meter_needs_none() -> None:
    with pytest.raises(Unavailable), failures.translated(None):
        raise Unavailable("nobody counts")
