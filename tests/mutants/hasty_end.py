"""hanaper with a planted fault: when it stops it closes its storage without waiting for what is under way."""

import importlib
from unittest.mock import patch

import uvicorn

importlib.import_module("late_answers")


async def _hasty(_: uvicorn.Server) -> None:
    return


patch.object(uvicorn.Server, "_wait_tasks_to_complete", _hasty).start()
