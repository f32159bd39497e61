"""Where pysqlite3 has no wheel, the interpreter's own SQLite serves: older, so with another journal, and as safe."""

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from hanaper.access.authenticate import OPERATOR
from hanaper.app import open_services
from hanaper.clock import utc_now
from hanaper.install import install
from hanaper.issuing.generate import generate
from hanaper.issuing.plan import Order
from hanaper.settings import Settings
from hanaper.storage import sqlite


def test_keys_are_generated_with_the_interpreters_own_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysqlite3.dbapi2", None)
    assert sqlite.library() is sqlite3
    settings = Settings(data_dir=tmp_path / "data")
    install(settings, demo=True, now=utc_now())
    services = open_services(settings)
    keys: list[str] = []

    async def order_some() -> None:
        for _ in range(5):
            batch = await generate(
                Order(1, 10),
                OPERATOR,
                "request",
                await services.configuration.snapshot(),
                storage=services.storage,
                signing=services.signing,
                clock=services.clock,
            )
            keys.extend(batch.license_keys)

    async def order_many() -> None:
        await asyncio.gather(*(order_some() for _ in range(4)))

    asyncio.run(order_many())
    stored, mode, synchronous = services.storage.read(
        lambda session: (
            set(session.scalars(text("SELECT license_key FROM license_keys"))),
            session.scalar(text("PRAGMA journal_mode")),
            session.scalar(text("PRAGMA synchronous")),
        )
    )
    services.storage.close()
    assert len(keys) == 200
    assert stored == set(keys)
    assert mode == sqlite.journal_mode(sqlite3.sqlite_version_info)
    assert synchronous == 2
