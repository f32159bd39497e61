"""Have everything encrypted with one key encryption key, when it takes the place of another."""

from hanaper.keystore import store
from hanaper.keystore.encryption import Encryption
from hanaper.storage.session import Session


def rewrap(session: Session, encryption: Encryption) -> int:
    """Encrypt every secret in the database that the other key encryption key has encrypted with this one; how many.

    Raises:
        Misconfigured: one of them cannot be opened.
    """
    kek_id = encryption.kek_id
    keys, secrets = store.wrapped_otherwise(session, kek_id)
    for key in keys:
        # A table that somebody has changed by hand may have neither.
        plain = encryption.unwrap(
            key.kek_id or "", key.private_ciphertext or b"", row=key.binding, what=f"signing key {key.kid}"
        )
        key.private_ciphertext, key.kek_id = encryption.wrap(plain, row=key.binding), kek_id
    for secret in secrets:
        plain = encryption.unwrap(secret.kek_id, secret.ciphertext, row=secret.name, what=f"the secret {secret.name}")
        secret.ciphertext, secret.kek_id = encryption.wrap(plain, row=secret.name), kek_id
    session.flush()
    return len(keys) + len(secrets)
