"""Delivering calls while the server runs, from a thread of its own: no request waits for somebody else's server."""

import time
from threading import Event, Thread

from hanaper import log
from hanaper.clock import ClockWrong
from hanaper.outbound.deliver import Deliverer
from hanaper.refusal import Unavailable

LOOK_EVERY_S = 3.0
PURGE_EVERY_S = 3600.0
GRACE_S = 2.0
_logger = log.get(__name__)


class Background:
    """Looks every few seconds for calls that are due."""

    def __init__(self, deliverer: Deliverer, *, look_every_s: float = LOOK_EVERY_S) -> None:
        self._deliverer = deliverer
        self._look_every_s = look_every_s
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="hanaper-deliverer", daemon=True)
        self._purge_at = time.monotonic()
        self._well = True

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking.

        Calls that are being made get a moment to end. Those that do not are made again, by whoever looks when their
        lease is over.
        """
        self._stopped.set()
        self._deliverer.stop()
        self._thread.join(GRACE_S)
        self._deliverer.abandon()

    def _run(self) -> None:
        while not self._stopped.wait(self._look_every_s):
            try:
                self._look()
            except (Unavailable, ClockWrong) as error:
                self._not_well(reason=str(error))
            except Exception as error:  # noqa: BLE001 -- the next look may do better
                self._not_well(exc_info=error)
            else:
                self._well = True

    def _look(self) -> None:
        self._deliverer.deliver_due()
        self._deliverer.tell_waiting()
        if time.monotonic() >= self._purge_at:
            self._deliverer.purge()
            self._purge_at = time.monotonic() + PURGE_EVERY_S

    def _not_well(self, **details: object) -> None:
        """Say it once, not every few seconds."""
        if self._well and not self._stopped.is_set():
            _logger.warning("outgoing calls wait until this has passed", **details)
        self._well = False
