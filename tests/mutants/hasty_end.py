"""hanaper with planted faults: it stops without waiting for requests under way, or for the queue of its writer."""

import importlib
from unittest.mock import patch

import uvicorn

from hanaper.storage import writer

importlib.import_module("late_answers")


async def _do_not_wait(_: uvicorn.Server) -> None:
    return


patch.object(uvicorn.Server, "_wait_tasks_to_complete", _do_not_wait).start()
patch.object(writer.Writer, "close", lambda _: None).start()
