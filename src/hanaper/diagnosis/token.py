"""The PKCS#11 token, and what lies in it that should not."""

from collections.abc import Iterator, Sequence

from hanaper.diagnosis.finding import Finding
from hanaper.keystore.keys import Keystore
from hanaper.keystore.models import SigningKey
from hanaper.keystore.store import DESTROYED
from hanaper.refusal import Misconfigured, TokenAway
from hanaper.settings import Settings
from hanaper.token.configured import configured

_CHECK = "token"


def token(settings: Settings) -> Iterator[Finding]:
    """Whether the token is there, and takes the PIN; of its file, whether others may read it."""
    try:
        found = configured(settings)
        if found is None:
            yield Finding.ok(_CHECK, "none is named: new signing keys are made in the database")
            return
        found.require()
    except (Misconfigured, TokenAway) as fault:
        yield Finding.fault(
            _CHECK, fault, "see whether it is there, and whether HANAPER_PKCS11_TOKEN names the right one"
        )
        return
    yield Finding.ok(_CHECK, f"token {found.label!r} is there, and takes the PIN")


def left_over(keystore: Keystore, rows: Sequence[SigningKey]) -> Iterator[Finding]:
    """Keys in the token that sign for nobody."""
    if keystore.token is None:
        return
    known = {row.kid: row.state for row in rows if row.token == keystore.token.label}
    try:
        kids = keystore.token.kids()
    except (Misconfigured, TokenAway):
        return  # Told already, by its own check.
    for kid in kids:
        if known.get(kid) == DESTROYED:
            text = f"signing key {kid} is destroyed, and token {keystore.token.label!r} still has it"
            yield Finding.warning(_CHECK, text, f"hanaper signing-key retire {kid}")
        elif kid not in known:
            yield Finding.warning(
                _CHECK,
                f"token {keystore.token.label!r} has a key 'hanaper {kid}' that this database does not know",
                "leave it where another installation, or an older backup, has it; else delete it by the token's tools",
            )
