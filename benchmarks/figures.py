"""Figures out of the lines of a measurement, a value for each round."""

from collections.abc import Sequence
from typing import TypeAlias

from benchmarks.meter import USUAL_BITS
from benchmarks.results import Line, matching
from benchmarks.rounds import LARGE, MAIN

Lines: TypeAlias = Sequence[Line]
LARGEST = 10_000_000


def loads(
    lines: Lines,
    database: str,
    case: tuple[int, int] = MAIN,
    *,
    server: str = "hanaper",
    half: bool = False,
    bits: int = USUAL_BITS,
    **labels: object,
) -> list[Line]:
    """The runs of a case, one for each round."""
    labels |= {"server": server, "database": database, "half_load": half, "bits": bits}
    return matching(lines, "load", quantity=case[0], connections=case[1], **labels)


def ceiling_shares(lines: Lines, database: str, case: tuple[int, int]) -> list[float]:
    """Requests a second, by the ceiling around each run."""
    return [run["share_of_ceiling"] for run in loads(lines, database, case)]


def fastest_bulk(lines: Lines, database: str, connections: int = 1) -> dict[int, float]:
    """License keys a second that the bare driver stored by its fastest way, by round."""
    fastest: dict[int, float] = {}
    for line in matching(lines, "bulk insert", database=database, connections=connections):
        fastest[line["round"]] = max(line["keys_per_s"], fastest.get(line["round"], 0.0))
    return fastest


def bulk_shares(lines: Lines, database: str) -> list[float]:
    """License keys a second over HTTP, by those of the bare driver in the same round."""
    fastest = fastest_bulk(lines, database)
    return [
        run["keys_per_s"] / fastest[run["round"]] for run in loads(lines, database, LARGE) if run["round"] in fastest
    ]


def signing_times(lines: Lines, database: str) -> list[float]:
    """The p99 at half load, in times that one signature takes one core."""
    cores = [line["hardware"]["cores"] for line in lines[:1]]
    return [
        run["run"]["seen"]["p99_us"] / 1e6 * run["ceiling_per_s"] / cores[0]
        for run in loads(lines, database, half=True)
    ]


def worker_memory(lines: Lines) -> list[float]:
    """The largest serving process of each round, in MB resident."""
    largest: dict[int, float] = {}
    for run in matching(lines, "load", server="hanaper"):
        for process in run["run"]["memory"]:
            if process["role"] == "worker":
                largest[run["round"]] = max(process["rss_mb"], largest.get(run["round"], 0.0))
    return list(largest.values())


def times_plain(lines: Lines) -> list[float]:
    """By how much hanaper is faster than the plain baseline in the same round."""
    return _by_round(loads(lines, "sqlite"), loads(lines, "sqlite", server="plain"))


def grown(lines: Lines, database: str, size: int = LARGEST) -> list[float]:
    """Throughput with so many license keys stored, by that with none in the same round."""
    return _by_round(loads(lines, database, size=size), loads(lines, database, size=0))


def _by_round(runs: list[Line], others: list[Line]) -> list[float]:
    """Runs that are minutes apart are compared by their shares of the ceiling of their own moment."""
    shares = {other["round"]: other["share_of_ceiling"] for other in others}
    return [run["share_of_ceiling"] / shares[run["round"]] for run in runs if run["round"] in shares]
