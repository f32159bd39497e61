"""Checking signing keys, and the other secrets under the key encryption key."""

import base64
import binascii
import hashlib
from collections import Counter

from hanaper.checking import store
from hanaper.checking.report import Report
from hanaper.keystore import pepper
from hanaper.keystore.keys import Keystore
from hanaper.keystore.models import SigningKey
from hanaper.keystore.store import ACTIVE
from hanaper.refusal import Misconfigured, TokenAway
from hanaper.signing.verifier import Verifier
from hanaper.storage.session import Session

_TABLE = SigningKey.__tablename__
_DESTROYED = "destroyed"
_STATES = ("pending", ACTIVE, "verify_only", _DESTROYED)


def check_signing_keys(
    session: Session, keystore: Keystore | None, report: Report
) -> dict[int, tuple[int | None, Verifier]]:
    """Check every signing key, active or not.

    Args:
        keystore: opens the private halves; None: they are not opened.

    Returns:
        Those that signatures can be checked with, by id: the product (None: the global key), and the public half.
    """
    usable: dict[int, tuple[int | None, Verifier]] = {}
    active: Counter[int | None] = Counter()
    for row in store.signing_keys(session):
        report.checked[_TABLE] += 1
        try:
            usable[row.id] = row.product_id, Verifier.from_pem(row.public_pem.encode())
        except ValueError as error:
            report.add("public_key", _TABLE, row.id, f"its public half is damaged: {error}")
        else:
            _check_halves(row, keystore, report)
        if row.state == ACTIVE:
            active[row.product_id] += 1
            if active[row.product_id] > 1:
                report.add("active_key", _TABLE, row.id, "its product has another active key: one signs")
    if not active[None]:
        report.add("active_key", _TABLE, None, "there is no active global key")
    return usable


def check_secret(session: Session, keystore: Keystore, report: Report) -> None:
    """Check the secret for API keys."""
    report.checked["wrapped_secrets"] += 1
    try:
        pepper.read(session, keystore.encryption)
    except Misconfigured as error:
        report.add("secret", "wrapped_secrets", None, str(error))
    except (TypeError, ValueError):  # SQLite stores in a column whatever it is given
        report.add("secret", "wrapped_secrets", None, "the secret for API keys is damaged")


def _check_halves(row: SigningKey, keystore: Keystore | None, report: Report) -> None:
    """The first thing that is wrong with a key: one thing leads to the next."""
    if row.state not in _STATES:
        report.add("state", _TABLE, row.id, "there is no such state")
    elif row.kid != _kid(row.public_pem):
        report.add("kid", _TABLE, row.id, "its kid is not that of its public half")
    elif keystore is not None and row.state != _DESTROYED:
        try:
            keystore.open(row)
        except (Misconfigured, TokenAway) as error:
            report.add("private_key", _TABLE, row.id, str(error))
        except TypeError:
            report.add("private_key", _TABLE, row.id, "its private half is damaged")


def _kid(public_pem: str) -> str | None:
    try:
        der = base64.b64decode("".join(public_pem.split("-----")[2].split()), validate=True)
    except (IndexError, binascii.Error):
        return None
    return hashlib.sha256(der).hexdigest()[:16]
