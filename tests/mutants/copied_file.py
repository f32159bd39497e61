"""hanaper with a planted fault: a backup of SQLite is a copy of the file, and nothing more."""

import shutil
from datetime import datetime
from pathlib import Path
from unittest.mock import patch

from hanaper.clock import Clock
from hanaper.storage import sqlite_copy
from hanaper.storage.transactions import Storage


def _copy(storage: Storage, source: Path, target: Path, *, clock: Clock, advance: sqlite_copy.Advance) -> datetime:
    del storage, advance
    shutil.copyfile(source, target)
    return clock()


patch.object(sqlite_copy, "copy", _copy).start()
