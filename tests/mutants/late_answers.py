"""hanaper with a planted delay, no fault: who waits for a commit is told of it a while after it was made."""

import time
from typing import Any
from unittest.mock import patch

from hanaper.storage import writer
from hanaper.storage.jobs import BulkJob, finish_bulk

LATE_S = 1.0


def _late(outcomes: list[tuple[BulkJob, Any, BaseException | None]]) -> None:
    time.sleep(LATE_S)
    finish_bulk(outcomes)


patch.object(writer, "finish_bulk", _late).start()
