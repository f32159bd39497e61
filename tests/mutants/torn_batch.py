"""hanaper with a planted fault: a batch is committed first, and then its license keys."""

import dataclasses
import json
import time
from collections.abc import Sequence
from unittest.mock import patch

from sqlalchemy.engine.interfaces import DBAPICursor

from hanaper.issuing import batch_store

LATE_S = 0.1
_record = batch_store.record
_LICENSE_KEY = """
    INSERT INTO license_keys (license_key, product_id, generator_id, batch_id, source, activation_limit, validity,
        status, created_at, updated_at)
    VALUES (?, ?, ?, ?, 'generator', ?, ?, 'available', ?, ?)
"""


def _torn(
    cursor: DBAPICursor, dialect: str, batches: Sequence[batch_store.NewBatch]
) -> Sequence[int | batch_store.NotKept]:
    empty = [dataclasses.replace(batch, payload=b'{"licenseKeys":[]}') for batch in batches]
    ids = _record(cursor, dialect, empty)
    if dialect == "sqlite":
        cursor.execute("COMMIT")
    time.sleep(LATE_S)
    if dialect == "sqlite":
        cursor.execute("BEGIN IMMEDIATE")
    statement = _LICENSE_KEY if dialect == "sqlite" else _LICENSE_KEY.replace("?", "%s")
    for batch, batch_id in zip(batches, ids, strict=True):
        now = f"{batch.created_at:%Y-%m-%d %H:%M:%S.%f}"
        terms = (batch.product_id, batch.generator_id, batch_id, batch.activation_limit, batch.validity, now, now)
        cursor.executemany(statement, [(key, *terms) for key in json.loads(batch.payload)["licenseKeys"]])
    return ids


patch.object(batch_store, "record", _torn).start()
