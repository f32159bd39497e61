"""hanaper that is killed while it rewraps, before the secret whose number DIE_AT_SECRET tells; 0: after the commit."""

import os
import signal
from itertools import count
from unittest.mock import patch

from hanaper.keystore.wrapping import KeyEncryptionKey
from hanaper.storage.transactions import Storage

_AT = int(os.environ["DIE_AT_SECRET"])
_wrap, _write = KeyEncryptionKey.wrap, Storage.write
_numbers = count(1)


def _mortal(self: KeyEncryptionKey, secret: bytes, *, row: str) -> bytes:
    if next(_numbers) == _AT:
        os.kill(os.getpid(), signal.SIGKILL)
    return _wrap(self, secret, row=row)


def _last(self: Storage, work: object) -> object:
    done = _write(self, work)  # type: ignore[arg-type, var-annotated]
    if not _AT:
        os.kill(os.getpid(), signal.SIGKILL)
    return done


patch.object(KeyEncryptionKey, "wrap", _mortal).start()
patch.object(Storage, "write", _last).start()
