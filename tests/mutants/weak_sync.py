"""hanaper with a planted fault: SQLite is told not to wait for the disk."""

from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, event

from hanaper.storage import sqlite

_prepare = sqlite.prepare


def _weakly(engine: Engine, module: ModuleType, file: Path) -> None:
    _prepare(engine, module, file)

    @event.listens_for(engine, "connect")
    def _weaken(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")


patch.object(sqlite, "prepare", _weakly).start()
