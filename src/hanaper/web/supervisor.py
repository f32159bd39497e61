"""The supervisor of several serving processes."""

import os
import signal
import socket
import time
from contextlib import suppress

import uvicorn
from uvicorn.supervisors import Multiprocess

from hanaper import log
from hanaper.web.drain import LAST_CALL_S, STOP_NOW
from hanaper.web.turn_away import turn_away

_LOOK_S = 0.05
_logger = log.get(__name__)


class Supervisor(Multiprocess):
    """uvicorn's, with an end of its own: workers share one port, so it is closed for all of them at once."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, delay_s: float) -> None:
        """Set the signal handlers; workers are started by `run`.

        Args:
            config: of the workers.
            listener: they share it.
            delay_s: how long they go on serving after SIGTERM; 0 for not at all.
        """
        super().__init__(config, sockets=[listener])
        self._listener = listener
        self._delay_s = delay_s
        self._drains = False

    def keep_subprocess_alive(self) -> None:
        """Put another worker in the place of each that has ended or hangs: that is worth more than a line of info."""
        before = list(self.processes)
        super().keep_subprocess_alive()
        for worker, now in zip(before, self.processes, strict=True):
            if worker is not now:
                # Below 0 the signal that ended it, as in -9.
                _logger.warning(
                    "a serving process has ended, another one is started", pid=worker.pid, exit_status=worker.exitcode
                )

    def handle_term(self) -> None:
        """SIGTERM came."""
        super().handle_term()
        self._drains = self._delay_s > 0

    def terminate_all(self) -> None:
        """Let all workers end; the base class waits for them afterwards."""
        if self._drains:
            self._tell_all(signal.SIGTERM)
            self._wait()
            turn_away(self._listener)
            time.sleep(LAST_CALL_S)
        # Not before: as long as one process has the socket, those who come are not refused.
        self._listener.close()
        self._tell_all(STOP_NOW)

    def _wait(self) -> None:
        end = time.monotonic() + self._delay_s
        while time.monotonic() < end and signal.SIGINT not in self.signal_queue:
            time.sleep(_LOOK_S)

    def _tell_all(self, number: int) -> None:
        for worker in self.processes:
            if worker.pid is not None and worker.exitcode is None:
                # It may end in this moment.
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, number)
