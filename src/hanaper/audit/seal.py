"""Sealing: committed rows are hashed into a chain in order of id, and its end is signed (decision 0021).

Not within each request: that would make all of them queue for the end of the chain. Hashing and signing go before the
transaction that stores them; it lasts as long as storing a thousand hashes, and requests go in between.
"""

from dataclasses import replace
from threading import Event
from time import monotonic

from hanaper import log
from hanaper.audit import rules, store
from hanaper.audit.rules import Checkpoint, Link, Row
from hanaper.clock import Clock
from hanaper.signing.service import SigningService
from hanaper.storage.configuration import Configuration
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

ROWS_AT_ONCE = 1000
PAUSE_S = 0.05
"""After each part, so that requests go in between; and between two looks for transactions that have to end."""

LONGEST_WAIT_S = 5.0
"""For transactions that write rows. They last as long as a commit."""

_logger = log.get(__name__)


class Sealer:
    """Seals the rows of one installation. Of several at work at once one seals, the others come away with nothing."""

    def __init__(
        self,
        storage: Storage,
        configuration: Configuration,
        signing: SigningService,
        clock: Clock,
        *,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        """Seal nothing yet.

        Args:
            storage: of the rows.
            configuration: is told to take notice, so that a key that was retired does not sign.
            signing: signs checkpoints.
            clock: the time of day.
            longest_wait_s: seconds to wait for transactions that write rows.
        """
        self._storage = storage
        self._configuration = configuration
        self._signing = signing
        self._clock = clock
        self._longest_wait_s = longest_wait_s
        self._stopped = Event()

    def stop(self) -> None:
        """Begin no further part."""
        self._stopped.set()

    def is_due(self, every_s: float) -> bool:
        """Whether nobody has sealed anything for so many seconds.

        Raises:
            Unavailable: the database does not answer.
        """
        last = self._storage.read(store.last_checkpoint)
        # Rounded up: moments of sealing are whole seconds. One that is to come was told by a wrong clock.
        return last is None or not 0 <= self._clock().timestamp() - last.signed_at < every_s

    def seal(self) -> int:
        """Seal all rows that were committed before the call; how many were sealed here.

        The checkpoint goes into the log, which belongs on another machine: then it is known of what had been written
        even if rows, links and checkpoints are cut off together.

        Raises:
            Unavailable: the database does not answer.
            ClockWrong: nothing is signed.
        """
        up_to = self._storage.read(self._begin)
        if up_to is None or not self._settled():
            return 0
        sealed, end = 0, None
        while not self._stopped.is_set():
            before, rows = self._storage.read(lambda session: _next(session, up_to))
            if not rows:
                break
            links, checkpoint = self._sealed(before, rows)
            if not self._storage.write(lambda s, b=before, k=links, c=checkpoint: _store(s, b, k, c)):  # type: ignore[misc]  # bound now
                break
            sealed, end = sealed + len(rows), checkpoint
            if len(rows) < ROWS_AT_ONCE or self._stopped.wait(PAUSE_S):
                break
        if end is not None:
            _logger.info("audit checkpoint", rows=end.rows, last_row=end.event_id, checkpoint=end.token)
        return sealed

    def _begin(self, session: Session) -> int | None:
        """The last row to be sealed now; None where there is nothing to do."""
        up_to = store.newest(session)
        if up_to <= store.last_link(session).event_id:
            return None
        self._configuration.take_notice(session)
        return up_to

    def _settled(self) -> bool:
        """Wait for transactions that may have drawn smaller ids than can be seen, and not committed them yet."""
        writers = self._storage.read(store.writers)
        end = monotonic() + self._longest_wait_s
        while writers:
            if monotonic() >= end or self._stopped.wait(PAUSE_S):
                if not self._stopped.is_set():
                    _logger.warning("audit rows wait for a transaction that does not end", transactions=len(writers))
                return False
            writers &= self._storage.read(store.writers)
        return True

    def _sealed(self, before: tuple[Link, Checkpoint | None], rows: list[Row]) -> tuple[list[Link], Checkpoint]:
        link, last = before
        links = []
        for row in rows:
            link = Link(row.id, rules.chained(link.hash, row))
            links.append(link)
        number, so_far = (0, 0) if last is None else (last.number, last.rows)
        signed_at = int(self._clock().timestamp())
        checkpoint = Checkpoint(number + 1, so_far + len(rows), link.event_id, link.hash, signed_at)
        kid, signature = self._signing.attest(checkpoint.statement)
        return links, replace(checkpoint, kid=kid, signature=signature)


def _next(session: Session, up_to: int) -> tuple[tuple[Link, Checkpoint | None], list[Row]]:
    link = store.last_link(session)
    rows = store.rows(session, after=link.event_id, up_to=up_to, limit=ROWS_AT_ONCE)
    return (link, store.last_checkpoint(session)), list(rows)


def _store(session: Session, before: tuple[Link, Checkpoint | None], links: list[Link], checkpoint: Checkpoint) -> bool:
    """Lengthen the chain, if it still ends where it ended."""
    if not store.take_turn(session):
        return False
    if (store.last_link(session), store.last_checkpoint(session)) != before:
        return False
    store.seal(session, links, checkpoint)
    return True
