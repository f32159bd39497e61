"""A generator never makes more license keys than its cap allows, whoever asks in whatever way (T13, T14)."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from tests.conftest import SAMPLE_KEY, Installation, client_of
from tests.support.api import Answer, Api, serving
from tests.support.world import add_api_key, add_generator, add_weak_generator, counts

from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.issuing import cap_store, caps
from hanaper.issuing.formats import Recipe
from hanaper.licenses.models import LicenseKey
from hanaper.refusal import Invalid
from hanaper.storage.configuration import current_version
from hanaper.storage.scope import EVERYTHING
from hanaper.web.services import Services

GENERATE = "/api/v1/generate"


def digits(number: int) -> Recipe:
    return Recipe("chunk-system", number_of_chunks=1, chunk_length=number, charset="0123456789")


def cap(services: Services, generator_id: int, most: int | None) -> None:
    services.storage.write(lambda session: caps.set_cap(session, generator_id, most, scope=EVERYTHING, now=utc_now()))


def counted(services: Services, generator_id: int) -> int:
    row = services.storage.read(lambda session: cap_store.cap_of(session, generator_id, scope=EVERYTHING))
    assert row is not None
    return row.issued


def made(services: Services, generator_id: int) -> list[str]:
    query = select(LicenseKey.license_key).where(LicenseKey.generator_id == generator_id)
    return services.storage.read(lambda session: list(session.scalars(query)))


def ask(api: Api, quantity: int, generator_id: int = 1, *, headers: dict[str, str] | None = None) -> Answer:
    fields = {"api_key": SAMPLE_KEY, "generator_id": generator_id, "quantity": quantity}
    return api.post(GENERATE, fields, headers=headers)


def test_the_last_keys_are_given_and_not_one_more(api: Api, services: Services) -> None:
    cap(services, 1, 10)
    assert ask(api, 7).code == 815
    refused = ask(api, 4)
    assert (refused.code, refused.status, refused.signed_by) == (902, 200, "product")
    assert counted(services, 1) == len(made(services, 1)) == 7
    assert ask(api, 3).code == 815
    assert ask(api, 1).code == 902
    assert counted(services, 1) == len(made(services, 1)) == 10
    assert counts(services.storage).batches == 2


def test_a_refused_order_leaves_no_record_under_its_idempotency_key(api: Api, services: Services) -> None:
    cap(services, 1, 2)
    keyed = {"Idempotency-Key": "order-1"}
    assert ask(api, 3, headers=keyed).code == 902
    cap(services, 1, 3)
    first = ask(api, 3, headers=keyed)
    assert first.code == 815
    assert ask(api, 3, headers=keyed).http.content == first.http.content
    assert counted(services, 1) == 3


def test_a_cap_is_raised_lowered_and_taken_away(api: Api, services: Services) -> None:
    assert ask(api, 5).code == 815
    with pytest.raises(Invalid, match="generator 1 has made 5 license keys already: a cap of 4 is too low"):
        cap(services, 1, 4)
    cap(services, 1, 5)
    assert ask(api, 1).code == 902
    cap(services, 1, 6)
    assert ask(api, 1).code == 815
    with pytest.raises(Invalid, match="has made 6 license keys"):
        cap(services, 1, 5)
    cap(services, 1, None)
    assert ask(api, 20).code == 815
    cap(services, 1, 26)
    assert ask(api, 1).code == 902


@pytest.mark.parametrize("most", [0, -1, 2**53 + 1])
def test_what_is_no_cap_is_refused(services: Services, most: int) -> None:
    with pytest.raises(Invalid, match=f"a cap is from 1 to {2**53}"):
        cap(services, 1, most)


def test_only_a_change_of_the_cap_is_a_change_of_the_configuration(api: Api, services: Services) -> None:
    cap(services, 1, 5)
    version = services.storage.read(current_version)
    assert ask(api, 1).code == 815
    assert services.storage.read(current_version) == version
    cap(services, 1, 6)
    assert services.storage.read(current_version) != version


def test_license_keys_that_are_assigned_at_once_count_too(api: Api, services: Services) -> None:
    key = add_api_key(services)
    cap(services, 1, 3)
    fields = {"api_key": key, "product_id": 1, "quantity": 2, "generate": 1, "generator_id": 1, "owner_email": "a@b.c"}
    assert api.post("/api/v1/random-assign-license-keys", fields).code == 803
    assert api.post("/api/v1/random-assign-license-keys", fields).code == 902
    wanted = {"api_key": key, "licenses": [{"generator_id": 1}, {"generator_id": 1}]}
    assert api.post("/api/v1/create-license-keys", wanted, encoding="json").code == 902
    wanted["licenses"] = [{"generator_id": 1}]
    assert api.post("/api/v1/create-license-keys", wanted, encoding="json").code == 900
    assert counted(services, 1) == len(made(services, 1)) == 3


def test_large_orders_count_too(installation: Installation) -> None:
    settings = installation.settings.model_copy(update={"max_quantity": 3000})
    services = open_services(settings)
    with serving(create_app(services)) as base_url:
        api = client_of(base_url, installation.installed)
        cap(services, 1, 3000)
        assert ask(api, 1500).code == 815
        assert ask(api, 1501).code == 902
        assert ask(api, 1500).code == 815
        assert ask(api, 1).code == 902
        assert counted(services, 1) == len(made(services, 1)) == 3000
        api.http.close()


def test_capped_orders_of_a_group_are_each_decided_by_themselves(api: Api, services: Services) -> None:
    second = add_generator(services, 1, Recipe("uuid"))
    cap(services, 1, 25)
    cap(services, second, 11)
    orders = [(quantity, generator) for quantity in (1, 2, 3, 5) for generator in (1, second, 1, second)] * 2
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda order: ask(api, *order), orders))
    assert {answer.code for answer in answers} == {815, 902}
    for generator, most in ((1, 25), (second, 11)):
        given = [
            key
            for answer, order in zip(answers, orders, strict=True)
            if answer.code == 815 and order[1] == generator
            for key in answer.payload["licenseKeys"]
        ]
        assert sorted(given) == sorted(made(services, generator))
        assert counted(services, generator) == len(given) <= most


def test_a_cap_that_is_set_while_others_generate_counts_them_all(api: Api, services: Services) -> None:
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            ask(api, 3)

    with ThreadPoolExecutor(6) as threads:
        running = [threads.submit(keep_asking) for _ in range(6)]
        for _ in range(12):
            cap(services, 1, 10**9)
            cap(services, 1, None)
        cap(services, 1, 10**9)
        stop.set()
        for each in running:
            each.result()
    assert counted(services, 1) == len(made(services, 1))


@pytest.mark.parametrize(("threads", "length"), [(1, 3), (16, 3), pytest.param(16, 4, marks=pytest.mark.slow)])
def test_every_key_of_a_small_key_space_is_given_out_once(
    api: Api, services: Services, threads: int, length: int
) -> None:
    generator_id = add_weak_generator(services, 1, digits(length))
    given: list[str] = []

    def ask_until_refused(_: int) -> None:
        while (answer := ask(api, 10**length // 100, generator_id)).code == 815:
            given.extend(answer.payload["licenseKeys"])
        assert answer.code == 902

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask_until_refused, range(threads)))
    assert len(given) == len(set(given)) == 10**length
    assert len(made(services, generator_id)) == 10**length


def test_more_than_are_left_are_refused_and_what_is_left_is_not_touched(api: Api, services: Services) -> None:
    generator_id = add_weak_generator(services, 1, digits(3))
    assert ask(api, 900, generator_id).code == 815
    assert ask(api, 101, generator_id).code == 902
    assert len(made(services, generator_id)) == 900
    assert ask(api, 100, generator_id).code == 815
    assert len(set(made(services, generator_id))) == 1000
