"""One row that the database refuses takes its whole batch with it, and nothing else (reliability.md T4)."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from tests.conftest import SAMPLE_KEY
from tests.support.api import Answer, Api
from tests.support.world import add_generator, counts, execute

from hanaper.clock import utc_now
from hanaper.issuing import cap_store, caps
from hanaper.issuing.formats import Recipe
from hanaper.storage.scope import EVERYTHING
from hanaper.web.services import Services

GENERATE = "/api/v1/generate"
QUANTITY = 9


def refuse(services: Services, table: str, condition: str) -> None:
    """Make the database refuse new rows of a table for which a condition holds."""
    if services.storage.database.file is not None:
        body = f"WHEN {condition} BEGIN SELECT RAISE(ABORT, 'planted'); END"
        execute(services.storage, text(f"CREATE TRIGGER planted BEFORE INSERT ON {table} {body}"))
        return
    function = f"BEGIN IF {condition} THEN RAISE EXCEPTION 'planted'; END IF; RETURN NEW; END"
    execute(
        services.storage,
        text(f"CREATE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$ {function} $$"),
    )
    each = "FOR EACH ROW EXECUTE FUNCTION planted()"
    execute(services.storage, text(f"CREATE TRIGGER planted BEFORE INSERT ON {table} {each}"))


def allow(services: Services, table: str) -> None:
    on = "" if services.storage.database.file is not None else f" ON {table}"
    execute(services.storage, text(f"DROP TRIGGER planted{on}"))


def ask(api: Api, generator_id: int, key: str | None = None) -> Answer:
    fields = {"api_key": SAMPLE_KEY, "generator_id": generator_id, "quantity": QUANTITY}
    return api.post(GENERATE, fields, headers=None if key is None else {"Idempotency-Key": key})


def counted(services: Services, generator_id: int) -> int:
    row = services.storage.read(lambda session: cap_store.cap_of(session, generator_id, scope=EVERYTHING))
    assert row is not None
    return row.issued


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("row", [1, 5, QUANTITY])
def test_of_a_batch_with_a_row_that_is_refused_nothing_is_there(
    api: Api, services: Services, row: int, *, capped: bool
) -> None:
    marked, other = (add_generator(services, 1, Recipe("uuid")) for _ in range(2))
    if capped:
        services.storage.write(lambda session: caps.set_cap(session, marked, 1000, scope=EVERYTHING, now=utc_now()))
    made = "(SELECT count(*) FROM license_keys WHERE batch_id = NEW.batch_id)"
    refuse(services, "license_keys", f"NEW.generator_id = {marked} AND {made} = {row - 1}")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: ask(api, (marked, other)[number % 2], f"k-{number}"), range(8)))
    for number, answer in enumerate(answers):
        assert (answer.status, answer.code) == ((200, 815) if number % 2 else (500, 1706))
        assert answer.signed_by == ("product" if number % 2 else "global")
    assert (counts(services.storage).batches, counts(services.storage).license_keys) == (4, 4 * QUANTITY)
    if capped:
        assert counted(services, marked) == 0
    allow(services, "license_keys")
    # Nothing was carried out, so the same key gets what it asks for.
    assert ask(api, marked, "k-0").code == 815
    assert counts(services.storage).batches == 5


def test_without_its_idempotency_record_nothing_is_there(api: Api, services: Services) -> None:
    refuse(services, "idempotency_records", "NEW.code = 815 OR NEW.code = 0")
    assert ask(api, 1).code == 815
    refused = ask(api, 1, "order-1")
    assert (refused.status, refused.code) == (500, 1706)
    key = {"api_key": SAMPLE_KEY, "license_key": "unknown"}
    changed = api.post("/api/v1/delete-license-key", key, headers={"Idempotency-Key": "order-2"})
    assert (changed.status, changed.code) == (500, 1706)
    assert counts(services.storage).batches == 1
    allow(services, "idempotency_records")
    assert ask(api, 1, "order-1").code == 815
