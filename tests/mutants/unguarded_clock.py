"""hanaper with a planted fault: it believes the clock of its machine, whatever that says."""

from datetime import datetime
from unittest.mock import patch

from hanaper import clock


def _believing(_: clock.GuardedClock) -> datetime:
    return clock.utc_now()


patch.object(clock.GuardedClock, "__call__", _believing).start()
