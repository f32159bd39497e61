"""hanaper that dies at a statement: the one with the number in DIES_AT, from 1; with 0 it counts them only.

With COMMITS what came before that statement is committed: the fault of a migration that commits in its midst.
"""

import atexit
import os
import signal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

DIES_AT = int(os.environ["DIES_AT"])
COUNTED = Path(os.environ["COUNTED"])
count = 0


@event.listens_for(Engine, "before_cursor_execute")
def _look(connection: Any, *_: Any) -> None:
    global count  # noqa: PLW0603 -- of this process
    count += 1
    if count == DIES_AT:
        if "COMMITS" in os.environ:
            connection.connection.driver_connection.commit()
        os.kill(os.getpid(), signal.SIGKILL)


atexit.register(lambda: COUNTED.write_text(str(count)))
