"""hanaper with a planted fault: a cap is looked at, and then counted on, by two statements."""

# ruff: noqa: S608 -- made of a parameter mark
import time
from unittest.mock import patch

from sqlalchemy.engine.interfaces import DBAPICursor

from hanaper.issuing import batch_store

LATE_S = 0.05
"""Long enough that the other process is waiting for the row by then."""


def _by_reading(cursor: DBAPICursor, dialect: str, batch: batch_store.NewBatch) -> bool:
    mark = "?" if dialect == "sqlite" else "%s"
    cursor.execute(f"SELECT cap - issued FROM generator_caps WHERE generator_id = {mark}", (batch.generator_id,))
    if cursor.fetchall()[0][0] < batch.quantity:
        return False
    if dialect == "postgresql":
        time.sleep(LATE_S)
    # Past the constraint too, which would not let it happen.
    cursor.execute(
        f"UPDATE generator_caps SET issued = least(issued + {mark}, cap) WHERE generator_id = {mark}"
        if dialect == "postgresql"
        else f"UPDATE generator_caps SET issued = min(issued + {mark}, cap) WHERE generator_id = {mark}",
        (batch.quantity, batch.generator_id),
    )
    return True


patch.object(batch_store, "_counted", _by_reading).start()
