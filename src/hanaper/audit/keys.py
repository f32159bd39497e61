"""The public keys that checkpoints are compared with."""

from dataclasses import dataclass

from hanaper.audit import store as log
from hanaper.audit.rules import Checkpoint, Cut
from hanaper.keystore import pepper, store
from hanaper.keystore.keys import Keystore, NoToken
from hanaper.refusal import Misconfigured
from hanaper.signing.verifier import Verifier
from hanaper.storage.session import Session


@dataclass(frozen=True, slots=True)
class Verifiers:
    """Global keys, by identifier.

    Attributes:
        proven: those whose private half opens under the key encryption key: nobody could have put them there who has
            the database alone.
        pepper: the installation's secret; None where the log was never pruned.
    """

    known: dict[str, Verifier]
    proven: frozenset[str]
    pepper: bytes | None = None

    def __call__(self, checkpoint: Checkpoint) -> bool:
        """Whether one of the keys has signed a checkpoint."""
        verifier = self.known.get(checkpoint.kid)
        return verifier is not None and verifier.accepts(checkpoint.statement, checkpoint.signature)

    def has_cut(self, cut: Cut) -> bool:
        """Whether the installation itself has pruned the log so far."""
        return self.pepper is not None and cut.is_of(self.pepper)

    def is_destroyed(self, kid: str) -> bool:
        """Whether only the public half of a key is there.

        Anybody could have put it there: what it signed counts where something signed later rests on it.
        """
        return kid in self.known and kid not in self.proven


def verifiers(session: Session, keystore: Keystore) -> Verifiers:
    """The keys that may have signed checkpoints.

    Raises:
        NoToken: one is in a token that the settings do not name.
        Unavailable: one is in a token that does not answer.
        Misconfigured: the log was pruned, and the secret for that cannot be opened.
    """
    known: dict[str, Verifier] = {}
    proven = set()
    for row in store.all_keys(session):
        if row.product_id is not None:
            continue
        try:
            verifier = Verifier.from_pem(row.public_pem.encode())
            if row.state != store.DESTROYED:
                keystore.open(row)
                proven.add(row.kid)
        except NoToken:
            raise
        except (ValueError, TypeError, Misconfigured):
            continue  # `hanaper check-store` tells what is wrong with it.
        known[row.kid] = verifier
    secret = None if log.newest_cut(session) is None else pepper.read(session, keystore.encryption)
    return Verifiers(known, frozenset(proven), secret)


def own_cuts(session: Session, keystore: Keystore) -> list[Cut]:
    """The cuts that this installation has made.

    Raises:
        Misconfigured: the installation's secret cannot be opened.
    """
    secret = pepper.read(session, keystore.encryption)
    return [cut for cut in log.all_cuts(session) if cut.is_of(secret)]
