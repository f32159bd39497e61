"""hanaper that dies at the worst moment: a request is committed, and its answer has not left.

Once for each time the file is there that DIE_AFTER_COMMIT names.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import local
from typing import Any
from unittest.mock import patch

from hanaper.idempotency import store
from hanaper.storage import bulk, transactions, writer

_file = Path(os.environ["DIE_AFTER_COMMIT"])
_run_bulk, _write, _complete = bulk.run_bulk, transactions.Storage.write, store.complete
_work = local()


def _die() -> None:
    try:
        _file.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _after_the_group(*arguments: Any) -> Any:
    outcomes = _run_bulk(*arguments)
    # A piece of a large order is a group as well; the order is not done with it.
    if arguments[1].__name__ == "record":
        _die()
    return outcomes


def _after_the_transaction(self: transactions.Storage, work: Callable[..., Any]) -> Any:
    completed = []

    def noting(session: Any) -> Any:
        _work.completed = False
        try:
            return work(session)
        finally:
            completed.append(_work.completed)

    result = _write(self, noting)
    if completed[-1]:
        _die()
    return result


def _noted(*arguments: Any) -> None:
    _complete(*arguments)
    _work.completed = True


# Before anything else takes them by their names.
patch.object(writer, "run_bulk", _after_the_group).start()
patch.object(transactions.Storage, "write", _after_the_transaction).start()
patch.object(store, "complete", _noted).start()
