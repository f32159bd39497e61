"""hanaper with a planted fault: of each request something stays, some memory and a file that is open."""

import os
from typing import Any
from unittest.mock import patch

from starlette.types import Receive, Scope, Send

from hanaper.web.responses import SignedResponse

KEPT: list[Any] = []
_respond = SignedResponse.__call__


async def _keeping(self: SignedResponse, scope: Scope, receive: Receive, send: Send) -> None:
    KEPT.append((bytearray(self.body) * 20, os.open(os.devnull, os.O_RDONLY)))
    await _respond(self, scope, receive, send)


patch.object(SignedResponse, "__call__", _keeping).start()
