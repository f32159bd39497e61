"""The time of day, in one place so that tests can set it, and the guard over it (decision 0014)."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import TypeAlias

from hanaper import RELEASED, log

MOST_BACK_S = 5.0
"""By which the clock may go back: until it has caught up, the last time stands still."""
MOST_APART_S = 60.0
"""By which the clock may jump ahead, or differ from the database's, without being asked about it."""
NOTICED_S = 1.0
LONGEST_READING_S = 0.1
LONGEST_QUESTION_S = 10.0
"""An answer about the time that took longer says too little about it."""

Clock: TypeAlias = Callable[[], datetime]
"""Returns the present moment, aware, in UTC."""

_logger = log.get(__name__)


class ClockWrong(Exception):
    """The clock of this machine is wrong, or may be. The text says how. Nothing may be signed with such a time."""


def utc_now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


class GuardedClock:
    """The clock of this machine, compared with the monotonic clock and, on PostgreSQL, with the database's.

    While it is wrong it says nothing. It is right again by itself as soon as what it says is. Any thread may ask it.
    """

    def __init__(
        self,
        *,
        referee: bool,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to watch.

        Args:
            referee: whether there is another clock to compare with, by `compare`. Until that is done, this one says
                nothing.
            wall: Unix seconds.
            monotonic: seconds that only go on, and not while the machine is suspended.
        """
        self._referee = referee
        self._wall = wall
        self._monotonic = monotonic
        self._lock = Lock()
        # What to add to the monotonic clock for the time of day: as last believed, and as the referee has it.
        self._believed = wall() - monotonic()
        self._refereed: float | None = None
        self._highest = -math.inf
        self._fault: str | None = "it has not been compared with another one yet"
        self._told = False

    def __call__(self) -> datetime:
        """The present moment. Never before one that was given already.

        Raises:
            ClockWrong: the clock is wrong.
        """
        # No lock here: of two threads at the same moment neither is before the other.
        moment = self._wall()
        step = moment - self._monotonic() - self._believed
        if self._fault is None and -NOTICED_S < step < NOTICED_S and moment >= self._highest:
            self._highest = moment
            return datetime.fromtimestamp(moment, UTC)
        with self._lock:
            self._judge()
            if self._fault is not None:
                raise ClockWrong(self._fault)
            return datetime.fromtimestamp(self._highest, UTC)

    def compare(self, moment: float, *, asked: float, told: float) -> None:
        """Take note of what the referee's clock says.

        Args:
            moment: in Unix seconds.
            asked: when it was asked, by the monotonic clock.
            told: when the answer was there, by the same.
        """
        if told - asked > LONGEST_QUESTION_S:
            return
        with self._lock:
            if self._fault is None:
                # It may have jumped, and nobody has noticed: what was compared before would count no more, this does.
                self._judge()
            self._refereed = moment - (asked + told) / 2
            self._judge()

    def _judge(self) -> None:
        """Look closely at what the clock says, and say so once where that changes."""
        moment, now = self._read()
        step = moment - now - self._believed
        if self._fault is None:
            if step < -MOST_BACK_S:
                # So far it has been right, also while nobody asked.
                self._highest = max(self._highest, now + self._believed)
            elif step > MOST_APART_S and self._referee:
                self._refereed = None
            elif step > MOST_APART_S:
                _logger.warning("the clock jumped ahead, and there is no other one to ask", by_s=round(step))
        self._fault = self._fault_of(moment, now)
        if self._fault is None:
            self._believed = moment - now
            self._highest = max(self._highest, moment)
        if self._told != (self._fault is not None):
            self._tell()

    def _fault_of(self, moment: float, now: float) -> str | None:
        if moment < RELEASED.timestamp():
            return f"it says {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}, before this release was made"
        if moment < self._highest - MOST_BACK_S:
            return f"it is {self._highest - moment:.0f} s behind what it said before"
        if not self._referee:
            return None
        if self._refereed is None:
            return "it has not been compared with the database's since the start, or since it jumped ahead"
        apart = moment - now - self._refereed
        if abs(apart) > MOST_APART_S:
            return f"it is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the database's"
        return None

    def _read(self) -> tuple[float, float]:
        """Both clocks at one moment: between two readings a process can be made to wait."""
        while True:
            before = self._monotonic()
            moment = self._wall()
            now = self._monotonic()
            if now - before < LONGEST_READING_S:
                return moment, now

    def _tell(self) -> None:
        self._told = self._fault is not None
        if self._fault is None:
            _logger.warning("the clock is right again")
        else:
            _logger.error(
                "the clock is wrong: nothing is signed",
                reason=self._fault,
                cure="set the clock of this machine; where it is right now and was wrong before, restart hanaper",
            )


def iso_z(moment: datetime) -> str:
    """`2024-02-24T20:54:16.000000Z`, the form of created_at and updated_at on the wire (protocol.md 5.5)."""
    return f"{_in_utc(moment).isoformat('T', 'seconds')}.000000Z"


def iso_z_exact(moment: datetime) -> str:
    """`2024-11-23T19:02:08.829115Z`, the form of assigned_at in 803."""
    return f"{_in_utc(moment).isoformat('T', 'microseconds')}Z"


def plain(moment: datetime) -> str:
    """`2024-02-27 03:05:31`, in UTC: the form of assigned_at and expires_at in 500 and 730."""
    return _in_utc(moment).isoformat(" ", "seconds")


def _in_utc(moment: datetime) -> datetime:
    """Without its zone. `strftime` would write years before 1000 with fewer than four digits."""
    return moment.astimezone(UTC).replace(tzinfo=None)
