"""How much of a budget is left (decision 0022).

What is taken is counted by the second, and a second counts for a little more than a minute: so that no minute sees more
than the budget, wherever it begins, although what a process has leased may be used up to two seconds later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

WINDOW_S = 60
LEASE_S = 2
SECONDS = WINDOW_S + LEASE_S + 1
"""That are counted. The last one is still going on."""


@dataclass(frozen=True, slots=True)
class Window:
    """What has been taken of one budget.

    Attributes:
        second: the newest that is counted.
        used: by the second, the newest last; `SECONDS` of them.
    """

    second: int
    used: tuple[int, ...] = (0,) * SECONDS


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants of a budget.

    Attributes:
        least: he can do nothing with less.
        wanted: he can use, not less than that.
        most: the whole budget.
        back: he has not used, of what he got before: that is given back first.
        back_second: in which that is counted.
    """

    subject: bytes
    least: int
    wanted: int
    most: int
    back: int = 0
    back_second: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What he gets.

    Attributes:
        amount: 0 for nothing.
        second: in which it is counted.
        wait_s: where it is nothing: after so many seconds there is enough.
    """

    amount: int
    second: int
    wait_s: int = 0


def take(window: Window | None, second: int, ask: Ask) -> tuple[Window, Grant]:
    """Take of a budget.

    Args:
        window: what has been taken; None where nothing is known of.
        second: that is going on.
    """
    now = given_back(moved(window, second), ask.back_second, ask.back)
    amount = granted(sum(now.used), ask)
    taken = replace(now, used=(*now.used[:-1], now.used[-1] + amount))
    return taken, Grant(amount, now.second, 0 if amount else wait_s(now.used, ask.least, ask.most))


def moved(window: Window | None, second: int) -> Window:
    """The same window seen from another second.

    A clock that goes back a little is waited for. One that says something else altogether begins anew.
    """
    if window is None or not -SECONDS < second - window.second < SECONDS:
        return Window(second)
    passed = second - window.second
    if passed <= 0:
        return window
    return Window(second, window.used[passed:] + (0,) * passed)


def granted(used: int, ask: Ask) -> int:
    """How much of what is wanted there is.

    What is more than the whole budget can be had where nothing has been taken for a minute: otherwise it never could.
    """
    if used == 0:
        return max(ask.least, min(ask.wanted, ask.most))
    if used + ask.least <= ask.most:
        return min(ask.wanted, ask.most - used)
    return 0


def wait_s(used: Sequence[int], least: int, most: int) -> int:
    """Seconds until there is enough, if nobody takes anything meanwhile.

    Args:
        used: by the second, the newest last.
    """
    left = sum(used)
    for passed, amount in enumerate(used, 1):
        left -= amount
        if left == 0 or left + least <= most:
            return passed
    return 1


def given_back(window: Window, second: int, amount: int) -> Window:
    """The same window without some that was taken in a second and not used; no longer where that is not counted."""
    place = SECONDS - 1 - (window.second - second)
    if not 0 <= place < SECONDS:
        return window
    used = (*window.used[:place], max(window.used[place] - amount, 0), *window.used[place + 1 :])
    return replace(window, used=used)
