"""The check that the crash tests rely on finds each thing that can be wrong with a store."""

from collections.abc import Callable

import pytest
from sqlalchemy import text
from tests.support.api import Api
from tests.support.load import SAMPLE_KEY, Acknowledged
from tests.support.store_check import Findings, check
from tests.support.world import execute

from hanaper.storage.sqlite import library
from hanaper.web.services import Services

Checked = Callable[[list[Acknowledged]], Findings]


@pytest.fixture
def acknowledged(api: Api) -> list[Acknowledged]:
    """Three batches, which the first service of an installation stores as 1 to 3, with six license keys, 1 to 6."""
    fields = {"api_key": SAMPLE_KEY, "generator_id": 1}
    answers = [api.post("/api/v1/generate", {**fields, "quantity": quantity}) for quantity in (1, 3, 2)]
    return [Acknowledged.from_body(answer.http.content) for answer in answers]


@pytest.fixture
def checked(services: Services) -> Checked:
    pem = (services.settings.data_dir / "public-keys" / "product-1.pem").read_bytes()
    return lambda acknowledged: check(services.storage, pem, acknowledged)


def test_nothing_is_wrong_with_a_store_nobody_has_touched(acknowledged: list[Acknowledged], checked: Checked) -> None:
    assert checked(acknowledged) == Findings()
    # What is stored need not have been acknowledged: the answer may have been lost.
    assert checked([]) == Findings()


@pytest.mark.parametrize(
    ("damage", "findings"),
    [
        ("DELETE FROM license_keys WHERE id = 2", Findings(lost=1, misplaced=1, torn=1, unsigned=1)),
        ("DELETE FROM license_keys WHERE batch_id = 2", Findings(lost=3, misplaced=1, torn=1, unsigned=1)),
        ("DELETE FROM batches WHERE id = 2", Findings(misplaced=1, without_batch=3)),
        ("UPDATE license_keys SET batch_id = NULL WHERE id = 3", Findings(0, 1, torn=1, unsigned=1, without_batch=1)),
        ("UPDATE license_keys SET batch_id = 3 WHERE id = 3", Findings(misplaced=2, torn=2, unsigned=2)),
        ("UPDATE license_keys SET id = 99 WHERE id = 2", Findings(misplaced=1, unsigned=1)),
        ("UPDATE license_keys SET license_key = 'x' WHERE id = 2", Findings(lost=1, misplaced=1, unsigned=1)),
        ("UPDATE batches SET quantity = 4 WHERE id = 2", Findings(torn=1)),
        ("UPDATE batches SET signed_at = 1 WHERE id = 2", Findings(misplaced=1, unsigned=1)),
        (
            "UPDATE batches SET signature = (SELECT signature FROM batches WHERE id = 1) WHERE id = 2",
            Findings(misplaced=1, unsigned=1),
        ),
    ],
)
def test_damage_is_found(
    acknowledged: list[Acknowledged], checked: Checked, services: Services, damage: str, findings: Findings
) -> None:
    execute(services.storage, text(damage))
    assert checked(acknowledged) == findings


def test_license_keys_that_two_were_given_are_found(acknowledged: list[Acknowledged], checked: Checked) -> None:
    assert checked([*acknowledged, acknowledged[1]]) == Findings(duplicates=3)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_sqlite_finds_is_found(acknowledged: list[Acknowledged], checked: Checked, services: Services) -> None:
    # Connections of our own would not do this.
    connection = library().connect(services.storage.database.file)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("UPDATE license_keys SET status = 'gone' WHERE id = 2")
    connection.execute("UPDATE generators SET product_id = 99")
    connection.commit()
    connection.close()
    assert checked(acknowledged) == Findings(
        damage=["CHECK constraint failed in license_keys", "('generators', 1, 'products', 0)"]
    )
