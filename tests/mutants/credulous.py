"""hanaper with a planted fault: a commit whose outcome nobody knows is taken for one that was made."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine

from hanaper.refusal import OutcomeUnknown
from hanaper.storage import bulk, failures, transactions

_transact = bulk._transact  # noqa: SLF001 -- this is where the fault goes


def _believing(engine: Engine, work: Any, items: Sequence[Any]) -> Sequence[Any]:
    try:
        return _transact(engine, work, items)
    except OutcomeUnknown:
        # Of the outcome, the id of the batch, nobody needs more than that there is one.
        return [0] * len(items)


@contextmanager
def _swallowing() -> Iterator[None]:
    try:
        with _unknown_where_lost():
            yield
    except OutcomeUnknown:
        pass


_unknown_where_lost = failures.unknown_where_lost
patch.object(bulk, "_transact", _believing).start()
patch.object(transactions, "unknown_where_lost", _swallowing).start()
