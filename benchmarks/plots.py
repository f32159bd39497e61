"""Plots of docs/performance.md, as SVG that needs nothing from elsewhere."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import pygal  # type: ignore[import-untyped]
from pygal.style import CleanStyle  # type: ignore[import-untyped]

from benchmarks.figures import Lines, loads
from benchmarks.results import matching
from benchmarks.tables import SHOWN

# pygal's hook for its maps, which are not used here, is of a kind that Python 3.11 warns of at each import that fails.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

_CASES = {"1 key, 64": (1, 64), "10 keys, 16": (10, 16), "10 keys, 64": (10, 64), "100 keys, 64": (100, 64)}
_WHO = {"server": "server", "database": "PostgreSQL", "load generator": "wrk", "others": "others", "idle": "idle"}


def draw(full: Lines, growth: Lines) -> dict[str, bytes]:
    """All plots that there are measurements for, by file name."""
    plots = {}
    if matching(full, "load"):
        plots["shares.svg"] = _shares(full)
        plots["processors.svg"] = _processors(full)
    if matching(growth, "load"):
        plots["growth.svg"] = _growth(growth)
    return plots


def _shares(full: Lines) -> bytes:
    series = {
        shown: [_median(run["share_of_ceiling"] for run in loads(full, database, case)) for case in _CASES.values()]
        for database, shown in SHOWN.items()
    }
    chart = _chart(pygal.Bar, "shares", "Share of the RSA ceiling, by license keys and connections", list(_CASES))
    return _rendered(chart, series)


def _processors(full: Lines) -> bytes:
    bars = {"SQLite": loads(full, "sqlite"), "PostgreSQL": loads(full, "postgresql")}
    bars["plain, SQLite"] = loads(full, "sqlite", server="plain")
    series = {
        shown: [_median(run["run"]["microseconds"][who] for run in runs) for runs in bars.values()]
        for who, shown in _WHO.items()
    }
    title = "Microseconds of processor time for a request, 10 license keys, 64 connections"
    return _rendered(_chart(pygal.StackedBar, "processors", title, list(bars)), series)


def _growth(growth: Lines) -> bytes:
    sizes = sorted({line["size"] for line in matching(growth, "load")})
    series = {
        shown: [_median(run["share_of_ceiling"] for run in loads(growth, database, size=size)) for size in sizes]
        for database, shown in SHOWN.items()
    }
    title = "Share of the RSA ceiling, by license keys stored (10 license keys, 64 connections)"
    return _rendered(_chart(pygal.Line, "growth", title, [f"{size:,}" for size in sizes]), series)


def _chart(kind: Any, name: str, title: str, labels: Sequence[str]) -> Any:
    chart = kind(
        title=title,
        x_labels=labels,
        width=900,
        height=420,
        legend_at_bottom=True,
        # No script from elsewhere.
        js=[],
        style=CleanStyle(background="white", plot_background="white"),
        include_x_axis=True,
        print_values=False,
    )
    # Else each drawing of the same figures would differ.
    chart.uuid = name
    return chart


def _rendered(chart: Any, series: Mapping[str, Sequence[float | None]]) -> bytes:
    for name, values in series.items():
        chart.add(name, values)
    drawn: bytes = chart.render()
    return drawn


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return round(median(found), 4) if found else None
