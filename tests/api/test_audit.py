"""What the audit log tells of requests, and that no request has its effect without it (reliability.md T38)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from tests.api.test_failing_insert import allow, refuse
from tests.conftest import SAMPLE_KEY
from tests.support.api import Api
from tests.support.world import counts, nothing_stored

from hanaper.audit import rules
from hanaper.audit.record import record
from hanaper.checking.check import check
from hanaper.clock import utc_now
from hanaper.issuing import batch_store
from hanaper.storage.session import Session
from hanaper.web.call import Call
from hanaper.web.services import Services

PATH = "/api/v1/"
KEY = {"api_key": SAMPLE_KEY}
LARGE = 1001


def told(services: Services, action: str) -> list[Any]:
    query = text("SELECT * FROM audit_events WHERE action = :action ORDER BY id")
    return list(services.storage.read(lambda session: session.execute(query, {"action": action}).all()))


def generated(api: Api, quantity: int = 2, key: str | None = None) -> list[str]:
    headers = None if key is None else {"Idempotency-Key": key}
    answer = api.post(PATH + "generate", {**KEY, "generator_id": 1, "quantity": quantity}, headers=headers)
    assert answer.code == 815
    keys: list[str] = answer.payload["licenseKeys"]
    return keys


def findings(services: Services) -> dict[str, int]:
    return dict(check(services.storage, services.keystore, now=utc_now()).counts)


def test_a_batch_has_one_row_with_who_from_where_and_what(api: Api, services: Services) -> None:
    generated(api)
    generated(api, key="order-1")
    generated(api, key="order-1")
    rows = told(services, "generate")
    assert [row.batch_id for row in rows] == [1, 2]
    for row in rows:
        assert (row.api_key_id, row.address, row.code) == (1, "127.0.0.1", 815)
        assert json.loads(row.objects) == {"generator": 1, "product": 1}
        batch = services.storage.read(
            lambda session, number=row.batch_id: session.execute(  # type: ignore[misc]  # bound now
                text("SELECT request_id, created_at FROM batches WHERE id = :id"), {"id": number}
            ).one()
        )
        assert (batch.request_id, batch.created_at) == (row.request_id, row.at)
    assert findings(services) == {}


def test_a_large_order_has_one_row(services: Services, api: Api) -> None:
    large = services.settings.model_copy(update={"max_quantity": 2 * LARGE})
    object.__setattr__(services, "settings", large)
    generated(api, LARGE)
    (row,) = told(services, "generate")
    assert (row.api_key_id, row.address, row.code) == (1, "127.0.0.1", 815)
    assert json.loads(row.objects) == {"generator": 1, "product": 1}
    assert findings(services) == {}


def test_a_license_key_is_told_by_its_id_and_its_keyed_hash(api: Api, services: Services) -> None:
    (license_key,) = generated(api, 1)
    assign = {**KEY, "license_key": license_key, "email": "ann@example.com"}
    assert api.post(PATH + "assign-license-key", assign).code == 800
    (row,) = told(services, "assign-license-key")
    assert json.loads(row.objects) == {"licenses": "1", "product": 1}
    assert (row.code, row.batch_id) == (800, None)
    assert bytes(row.license_digest) == rules.license_digest(services.pepper, license_key)
    everything = services.storage.read(lambda session: session.execute(text("SELECT * FROM audit_events")).all())
    assert license_key not in repr(everything)
    # What changes nothing leaves nothing.
    assert api.post(PATH + "assign-license-key", assign).code == 801
    assert api.post(PATH + "verify", {**KEY, "license_key": license_key, "identifier": "pc"}).code != 800
    assert len(told(services, "assign-license-key")) == 1
    assert told(services, "verify") == []


EFFECTS: dict[str, Callable[[Api, str], Any]] = {
    "generate": lambda api, _: api.post(PATH + "generate", {**KEY, "generator_id": 1, "quantity": 2}),
    "generate under a key": lambda api, _: api.post(
        PATH + "generate", {**KEY, "generator_id": 1, "quantity": 2}, headers={"Idempotency-Key": "order"}
    ),
    "assign": lambda api, key: api.post(
        PATH + "assign-license-key", {**KEY, "license_key": key, "email": "ann@example.com"}
    ),
    "random assign": lambda api, _: api.post(
        PATH + "random-assign-license-keys",
        {**KEY, "product_id": 1, "generator_id": 1, "quantity": 3, "generate": 1, "owner_email": "ann@example.com"},
    ),
    "a product": lambda api, _: api.post(PATH + "update-product", {**KEY, "product_id": 1, "name": "Another"}),
}


def statuses(services: Services) -> list[Any]:
    def look(session: Session) -> list[Any]:
        keys = session.execute(text("SELECT id, status, owner_email FROM license_keys ORDER BY id")).all()
        return [*keys, *session.execute(text("SELECT name FROM products")).all()]

    return services.storage.read(look)


def without_its_row_nothing_is_there(api: Api, services: Services, effect: str) -> None:
    (license_key,) = generated(api, 1)
    before = statuses(services)
    refuse(services, "audit_events", "1 = 1")
    with nothing_stored(services.storage):
        answer = EFFECTS[effect](api, license_key)
    assert (answer.status, answer.code) == (500, 1706)
    assert statuses(services) == before
    allow(services, "audit_events")
    assert EFFECTS[effect](api, license_key).status == 200
    assert statuses(services) != before
    assert findings(services) == {}


@pytest.mark.parametrize("effect", EFFECTS)
def test_without_its_row_nothing_is_there(api: Api, services: Services, effect: str) -> None:
    without_its_row_nothing_is_there(api, services, effect)


# --- planted faults ---


def in_another_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is written once the effect is committed."""
    right = Call._repeated  # noqa: SLF001 -- the fault is planted there

    def after(self: Call[Any], *args: Any) -> Any:
        answer = right(self, *args)
        services = self.services
        services.storage.write(lambda session: record(session, self.endpoint, now=services.clock(), code=answer.code))
        return answer

    monkeypatch.setattr(Call, "_record", lambda *_: None)
    monkeypatch.setattr(Call, "_repeated", after)


def left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Call, "_record", lambda *_: None)


@pytest.mark.parametrize("plant", [left_out, in_another_transaction])
def test_a_row_of_another_transaction_is_found_out(
    api: Api, services: Services, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        without_its_row_nothing_is_there(api, services, "assign")


def test_a_batch_whose_row_is_left_out_is_found_by_the_check(
    api: Api, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    generated(api)
    assert findings(services) == {}
    monkeypatch.setattr(batch_store, "_SQLITE_AUDIT", "SELECT ?, ?, ?, ?, ?, ?")
    for name in ("_POSTGRESQL_PLAIN", "_POSTGRESQL_UNDER_KEYS"):
        monkeypatch.setattr(
            batch_store, name, getattr(batch_store, name).replace("FROM new ORDER", "FROM new WHERE false ORDER")
        )
    generated(api)
    generated(api, key="order")
    assert counts(services.storage).batches == 3
    assert findings(services) == {"no_audit_row": 2}
