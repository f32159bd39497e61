"""A request for a name that is not one of this server's is refused, whatever it asks for."""

from collections.abc import Iterator, Sequence

import pytest
from tests.conftest import SAMPLE_KEY, Installation, client_of
from tests.support.api import Api, serving
from tests.support.raw import send

from hanaper.app import create_app, open_services

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
ORDER = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}
Hosts = Sequence[tuple[str, bytes]]


@pytest.fixture
def here(installation: Installation) -> Iterator[Api]:
    settings = installation.settings.model_copy(update={"allowed_hosts": ("licenses.example.com",)})
    with serving(create_app(open_services(settings))) as base_url:
        api = client_of(base_url, installation.installed)
        with api.http:
            yield api


def test_a_name_that_is_allowed_is_answered(here: Api) -> None:
    assert here.post("/api/v1/generate", ORDER, headers={"Host": "licenses.example.com"}).code == 815


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", "/api/v1/generate?x=licenses.example.com"])
@pytest.mark.parametrize("path", ["/api/v1/generate", "/v1/generate", "/unknown", "/.well-known/jwks.json"])
def test_another_name_is_refused(here: Api, path: str, host: str) -> None:
    answer = here.post(path, ORDER, headers={"Host": host})
    assert (answer.status, answer.code, answer.signed_by) == (421, 1707, "global")


@pytest.mark.parametrize(
    "hosts",
    [
        [("Host", b"licenses.example.com"), ("Host", b"evil.test")],
        [("Host", b"licenses.example.com"), ("host", b"licenses.example.com")],
        [("Host", b"")],
    ],
)
def test_exactly_one_name_is_given(here: Api, hosts: Hosts) -> None:
    response = send(str(here.http.base_url), "GET", "/api/v1/get-all-generators", hosts)
    assert (response.status_code, response.json()["response"]["code"]) == (421, 1707)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_ask_for_an_address(here: Api, path: str) -> None:
    assert here.http.get(path, headers={"Host": "10.1.2.3:8000"}).status_code == 200
