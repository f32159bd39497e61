"""How a serving process ends (decision 0014)."""

import asyncio
import signal
import socket
import threading
from types import FrameType

from hanaper import log
from hanaper.web.turn_away import turn_away

LAST_CALL_S = 0.5
"""After the door is closed, for those inside to say what they want."""
UNLED_S = 2.0
"""A worker waits so much longer by itself: it is the supervisor who closes the port, and tells it to stop."""
STOP_NOW = signal.SIGUSR1
"""What the supervisor tells its workers. SIGINT would be a second one for them where a terminal has sent the first."""

_logger = log.get(__name__)


class Drain:
    """SIGTERM does not stop a process at once.

    First it says that it will stop (`/readyz`, and `Connection: close` in every answer) and goes on serving for a
    while, so that proxies find somebody else; then it stops accepting connections, finishes what is under way, and
    ends. A further SIGTERM changes nothing; an interrupt cuts the while short.

    Attributes:
        begun: whether this process is about to stop.
    """

    def __init__(self, delay_s: float) -> None:
        """Go on for now.

        Args:
            delay_s: how long the process goes on after SIGTERM; 0 for not at all.
        """
        self.begun = False
        self._delay_s = delay_s

    def follow_signals(self, listener: socket.socket | None) -> None:
        """Take the signals over from the HTTP server, which is told when it is time to stop.

        To be called on the running event loop. Where that is not in the main thread, or the server has nothing to do
        when a signal comes, nothing is taken over.

        Args:
            listener: of a process that serves alone; None for a worker.
        """
        loop = asyncio.get_running_loop()
        terminate, interrupt = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not (
            callable(terminate) and callable(interrupt)
        ):
            return

        def stop_now(number: int, frame: FrameType | None) -> None:
            self.begun = True
            if number == signal.SIGINT:
                interrupt(number, frame)
            else:
                terminate(signal.SIGTERM, frame)

        def last_call() -> None:
            if listener is not None:
                turn_away(listener)
            loop.call_later(LAST_CALL_S, stop_now, signal.SIGTERM, None)

        def begin() -> None:
            _logger.info("asked to stop", serving_for_s=self._delay_s)
            loop.call_later(self._delay_s + (UNLED_S if listener is None else 0), last_call)

        def drain(number: int, frame: FrameType | None) -> None:
            if not self._delay_s:
                stop_now(number, frame)
            elif not self.begun:
                self.begun = True
                loop.call_soon_threadsafe(begin)

        signal.signal(signal.SIGTERM, drain)
        signal.signal(signal.SIGINT, stop_now)
        signal.signal(STOP_NOW, stop_now)
