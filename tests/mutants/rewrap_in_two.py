"""hanaper with a planted fault: it rewraps signing keys and other secrets in two transactions, and dies in between."""

import os
import signal
from unittest.mock import patch

from hanaper.keystore import rewrap, store
from hanaper.keystore.encryption import Encryption
from hanaper.storage.session import Session

_rewrap, _found = rewrap.rewrap, store.wrapped_otherwise


def _keys_first(session: Session, encryption: Encryption) -> int:
    with patch.object(store, "wrapped_otherwise", lambda *arguments: (_found(*arguments)[0], [])):
        _rewrap(session, encryption)
    session.connection().connection.commit()  # past the session, which is in a transaction of its owner
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


patch.object(rewrap, "rewrap", _keys_first).start()
