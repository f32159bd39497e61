"""What several rounds say together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of several measurements, and how far they lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The spread of one or more values.

        Raises:
            ValueError: there are none.
        """
        found = sorted(values)
        if not found:
            raise ValueError("there is nothing to take a median of")
        return cls(median(found), found[0], found[-1])

    def shown(self, digits: int) -> str:
        """For a table: the median, and in brackets the least and the most where they differ from it."""
        middle, least, most = (f"{value:,.{digits}f}" for value in (self.median, self.least, self.most))
        return middle if least == most else f"{middle} ({least} to {most})"


def neighbours(before: float, after: float) -> float:
    """The ceiling of a run: the mean of those measured right before and right after it."""
    return (before + after) / 2


def shares(parts: Sequence[float], wholes: Sequence[float]) -> Spread:
    """Each part by the whole of the same round."""
    return Spread.of(part / whole for part, whole in zip(parts, wholes, strict=True))
