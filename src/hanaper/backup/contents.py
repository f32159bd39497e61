"""What a backup has to have before it is restored."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hanaper.keystore import pepper
from hanaper.keystore.keys import Keystore
from hanaper.keystore.models import SigningKey, WrappedSecret
from hanaper.refusal import Misconfigured
from hanaper.storage import schema

REASON = "a backup made by `hanaper backup`"
"""Of the quarantine that a backup of SQLite is in from the beginning."""

FIRST_REVISION = "0004"
"""The first schema with a quarantine."""

FIRST_WITH_TOKENS = "0007"
"""The first schema in which signing keys may be in a token."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is looked at.

    Attributes:
        revision: of the schema.
        signing_keys: those that sign.
        pepper: the secret for API keys.
        as_of: everything that was stored before is in the backup.
    """

    revision: str
    signing_keys: Sequence[SigningKey]
    pepper: WrappedSecret | None
    as_of: datetime

    def require_keys(self, keystore: Keystore) -> None:
        """Open every key that can be in a backup. Where the settings name a token, those in it as well.

        Without a token one restores who has lost it: `hanaper signing-key rotate` puts other keys in their place.

        Raises:
            Misconfigured: the key encryption key is another, or a key is damaged, or not in the token.
            Unavailable: the token does not answer.
        """
        pepper.opened(self.pepper, keystore.encryption)
        for row in self.signing_keys:
            if row.token is None or keystore.token is not None:
                keystore.open(row)


def knows_tokens(revision: str) -> bool:
    """Whether signing keys may be in a token, by a schema."""
    return schema.is_since(revision, FIRST_WITH_TOKENS)


def require_known(revision: str | None, shown: str) -> None:
    """Make sure that a schema is one that can be backed up and restored.

    Args:
        shown: what has it, for people.

    Raises:
        Misconfigured: it is newer than this hanaper, or older than backups, or missing.
    """
    known = schema.revisions()
    if revision is None:
        raise Misconfigured(f"{shown} has no hanaper schema: there is nothing to back up")
    if revision not in known:
        raise Misconfigured(
            f"{shown} has schema {revision}, which is newer than this hanaper: install the newer release"
        )
    if known.index(revision) < known.index(FIRST_REVISION):
        raise Misconfigured(
            f"{shown} has schema {revision}, which is older than this command: stop the server and copy the file of "
            "the database, or use pg_dump; then run `hanaper db upgrade`"
        )
