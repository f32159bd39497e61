"""Installations made once and copied for each measurement, so that all begin with tables of equal size."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from benchmarks.postgresql import PostgresqlServer
from hanaper.bench.installation import Installation, install
from hanaper.storage.transactions import Storage

Kind: TypeAlias = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Place:
    """An installation ready to be measured.

    Attributes:
        folder: for scratch files beside it.
    """

    installation: Installation
    storage: Storage
    folder: Path


class Stock:
    """Templates, and copies of them."""

    def __init__(self, folder: Path, postgresql: PostgresqlServer) -> None:
        self._folder = folder
        self._postgresql = postgresql
        self._templates: dict[tuple[Kind, int], Installation] = {}
        self._copies = 0

    @contextmanager
    def copy(self, kind: Kind, *, bits: int = 2048) -> Iterator[Place]:
        """A new installation with demo data and no license keys; gone after the `with` block."""
        template = self._template(kind, bits)
        self._copies += 1
        folder = self._folder / f"copy-{self._copies}"
        folder.mkdir()
        with self._of(template, folder) as place:
            yield place

    @contextmanager
    def copy_of(self, original: Place) -> Iterator[Place]:
        """A copy of an installation with all that is in it; nothing else may have it open."""
        self._copies += 1
        folder = self._folder / f"copy-{self._copies}"
        folder.mkdir()
        original.storage.engine.dispose()
        with self._of(original.installation, folder) as place:
            yield place

    @contextmanager
    def _of(self, template: Installation, folder: Path) -> Iterator[Place]:
        url = template.environment["HANAPER_DATABASE_URL"]
        own_url = self._postgresql.copy_database(url) if url else ""
        try:
            installation = template.copied(folder / "data", own_url)
            if own_url:
                self._postgresql.checkpoint()
            with Storage.open(installation.settings) as storage:
                yield Place(installation, storage, folder)
        finally:
            if own_url:
                self._postgresql.drop_database(own_url)
            shutil.rmtree(folder)

    def _template(self, kind: Kind, bits: int) -> Installation:
        if (kind, bits) not in self._templates:
            folder = self._folder / f"template-{kind}-{bits}"
            url = self._postgresql.create_database() if kind == "postgresql" else ""
            self._templates[kind, bits] = install(folder, database_url=url, bits=bits)
        return self._templates[kind, bits]
