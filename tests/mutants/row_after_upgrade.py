"""hanaper with a planted fault: an upgrade is told of in a transaction of its own.

And it dies, as dies_at_statement says.
"""

import importlib
from unittest.mock import patch

from hanaper.storage import migrate
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

importlib.import_module("dies_at_statement")
_upgrade = migrate.upgrade


def _and_then(storage: Storage, revision: str = "head", *, then: migrate.Then) -> None:
    steps: list[str | None] = []

    def noted(_: Session, before: str | None) -> None:
        steps.append(before)

    _upgrade(storage, revision, then=noted)
    for before in steps:
        storage.write(lambda session, from_it=before: then(session, from_it))  # type: ignore[misc]  # bound now


patch.object(migrate, "upgrade", _and_then).start()
