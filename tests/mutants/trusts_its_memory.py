"""hanaper with a planted fault: which key signs is remembered from version to version of the configuration."""

from collections.abc import Callable, Hashable
from typing import Any
from unittest.mock import patch

from hanaper.signing.keyring import Keyring
from hanaper.storage.configuration import Snapshot
from hanaper.storage.session import Session

_remembered: dict[Hashable, Any] = {}
_get = Snapshot.get


async def _at_first_sight(self: Snapshot, name: Hashable, load: Callable[[Session], Any]) -> Any:
    if name not in _remembered:
        found = await _get(self, name, load)
        if found is None:
            return None
        _remembered[name] = found
    return _remembered[name]


patch.object(Snapshot, "get", _at_first_sight).start()
patch.object(Keyring, "use_global", lambda *_: None).start()
