"""hanaper with a planted fault: a batch is committed first, and then what it was answered."""

import asyncio
import dataclasses
import importlib
from unittest.mock import patch

from sqlalchemy import func

from hanaper.idempotency.models import IdempotencyRecord
from hanaper.issuing import batch_store
from hanaper.storage.transactions import Storage

# It finds the fault: without it a crash would have to hit the moment in between.
importlib.import_module("dies_after_commit")
_keep = batch_store.keep


async def _late(storage: Storage, batch: batch_store.NewBatch) -> int:
    batch_id = await _keep(storage, dataclasses.replace(batch, keyed=None, body=None))
    asked = batch.keyed
    if asked is not None:
        record = IdempotencyRecord(
            scope=asked.scope,
            api_key_id=asked.api_key_id,
            endpoint=asked.endpoint,
            fingerprint=asked.fingerprint,
            request_id=asked.request_id,
            code=815,
            signing_key_id=batch.signing_key_id,
            body=batch.body,
            created_at=func.now(),
        )
        await asyncio.to_thread(storage.write, lambda session: session.add(record))
    return batch_id


patch.object(batch_store, "keep", _late).start()
