"""hanaper with a planted fault: batches are committed first, and then their idempotency records."""

import dataclasses
import time
from collections.abc import Sequence
from unittest.mock import patch

from sqlalchemy.engine.interfaces import DBAPICursor

from hanaper.issuing import batch_store

LATE_S = 0.1
_record = batch_store.record
_RECORD = """
    INSERT INTO idempotency_records (scope, api_key_id, endpoint, fingerprint, request_id, code, signing_key_id, body,
        created_at)
    VALUES (?, ?, ?, ?, ?, 815, ?, ?, ?) ON CONFLICT DO NOTHING
"""


def _late(
    cursor: DBAPICursor, dialect: str, batches: Sequence[batch_store.NewBatch]
) -> Sequence[int | batch_store.NotKept]:
    kept = _record(cursor, dialect, [dataclasses.replace(batch, keyed=None) for batch in batches])
    if dialect == "sqlite":
        cursor.execute("COMMIT")
    time.sleep(LATE_S)
    if dialect == "sqlite":
        cursor.execute("BEGIN IMMEDIATE")
    statement = _RECORD if dialect == "sqlite" else _RECORD.replace("?", "%s")
    for batch in batches:
        if batch.keyed is not None:
            who = (batch.keyed.scope, batch.keyed.api_key_id, batch.keyed.endpoint, batch.keyed.fingerprint)
            now = f"{batch.created_at:%Y-%m-%d %H:%M:%S.%f}"
            cursor.execute(statement, (*who, batch.request_id, batch.signing_key_id, batch.body, now))
    return kept


patch.object(batch_store, "record", _late).start()
