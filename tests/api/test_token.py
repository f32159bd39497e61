"""The server with its signing keys in a PKCS#11 token: what it answers while that is away, slow or faulty (T23)."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import httpx
import pytest
from tests.api.test_readiness import becomes
from tests.conftest import SAMPLE_KEY, Installation, client_of
from tests.support.api import Api, serving
from tests.support.tokens import SoftToken
from tests.support.world import counts, nothing_stored

from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.keystore import rotate, store
from hanaper.signing.key_pair import KeyPair
from hanaper.storage.session import Session
from hanaper.token import token as of_token
from hanaper.token.session import HeldSession
from hanaper.web.services import Services

pytestmark = pytest.mark.parametrize("keys_in", ["token"], indirect=True)
GENERATE = "/api/v1/generate"
ORDER = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 5}
_sign = HeldSession.sign_digest


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was away is looked for with each request."""
    monkeypatch.setattr(of_token, "BACK_OFF_S", 0)


def empty_503(response: httpx.Response) -> None:
    """What cannot be signed is not said."""
    assert (response.status_code, response.content) == (503, b"")
    assert response.headers["retry-after"] == "5"
    assert "x-signing-key-id" not in response.headers


def test_while_the_token_is_away_nothing_is_said_unsigned_and_nothing_is_stored(
    api: Api, services: Services, soft_token: SoftToken
) -> None:
    license_key = api.post(GENERATE, ORDER).payload["licenseKeys"][0]
    api.post("/v1/assign-license-key", {"api_key": SAMPLE_KEY, "license_key": license_key})
    activation = {"api_key": SAMPLE_KEY, "license_key": license_key, "identifier": "pc"}
    becomes(api, 200, "ready")
    with soft_token.taken_away(), nothing_stored(services.storage):
        for _ in range(2):
            empty_503(api.http.post(GENERATE, data=ORDER, headers={"Idempotency-Key": "order-1"}))
            empty_503(api.http.post("/v1/activate", data=activation))
            empty_503(api.http.post("/v1/verify", data=activation))
            empty_503(api.http.post("/v1/create-product", data={"api_key": SAMPLE_KEY, "name": "none"}))
            empty_503(api.http.get("/v1/get-all-generators", params={"api_key": SAMPLE_KEY}))
            empty_503(api.http.get("/unknown"))
        assert api.http.get("/.well-known/jwks.json").status_code == 200
        becomes(api, 503, "the token does not sign")
    # Nobody has to start it again, and the order that was refused is carried out once.
    becomes(api, 200, "ready")
    answers = [api.post(GENERATE, ORDER, headers={"Idempotency-Key": "order-1"}) for _ in range(2)]
    assert answers[0].http.content == answers[1].http.content
    assert api.post("/v1/activate", activation).code == 300
    assert api.post("/v1/verify", activation).code == 200
    assert (counts(services.storage).license_keys, counts(services.storage).batches) == (10, 2)


def test_a_global_key_in_the_database_still_signs_that_the_service_is_unavailable(
    api: Api, services: Services, soft_token: SoftToken
) -> None:
    pair = KeyPair.generate(2048)

    def exchange(session: Session) -> None:
        now = services.clock()
        rotate.announce(session, pair, product_id=None, keystore=services.keystore, now=now)
        rotate.activate(session, pair.kid, keystore=services.keystore, now=now)

    services.storage.write(exchange)
    client = Api(api.base_url, global_pem=pair.public_pem, product_pem=api.product_pem)
    assert client.post(GENERATE, ORDER).code == 815
    with soft_token.taken_away(), nothing_stored(services.storage):
        answer = client.post(GENERATE, ORDER)
        assert (answer.code, answer.status, answer.signed_by) == (1705, 503, "global")
        assert answer.http.headers["retry-after"] == "5"
        assert client.get("/unknown").code == 1700
    assert client.post(GENERATE, ORDER).code == 815
    client.http.close()


def test_a_large_order_is_stored_whole_or_not_at_all(installation: Installation, soft_token: SoftToken) -> None:
    services = open_services(installation.settings.model_copy(update={"max_quantity": 5000}))
    with serving(create_app(services)) as base_url, client_of(base_url, installation.installed).http as http:
        order = {**ORDER, "quantity": 2500}
        with soft_token.taken_away():
            empty_503(http.post(GENERATE, data=order))
        assert (counts(services.storage).license_keys, counts(services.storage).batches) == (0, 0)
        assert http.post(GENERATE, data=order).status_code == 200
        assert (counts(services.storage).license_keys, counts(services.storage).batches) == (2500, 1)


def flipped(held: HeldSession, kid: str, public_pem: str, digest: bytes) -> bytes:
    good = _sign(held, kid, public_pem, digest)
    return bytes([good[0] ^ 1]) + good[1:]


def by_another(held: HeldSession, kid: str, public_pem: str, digest: bytes) -> bytes:
    """The token mixes its keys up."""
    del public_pem
    other = next(each for each in _known[id(held)] if each[0] != kid)
    return _sign(held, *other, digest)


_known: dict[int, list[tuple[str, str]]] = {}


@pytest.mark.parametrize("fault", [flipped, by_another])
def test_no_bad_signature_of_the_token_leaves_and_nothing_is_stored(
    api: Api, services: Services, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., bytes]
) -> None:
    keys = services.storage.read(lambda session: [(row.kid, row.public_pem) for row in store.usable(session)])

    def planted_fault(held: HeldSession, kid: str, public_pem: str, digest: bytes) -> bytes:
        _known[id(held)] = keys
        return fault(held, kid, public_pem, digest)

    with monkeypatch.context() as planted, nothing_stored(services.storage):
        planted.setattr(HeldSession, "sign_digest", planted_fault)
        for _ in range(5):
            for response in (api.http.post(GENERATE, data=ORDER), api.http.get("/unknown")):
                assert (response.status_code, response.content) == (500, b"")
    assert api.post(GENERATE, ORDER).code == 815


# --- a slow token ---


@contextmanager
def standing_still(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> Iterator[threading.Semaphore]:
    """The token begins to sign, and goes on when this ends. Gives what is released with each beginning."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(held: HeldSession, kid: str, public_pem: str, digest: bytes) -> bytes:
        asked.append(kid)
        begun.release()
        go_on.wait(20)
        return _sign(held, kid, public_pem, digest)

    with monkeypatch.context() as planted:
        planted.setattr(HeldSession, "sign_digest", slow)
        try:
            yield begun
        finally:
            go_on.set()


@pytest.fixture
def at_noon(installation: Installation) -> Iterator[Api]:
    """A server whose clock stands still."""
    now = utc_now() - timedelta(seconds=10)
    with serving(create_app(open_services(installation.settings, lambda: now))) as base_url:
        client = client_of(base_url, installation.installed)
        yield client
        client.http.close()


def test_a_signature_that_takes_long_keeps_the_event_loop_from_nothing(
    at_noon: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = at_noon.get("/unknown").http.content
    with ThreadPoolExecutor() as threads:
        with standing_still(monkeypatch, []) as begun:
            slow = threads.submit(at_noon.post, GENERATE, ORDER)
            assert begun.acquire(timeout=10)
            assert at_noon.http.get("/healthz").text == "ok\n"
            assert at_noon.http.get("/.well-known/jwks.json").status_code == 200
            # Signed a moment ago; it is remembered.
            assert at_noon.get("/unknown").http.content == known
            assert not slow.done()
        assert slow.result().code == 815


def test_those_who_want_the_same_answer_meanwhile_wait_for_one_signature(
    at_noon: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    with ThreadPoolExecutor() as threads:
        with standing_still(monkeypatch, asked) as begun:
            many = [threads.submit(at_noon.get, "/unknown") for _ in range(5)]
            assert begun.acquire(timeout=10)
            assert at_noon.http.get("/healthz").text == "ok\n"
        assert len({each.result().http.content for each in many}) == 1
    assert len(asked) == 1
