"""Not a fault but an end: the process is killed where it is about to call a function, as if by SIGKILL from outside.

DIES_AT names the function, as `module:name`; with a `+` behind it, it has returned by then.
"""

import importlib
import os
import signal
from typing import Any
from unittest.mock import patch

_where = os.environ["DIES_AT"]
_module, _, _name = _where.rstrip("+").partition(":")
_owner = importlib.import_module(_module)
for _part in _name.split(".")[:-1]:
    _owner = getattr(_owner, _part)
_last = _name.split(".")[-1]
_called = getattr(_owner, _last)


def _die(*arguments: Any, **named: Any) -> None:
    if _where.endswith("+"):
        _called(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)


patch.object(_owner, _last, _die).start()
