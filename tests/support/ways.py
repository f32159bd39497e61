"""The way that code takes, line by line, and whether times tell two ways apart (reliability.md T34)."""

import math
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import fmean, quantiles, variance
from types import FrameType
from typing import Any

import hanaper

NOTICEABLE = 4.5
"""Of Welch's t: beyond it two classes are told apart by their times, as tests of this kind take it."""

_OURS = (str(Path(hanaper.__file__).parent), str(Path(__file__).parents[1]))


async def way(work: Callable[[], Awaitable[object]]) -> list[tuple[str, int]]:
    """Every line of hanaper and of its tests that is gone through, by function and number, in order, each time it is.

    A loop that ends sooner or later makes another way, also within one line. What runs in other threads is not seen.
    """
    lines: list[tuple[str, int]] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        if event == "line":
            lines.append((frame.f_code.co_qualname, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        await work()
    finally:
        sys.settrace(before)
    return lines


def welch(first: Sequence[int], second: Sequence[int]) -> float:
    """Welch's t. What took longer than 99 % of both classes together is left out: that was somebody else's work."""
    longest = quantiles([*first, *second], n=100)[-1]
    one, other = ([took for took in times if took <= longest] for times in (first, second))
    return (fmean(one) - fmean(other)) / math.sqrt(variance(one) / len(one) + variance(other) / len(other))
