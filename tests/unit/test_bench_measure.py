"""A run counts when nothing failed and the database has what was answered."""

from dataclasses import replace

import pytest

from hanaper.bench.database import Stored
from hanaper.bench.load import Load, Seen
from hanaper.bench.measure import require_success
from hanaper.refusal import Fault

LOAD = Load(10, 4, 5)
NO_ERRORS = {"connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 0}
SEEN = Seen(100, 5_000_000, 1, 2, 3, 4, NO_ERRORS, 0.1)


@pytest.mark.parametrize("batches", [100, 102, 104])
def test_requests_under_way_at_the_end_may_be_stored_or_not(batches: int) -> None:
    require_success(LOAD, SEEN, Stored(batches * 10, batches))


@pytest.mark.parametrize(
    ("license_keys", "batches"),
    [(990, 99), (1050, 105), (1001, 100), (999, 100), (0, 0)],
    ids=["lost", "too many", "one key more", "half a batch", "nothing"],
)
def test_a_database_that_has_something_else_fails_the_run(license_keys: int, batches: int) -> None:
    with pytest.raises(Fault, match="100 answers of 10 license keys, but"):
        require_success(LOAD, SEEN, Stored(license_keys, batches))


@pytest.mark.parametrize("kind", NO_ERRORS)
def test_one_error_of_any_kind_fails_the_run(kind: str) -> None:
    with pytest.raises(Fault, match=f"errors by kind: 1 {kind}"):
        require_success(LOAD, replace(SEEN, errors=NO_ERRORS | {kind: 1}), Stored(1000, 100))


def test_no_answer_at_all_fails_the_run() -> None:
    with pytest.raises(Fault, match="no answer at all"):
        require_success(LOAD, replace(SEEN, answers=0), Stored(0, 0))
