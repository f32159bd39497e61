"""hanaper with a planted fault: what is restored is put in no quarantine."""

from pathlib import Path
from unittest.mock import patch

from hanaper.storage import quarantine, sqlite_copy
from hanaper.storage.configuration import ConfigurationVersion
from hanaper.storage.session import Session


def _lifted(file: Path, *_: object) -> None:
    with sqlite_copy._opened(file) as connection:  # noqa: SLF001 -- this is where the fault goes
        connection.execute("DELETE FROM quarantine")


def _completed(session: Session, *_: object, **__: object) -> None:
    session.add(ConfigurationVersion(id=1, version=1))


patch.object(sqlite_copy, "put_in_quarantine", _lifted).start()
patch.object(quarantine, "enter", _completed).start()
