"""Sealing while the server runs, from a thread of its own."""

from threading import Event, Thread

from hanaper import log
from hanaper.audit.seal import Sealer
from hanaper.clock import ClockWrong
from hanaper.refusal import Unavailable

SEAL_EVERY_S = 30.0
SPARED_S = 20.0
"""What another process has sealed so many seconds ago is enough."""

_logger = log.get(__name__)


class Background:
    """Seals every half minute."""

    def __init__(self, sealer: Sealer, *, seal_every_s: float = SEAL_EVERY_S, spared_s: float = SPARED_S) -> None:
        self._sealer = sealer
        self._seal_every_s = seal_every_s
        self._spared_s = spared_s
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="hanaper-sealer", daemon=True)
        self._well = True

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after what is being sealed."""
        self._stopped.set()
        self._sealer.stop()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._seal_every_s):
            try:
                if self._sealer.is_due(self._spared_s):
                    self._sealer.seal()
            except (Unavailable, ClockWrong) as error:
                self._not_well(reason=str(error))
            except Exception as error:  # noqa: BLE001 -- the next time may do better
                self._not_well(exc_info=error)
            else:
                self._well = True

    def _not_well(self, **details: object) -> None:
        """Say it once, not every half minute."""
        if self._well and not self._stopped.is_set():
            _logger.warning("audit rows are not sealed until this has passed", **details)
        self._well = False
