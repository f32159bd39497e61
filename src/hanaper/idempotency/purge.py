"""Deleting old idempotency records while the server runs, a few at a time."""

from threading import Event, Thread

from hanaper import log
from hanaper.idempotency import store
from hanaper.refusal import Unavailable
from hanaper.storage.transactions import Storage

LOOK_EVERY_S = 600.0
PAUSE_S = 0.05
"""After each few, so that requests go in between."""

_logger = log.get(__name__)


class Purger:
    """Looks every ten minutes for records that have been kept long enough."""

    def __init__(self, storage: Storage, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._storage = storage
        self._look_every_s = look_every_s
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="hanaper-purger", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking, and wait for the few that are being deleted."""
        self._stopped.set()
        self._thread.join()

    def purge(self) -> int:
        """Delete all records that have been kept long enough; how many.

        Raises:
            Unavailable: the database does not answer.
        """
        purged = 0
        # A read first: a write, even of nothing, costs a sync of the disk.
        while self._storage.read(store.has_expired):
            some = self._storage.write(store.purge)
            purged += some
            # None: another process is at them.
            if some == 0 or self._stopped.wait(PAUSE_S):
                break
        return purged

    def _run(self) -> None:
        while not self._stopped.wait(self._look_every_s):
            try:
                purged = self.purge()
            except Unavailable as error:
                _logger.warning("old idempotency records stay until the database answers", reason=str(error))
            except Exception as error:
                _logger.warning("old idempotency records stay", exc_info=error)
            else:
                if purged:
                    _logger.info("old idempotency records deleted", records=purged)
