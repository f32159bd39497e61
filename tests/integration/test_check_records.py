"""`hanaper check-store` and what is counted, or kept to be sent again: each planted fault is found."""

import pytest
from sqlalchemy import text
from tests.conftest import SAMPLE_KEY
from tests.support.api import Api
from tests.support.world import execute

from hanaper.checking.check import check
from hanaper.checking.report import Report
from hanaper.clock import utc_now
from hanaper.issuing import caps
from hanaper.outbound import store as outbound
from hanaper.storage.scope import EVERYTHING
from hanaper.web.services import Services


@pytest.fixture
def used(api: Api, services: Services) -> Services:
    """A store with a cap, records of two endpoints, and an outgoing call."""
    services.storage.write(lambda session: caps.set_cap(session, 1, 10, scope=EVERYTHING, now=utc_now()))
    for quantity in (2, 3):
        fields = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": quantity}
        made = api.post("/api/v1/generate", fields, headers={"Idempotency-Key": f"order-{quantity}"})
    key = {"api_key": SAMPLE_KEY, "license_key": made.payload["licenseKeys"][0]}
    assert api.post("/api/v1/assign-license-key", key, headers={"Idempotency-Key": "a"}).code == 800
    agent = {"Idempotency-Key": "b", "User-Agent": "KeyManager-PHP-Client/1.0"}
    assert api.http.post("/api/v1/activate", data={**key, "identifier": "x"}, headers=agent).status_code == 200
    told = {"event": "x"}
    services.storage.write(lambda session: outbound.queue(session, "https://example.com/", told, now=utc_now()))
    return services


def checked(services: Services) -> Report:
    return check(services.storage, services.keystore, now=utc_now())


def test_what_the_server_stores_is_in_order(used: Services) -> None:
    report = checked(used)
    assert report.is_clean, report.findings
    assert report.checked["idempotency_records"] == 4
    assert report.checked["generator_caps"] == 1


FAULTS = {
    "cap": [
        "UPDATE generator_caps SET issued = issued - 1",
        "UPDATE generator_caps SET issued = issued + 1",
        "DELETE FROM license_keys WHERE status = 'available' AND id = (SELECT min(id) FROM license_keys)",
    ],
    "record": [
        "UPDATE idempotency_records SET code = 800 WHERE code = 815",
        "UPDATE idempotency_records SET signing_key_id = 3 - signing_key_id",
        "UPDATE idempotency_records SET signing_key_id = 99",
        "UPDATE idempotency_records SET api_key_id = 99",
        "UPDATE idempotency_records SET body = '{}'",
        "UPDATE idempotency_records SET body = ''",
        "UPDATE idempotency_records SET body = (SELECT body FROM idempotency_records WHERE code = 800)",
        "UPDATE idempotency_records SET request_id = 'nobody' WHERE code = 815",
        "DELETE FROM batches WHERE quantity = 2",
    ],
    "url": ["UPDATE outgoing_calls SET url = 'nowhere'"],
    "body": ["UPDATE outgoing_calls SET body = ''"],
}


@pytest.mark.parametrize(("kind", "fault"), [(kind, fault) for kind, faults in FAULTS.items() for fault in faults])
def test_a_planted_fault_is_found(used: Services, kind: str, fault: str) -> None:
    execute(used.storage, text(fault))
    assert checked(used).counts[kind] > 0


def test_every_flipped_byte_of_a_recorded_answer_is_found(used: Services) -> None:
    query = text("SELECT scope, body FROM idempotency_records WHERE code = 800")
    scope, body = used.storage.read(lambda session: session.execute(query).one())
    body = bytes(body)
    write = text("UPDATE idempotency_records SET body = :body WHERE scope = :scope")
    for place in range(0, len(body), 37):
        damaged = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        values = {"body": damaged, "scope": scope}
        used.storage.write(lambda session, values=values: session.execute(write, values))  # type: ignore[misc]
        assert checked(used).counts == {"record": 1}, place
