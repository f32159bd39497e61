"""The clock: it stands in every signed answer."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from hanaper.clock import MOST_APART_S
from hanaper.diagnosis.finding import Finding

MOST_APART = timedelta(seconds=MOST_APART_S)
"""Further apart the server signs nothing."""

APART = timedelta(seconds=5)
_CURE = "set the clock of this machine, and keep it by NTP (chrony, systemd-timesyncd)"


def clock(now: Callable[[], datetime], *, built: datetime, ask: Callable[[], datetime] | None) -> Iterator[Finding]:
    """Whether the clock can be believed.

    Args:
        now: the clock of this machine.
        built: when this release was made: no clock says an earlier time and is right.
        ask: PostgreSQL's clock; None on SQLite, which has none.
    """
    check, before = "clock", now()
    if before < built:
        text = f"the clock says {before:%Y-%m-%d %H:%M:%S} UTC, before this release was made"
        yield Finding.problem(check, text, _CURE)
        return
    if ask is None:
        yield Finding.ok(check, f"it is {before:%Y-%m-%d %H:%M:%S} UTC")
        return
    theirs = ask()
    apart = theirs - (before + (now() - before) / 2)
    way = "behind" if apart > timedelta() else "ahead of"
    text = f"the clock is {abs(apart.total_seconds()):.1f} s {way} PostgreSQL's"
    if abs(apart) > MOST_APART:
        yield Finding.problem(check, text, f"{_CURE}, or that of PostgreSQL's")
    elif abs(apart) > APART:
        yield Finding.warning(check, text, f"{_CURE}, or that of PostgreSQL's")
    else:
        yield Finding.ok(check, text)


def newest_row(now: datetime, newest: datetime | None) -> Iterator[Finding]:
    """Whether something is stored that has not happened yet."""
    check = "newest-row"
    if newest is not None and newest - now > MOST_APART:
        yield Finding.problem(
            check,
            f"what was stored last is of {newest:%Y-%m-%d %H:%M:%S} UTC, and it is {now:%Y-%m-%d %H:%M:%S}: "
            "the clock is wrong, or was",
            _CURE,
        )
    else:
        yield Finding.ok(check, "nothing is stored" if newest is None else f"{newest:%Y-%m-%d %H:%M:%S} UTC")
