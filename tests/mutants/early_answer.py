"""hanaper with a planted fault: who waits for a commit is told of it before it is made."""

import time
from typing import Any
from unittest.mock import patch

from hanaper.storage import bulk, writer
from hanaper.storage.jobs import BulkJob, SingleJob, finish_bulk

LATE_S = 0.1
_in_time = writer.Writer._write  # noqa: SLF001 -- this is where the fault goes


def _early(self: writer.Writer, group: list[SingleJob | BulkJob]) -> None:
    jobs = [job for job in group if isinstance(job, BulkJob)]
    if not jobs:
        _in_time(self, group)
        return
    # Of the outcome, the id of the batch, nobody needs more than that there is one.
    told: list[tuple[BulkJob, Any, BaseException | None]] = [(job, 0, None) for job in jobs]
    finish_bulk(told)
    time.sleep(LATE_S)
    bulk.run_bulk(self._engine, jobs[0].bulk, [job.item for job in jobs])


patch.object(writer.Writer, "_write", _early).start()
