"""The secret that digests of API keys are keyed with.

It is a secret of its own, not derived from the key encryption key, so that the latter can be exchanged.
"""

import os
from datetime import datetime

from hanaper.keystore import store
from hanaper.keystore.encryption import Encryption
from hanaper.keystore.models import WrappedSecret
from hanaper.refusal import Misconfigured
from hanaper.storage.session import Session

NAME = "api-key-pepper"
_BYTES = 32


def make(session: Session, encryption: Encryption, *, now: datetime) -> None:
    """Make the secret, if there is none yet."""
    if store.secret(session, NAME) is None:
        ciphertext = encryption.wrap(os.urandom(_BYTES), row=NAME)
        store.add_secret(
            session, WrappedSecret(name=NAME, ciphertext=ciphertext, kek_id=encryption.kek_id, created_at=now)
        )


def read(session: Session, encryption: Encryption) -> bytes:
    """The secret.

    Raises:
        Misconfigured: missing, sealed with another key encryption key, or damaged.
    """
    return opened(store.secret(session, NAME), encryption)


def opened(row: WrappedSecret | None, encryption: Encryption) -> bytes:
    """Decrypt the secret.

    Raises:
        Misconfigured: missing, sealed with another key encryption key, or damaged.
    """
    if row is None:
        raise Misconfigured("the database has no secret for API keys: run `hanaper init`")
    return encryption.unwrap(row.kek_id, row.ciphertext, row=NAME, what="the secret for API keys")
