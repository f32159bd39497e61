"""What was asked of hanaper's speed, and what was measured."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import figures
from benchmarks.figures import Lines
from benchmarks.rounds import MAIN
from hanaper.bench.spread import Spread


@dataclass(frozen=True, slots=True)
class Target:
    """One row.

    Attributes:
        least: must be reached; where less is better, must not be passed.
        aim: the same for what is hoped for.
        of: a value for each round, out of the lines of `make bench` and of `make bench-growth`.
    """

    what: str
    least: float
    aim: float
    of: Callable[[Lines, Lines], list[float]]
    less_is_better: bool = False
    digits: int = 2
    unit: str = ""

    def asked(self, value: float) -> str:
        """A limit, for the table."""
        word = "below " if self.less_is_better else ""
        return f"{word}{value:.{0 if value >= 2 else 2}f}{self.unit}"  # noqa: PLR2004 -- whole numbers from there on

    def measured(self, spread: Spread | None) -> str:
        """What was measured, for the table."""
        return "not measured yet" if spread is None else spread.shown(self.digits) + self.unit

    def verdict(self, spread: Spread | None) -> str:
        """By the median."""
        if spread is None:
            return "open"

        def reaches(limit: float) -> bool:
            return spread.median < limit if self.less_is_better else spread.median >= limit

        return "aim reached" if reaches(self.aim) else "reached" if reaches(self.least) else "**missed**"


def spread_of(target: Target, full: Lines, growth: Lines) -> Spread | None:
    """What was measured; None where it was not."""
    values = target.of(full, growth)
    return Spread.of(values) if values else None


def _shares(database: str, case: tuple[int, int]) -> Callable[[Lines, Lines], list[float]]:
    return lambda full, _: figures.ceiling_shares(full, database, case)


TARGETS = (
    Target("10 license keys, 64 connections, SQLite: share of the ceiling", 0.40, 0.60, _shares("sqlite", MAIN)),
    Target("the same at 16 connections", 0.35, 0.50, _shares("sqlite", (10, 16))),
    Target(
        "10 license keys, 64 connections, PostgreSQL on the same machine: share of the ceiling",
        0.35,
        0.50,
        _shares("postgresql", MAIN),
    ),
    Target(
        "1,000 license keys, SQLite: share of the bare driver's bulk insert",
        0.80,
        0.95,
        lambda full, _: figures.bulk_shares(full, "sqlite"),
    ),
    Target(
        "1,000 license keys, PostgreSQL: share of the bare driver's fastest bulk insert",
        0.70,
        0.90,
        lambda full, _: figures.bulk_shares(full, "postgresql"),
    ),
    Target(
        "p99 at half load, 10 license keys, SQLite, in signing times",
        15,
        8,
        lambda full, _: figures.signing_times(full, "sqlite"),
        less_is_better=True,
        digits=1,
    ),
    Target(
        "p99 at half load, 10 license keys, PostgreSQL, in signing times",
        15,
        8,
        lambda full, _: figures.signing_times(full, "postgresql"),
        less_is_better=True,
        digits=1,
    ),
    Target(
        "throughput with 10 million license keys stored, SQLite: share of that with none",
        0.80,
        0.90,
        lambda _, growth: figures.grown(growth, "sqlite"),
    ),
    Target(
        "throughput with 10 million license keys stored, PostgreSQL: share of that with none",
        0.80,
        0.90,
        lambda _, growth: figures.grown(growth, "postgresql"),
    ),
    Target(
        "resident memory of a serving process",
        110,
        80,
        lambda full, _: figures.worker_memory(full),
        less_is_better=True,
        digits=0,
        unit=" MB",
    ),
    Target(
        "times faster than the plain baseline, 10 license keys, 64 connections, SQLite",
        3,
        5,
        lambda full, _: figures.times_plain(full),
        digits=1,
    ),
)
