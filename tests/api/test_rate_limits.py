"""Budgets over HTTP: what is above them is counted, refused and not carried out (reliability.md T33)."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network
from typing import Any, TypeAlias

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event, text
from tests.conftest import SAMPLE_KEY, Installation, client_of
from tests.support.api import Answer, serving
from tests.support.flood import flood, post
from tests.support.world import counts, nothing_stored

from hanaper.access import manage
from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.limiting import windows
from hanaper.limiting.rules import SECONDS
from hanaper.metrics.prometheus import PrometheusMeter
from hanaper.web.services import Services

GENERATE = "/api/v1/generate"
CREATE = "/api/v1/create-license-keys"
ASSIGN = "/api/v1/random-assign-license-keys"
LIST = "/api/v1/get-all-generators"
WRONG = "no-such-key-0123456789-abcdefghijklmn-{}"
TERMS = {"activation_limit": 1, "validity": 0, "status": "available"}


class Replica:
    """A server with limits, and its client."""

    def __init__(self, installation: Installation, services: Services, url: str) -> None:
        self.services = services
        self.url = url
        self.api = client_of(url, installation.installed)

    def generate(self, quantity: int = 1, headers: dict[str, str] | None = None, **more: object) -> Answer:
        fields = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": quantity}
        return self.api.post(GENERATE, {**fields, **more}, headers=headers)

    def wrong(self, number: int = 0, path: str = GENERATE, **headers: str) -> Answer:
        fields = {"api_key": WRONG.format(number), "generator_id": 1, "quantity": 1}
        return self.api.post(path, fields, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def use_up_failures(self) -> None:
        for number in range(10):
            assert self.wrong(number).code == 100
        refused(self.wrong())


Start: TypeAlias = Callable[..., Replica]


@pytest.fixture
def replica(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts servers with the limits that are named; the others are off."""
    # Where it takes longer each would go on alone, and a machine that is busy with other tests takes longer.
    monkeypatch.setattr(windows, "LONGEST_WAIT_S", 60.0)
    with ExitStack() as stack:

        def start(**limits: Any) -> Replica:
            off = {"requests_per_minute": 0, "keys_per_minute": 0, "failures_per_minute": 0}
            services = open_services(installation.settings.model_copy(update={**off, **limits}))
            started = Replica(installation, services, stack.enter_context(serving(create_app(services))))
            stack.callback(started.api.http.close)
            return started

        yield start


def refused(answer: Answer) -> int:
    """That an answer is a refusal for now, whose envelope the client has checked; the seconds it names."""
    assert (answer.status, answer.code, answer.payload["message"]) == (429, 150, "Access denied")
    assert (list(answer.payload), answer.signed_by) == (["code", "message", "timestamp"], "global")
    seconds: int = answer.http.json()["retry_after"]
    assert 1 <= seconds <= SECONDS
    return seconds


@contextmanager
def statements(services: Services) -> Iterator[list[str]]:
    """The statements that are sent to the database meanwhile, but for those of the budgets and of group commits."""
    sent: list[str] = []

    def note(*arguments: Any) -> None:
        sent.append(arguments[2])

    event.listen(services.storage.engine, "before_cursor_execute", note)
    yield sent
    event.remove(services.storage.engine, "before_cursor_execute", note)


@pytest.mark.usefixtures("trusting")
def test_exactly_so_many_requests_are_answered_and_no_more_is_done(replica: Start) -> None:
    server = replica(requests_per_minute=20)
    answers = [server.generate() for _ in range(25)]
    assert [answer.code for answer in answers] == [815] * 20 + [150] * 5
    for answer in answers[20:]:
        refused(answer)
    assert counts(server.services.storage).license_keys == 20
    # On every endpoint, whether it runs on the event loop or in a thread; and what is bad counts, too.
    with nothing_stored(server.services.storage), statements(server.services) as sent:
        refused(server.api.get(LIST, {"api_key": SAMPLE_KEY}))
        refused(server.api.post(CREATE, {"api_key": SAMPLE_KEY, "product_id": 1, "license_keys": '["a-b-c"]', **TERMS}))
        refused(server.api.post("/v1/verify", {"api_key": SAMPLE_KEY}))
        refused(server.generate(-1))
    assert sent == []


def test_refusals_by_the_endpoint_count_as_requests(replica: Start) -> None:
    server = replica(requests_per_minute=4)
    assert [server.generate(quantity).code for quantity in (0, -1)] == [901, 901]
    assert [server.generate(generator_id=99).code for _ in range(2)] == [806, 806]
    refused(server.generate())


def test_api_keys_have_budgets_of_their_own(replica: Start) -> None:
    server = replica(requests_per_minute=3)
    other = another_key(server)
    assert [server.generate().code for _ in range(4)] == [815] * 3 + [150]
    assert [server.generate(api_key=other).code for _ in range(4)] == [815] * 3 + [150]


def test_license_keys_count_by_quantity_whatever_makes_them(replica: Start) -> None:
    server = replica(keys_per_minute=100)
    full = another_key(server)
    assert server.generate(40, api_key=full).code == 815
    named = json.dumps([f"made-elsewhere-{number}" for number in range(20)])
    fields = {"api_key": full, "product_id": 1, **TERMS}
    assert server.api.post(CREATE, {**fields, "license_keys": named}).code == 900
    wanted = [{"generator_id": 1} for _ in range(10)]
    body = {"api_key": full, "licenses": wanted}
    assert server.api.post(CREATE, body, encoding="json").code == 900
    owner = {"api_key": full, "product_id": 1, "owner_email": "ann@example.com", "owner_name": "Ann", "generate": 1}
    assert server.api.post(ASSIGN, {**owner, "quantity": 20}).code == 803
    with nothing_stored(server.services.storage):
        refused(server.generate(11, api_key=full))
        refused(server.api.post(ASSIGN, {**owner, "quantity": 11}))
        refused(server.api.post(CREATE, {"api_key": full, "licenses": wanted + wanted}, encoding="json"))
        refused(server.api.post(CREATE, {**fields, "license_keys": json.dumps(["x-y-z"] * 11)}))
    assert server.generate(10, api_key=full).code == 815
    refused(server.generate(1, api_key=full))
    assert server.api.get(LIST, {"api_key": full}).code == 820


def test_license_keys_that_are_not_made_are_not_counted(replica: Start) -> None:
    server = replica(keys_per_minute=50)
    assert server.generate(50, generator_id=99).code == 806
    assert server.generate(1001).code == 901
    assert server.generate(50).code == 815
    refused(server.generate())


@pytest.mark.usefixtures("trusting")
def test_the_database_is_asked_nothing_for_an_order_above_the_budget(replica: Start) -> None:
    server = replica(keys_per_minute=50)
    assert server.generate(50).code == 815
    with statements(server.services) as sent:
        refused(server.generate())
    assert sent == []


def test_a_replay_costs_a_request_and_no_license_keys(replica: Start) -> None:
    server = replica(keys_per_minute=50, requests_per_minute=5)
    key = {"Idempotency-Key": "order-1"}
    first = server.generate(50, headers=key)
    assert first.code == 815
    for _ in range(4):
        again = server.generate(50, headers=key)
        assert (again.http.content, again.http.headers["idempotent-replayed"]) == (first.http.content, "true")
    refused(server.generate(50, headers=key))


def test_nothing_is_kept_of_a_refusal_under_its_idempotency_key(replica: Start) -> None:
    server = replica(keys_per_minute=5)
    key = {"Idempotency-Key": "order-2"}
    assert server.generate(5).code == 815
    refused(server.generate(5, headers=key))
    # Another request under the same key is carried out: it is the first.
    later = replica().generate(7, headers=key)
    assert (later.code, len(later.payload["licenseKeys"])) == (815, 7)
    assert "idempotent-replayed" not in later.http.headers


@pytest.mark.usefixtures("trusting")
def test_wrong_keys_are_looked_at_ten_times_and_right_ones_always_let_in(replica: Start) -> None:
    server = replica(failures_per_minute=10)
    other = another_key(server)
    server.use_up_failures()
    with statements(server.services) as sent:
        for number in range(30):
            refused(server.wrong(number))
            refused(server.wrong(number, "/api/v1/activate"))
        refused(server.api.post(GENERATE, {"generator_id": 1, "quantity": 1}))
        refused(server.generate(api_key="hnp_live_" + "0" * 49))
    assert sent == []
    # One that this process has not looked up yet, too.
    assert server.generate(api_key=other).code == 815
    assert server.generate().code == 815
    assert server.api.get(LIST, {"api_key": other}).code == 820


def test_a_process_that_knows_nobody_yet_lets_right_keys_in(replica: Start) -> None:
    replica(failures_per_minute=10).use_up_failures()
    new = replica(failures_per_minute=10)
    refused(new.wrong())
    assert new.generate().code == 815


def test_a_key_that_is_made_while_its_address_is_refused_is_let_in(replica: Start) -> None:
    server = replica(failures_per_minute=10)
    server.use_up_failures()
    other = another_key(server)
    # Within a second, in which the newest configuration is looked up by somebody.
    assert any(server.generate(api_key=other).code == 815 for _ in range(3000))


def test_a_revoked_key_is_told_so(replica: Start) -> None:
    server = replica(failures_per_minute=10, requests_per_minute=3)
    other = another_key(server)
    revoke(server, 2)
    server.use_up_failures()
    assert [server.generate(api_key=other).code for _ in range(3)] == [101] * 3
    refused(server.generate(api_key=other))


def test_each_address_has_its_own_failures_and_a_customer_of_ipv6_one(replica: Start) -> None:
    server = replica(failures_per_minute=10, trusted_proxies=(ip_network("127.0.0.1/32"),))

    def wrong(address: str) -> Answer:
        return server.wrong(x_forwarded_for=address)

    for _ in range(10):
        assert wrong("192.0.2.1").code == 100
    refused(wrong("192.0.2.1"))
    refused(wrong("::ffff:192.0.2.1"))
    assert wrong("192.0.2.2").code == 100
    for number in range(10):
        assert wrong(f"2001:db8:0:1::{number}").code == 100
    refused(wrong("2001:db8:0:1:ffff::1"))
    assert wrong("2001:db8:0:2::1").code == 100
    for number in range(10):
        assert wrong(f"nobody-{number}").code == 100
    refused(wrong("somebody"))


def test_wrong_keys_that_come_at_the_same_time_do_not_slip_through(replica: Start) -> None:
    server = replica(failures_per_minute=10)
    with statements(server.services) as sent:
        statuses = flood(server.url, wrong_request, 1500, connections=32)
    assert statuses == {401: 10, 429: 1490}
    assert sum("api_keys" in statement for statement in sent) <= 2


@pytest.mark.slow
def test_of_a_hundred_thousand_wrong_keys_ten_a_minute_reach_the_database(replica: Start) -> None:
    servers = [replica(failures_per_minute=10) for _ in range(2)]
    over = threading.Event()
    codes: list[int | str] = []

    def ask() -> None:
        # From the same address, as somebody whose key is right.
        while not over.wait(0.02):
            codes.append(servers[0].generate().code)

    thread = threading.Thread(target=ask)
    with statements(servers[0].services) as one, statements(servers[1].services) as two:
        thread.start()
        for number in range(10):
            statuses = flood(servers[number % 2].url, wrong_request, 10_000, connections=32)
            assert statuses.total() == 10_000
            assert statuses[401] <= 10
        over.set()
        thread.join()
    assert set(codes) == {815}
    assert sum("api_keys" in statement for statement in one + two) <= 8


def wrong_request(number: int) -> bytes:
    return post(GENERATE, f"api_key={WRONG.format(number)}&generator_id=1&quantity=1")


def test_two_replicas_have_one_budget(replica: Start) -> None:
    servers = [replica(requests_per_minute=400, failures_per_minute=10) for _ in range(2)]
    right = post(GENERATE, f"api_key={SAMPLE_KEY}&generator_id=1&quantity=1")
    results: list[Any] = []

    def ask(server: Replica) -> None:
        results.append(flood(server.url, lambda _: right, 450))

    threads = [threading.Thread(target=ask, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = sum(result[200] for result in results)
    assert 0.9 * 400 <= together <= 400
    assert counts(servers[0].services.storage).license_keys == together
    codes = [servers[number % 2].wrong().code for number in range(20)]
    assert codes == [100] * 10 + [150] * 10


def test_without_the_shared_budget_each_goes_on_alone(replica: Start, database_kind: str) -> None:
    server = replica(requests_per_minute=5, failures_per_minute=10)
    if database_kind == "postgresql":
        server.services.storage.write(lambda session: session.execute(text("DROP TABLE rate_windows")))
    else:
        file = server.services.storage.database.file
        assert file is not None
        file.with_name(file.name + ".limits").mkdir()
    assert [server.generate().code for _ in range(6)] == [815] * 5 + [150]
    server.use_up_failures()


def test_a_refusal_is_signed_once_a_second(replica: Start) -> None:
    server = replica(requests_per_minute=1)
    server.generate()
    answers = [server.generate() for _ in range(40)]
    signatures = {(answer.payload["timestamp"], answer.http.json()["signature"]) for answer in answers}
    assert len(signatures) == len({timestamp for timestamp, _ in signatures})


def test_what_is_signed_is_what_it_is_without_the_field(replica: Start) -> None:
    server = replica(requests_per_minute=1)
    server.generate()
    body = server.generate().http.content
    assert body.endswith(b'","retry_after":%d}' % json.loads(body)["retry_after"])
    assert b"retry_after" not in body.partition(b'"signature"')[0]


def test_the_limits_are_counted(installation: Installation) -> None:
    registry = CollectorRegistry()
    update = {"requests_per_minute": 3, "keys_per_minute": 10, "failures_per_minute": 1}
    services = open_services(installation.settings.model_copy(update=update), meter=PrometheusMeter(registry))
    with serving(create_app(services)) as url:
        server = Replica(installation, services, url)
        with server.api.http:
            told = [server.generate(10), server.generate(), server.generate(), server.generate(), server.generate()]
            told += [server.wrong(), server.wrong()]
    assert [answer.code for answer in told] == [815, 150, 150, 150, 150, 100, 150]
    figures = {
        name: registry.get_sample_value("hanaper_rate_limited_total", {"budget": name})
        for name in ("requests", "keys", "failures")
    }
    assert figures == {"requests": 2, "keys": 2, "failures": 1}


def another_key(server: Replica) -> str:
    """An API key that may do everything with the demo product."""
    return server.services.storage.write(
        lambda session: manage.create(
            session, "live", manage.Terms("Another"), pepper=server.services.pepper, now=utc_now()
        )
    )[1]


def revoke(server: Replica, api_key_id: int) -> None:
    server.services.storage.write(lambda session: manage.revoke(session, api_key_id, now=utc_now()))
