"""hanaper with a planted fault: what a process remembers decides; no transaction looks whether it still holds."""

from typing import Any
from unittest.mock import patch

from sqlalchemy.engine.interfaces import DBAPICursor

from hanaper.issuing import batch_store
from hanaper.storage import configuration
from hanaper.storage.configuration import Configuration

_LOOK = "WHERE version = (SELECT version FROM configuration_version)"
_record = batch_store._record_on_sqlite  # noqa: SLF001 -- this is where the fault goes


def _believing(cursor: DBAPICursor, batch: batch_store.NewBatch, _: int) -> Any:
    return _record(cursor, batch, batch.version)


async def _unchanged(*_: object, **__: object) -> bool:
    return False


for _name in ("_POSTGRESQL_PLAIN", "_POSTGRESQL_UNDER_KEYS"):
    _statement = getattr(batch_store, _name)
    assert _LOOK in _statement
    patch.object(batch_store, _name, _statement.replace(_LOOK, "")).start()
patch.object(batch_store, "_record_on_sqlite", _believing).start()
patch.object(Configuration, "changed", _unchanged).start()
patch.object(configuration, "LONGEST_TRUST_S", 60.0).start()
