"""The rounds of `make bench`: all cases, both databases, the bare driver and the plain baseline, in turns."""

from dataclasses import dataclass
from typing import Any

from benchmarks import bare_driver
from benchmarks.meter import USUAL_BITS, Meter
from benchmarks.plain import plain_serving
from benchmarks.stock import KINDS, Kind, Stock
from hanaper.bench.load import Load, half_load_think_ms
from hanaper.bench.measure import Bench, Run
from hanaper.bench.server import serving

MAIN = (10, 64)
"""Quantity and connections of the case that most targets speak of."""
SMALL = ((10, 16), (1, 64), (100, 64))
LARGE = (1000, 16)
BITS = (USUAL_BITS, 3072, 4096)


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and how long.

    Attributes:
        seconds: of a load, and of a bulk insert.
    """

    rounds: int
    seconds: int
    ceiling_s: int

    @property
    def steps(self) -> int:
        """How many measurements there are, for the progress bar."""
        loads = len(KINDS) * (len(SMALL) + 3)
        bulks = 2 * (1 + 2)
        return self.rounds * (loads + bulks + 1 + (len(BITS) - 1) + len(BITS))


def measure(plan: Plan, stock: Stock, meter: Meter) -> None:
    """Run all rounds."""
    for number in range(1, plan.rounds + 1):
        for kind in KINDS:
            _small(plan, stock, meter, kind, number)
            _large(plan, stock, meter, kind, number)
        _plain(plan, stock, meter, number)
        for bits in BITS[1:]:
            _longer_keys(plan, stock, meter, bits, number)
        for bits in BITS:
            meter.wheel(bits, round=number)


def _small(plan: Plan, stock: Stock, meter: Meter, kind: Kind, number: int) -> None:
    with stock.copy(kind) as place, serving(place.installation, workers=meter.cores, folder=place.folder) as server:
        bench = Bench(server, place.installation, place.storage, place.folder, meter.cores)
        labels: dict[str, Any] = {"server": "hanaper", "database": kind, "round": number}
        full = _load(plan, meter, bench, MAIN, labels)
        if full is not None:
            think_ms = half_load_think_ms(full.requests_per_s, MAIN[1], meter.cores)
            half = Load(*MAIN, plan.seconds, think_ms)
            meter.load(bench, half, bits=USUAL_BITS, full_per_s=full.requests_per_s, **labels)
        for case in SMALL:
            _load(plan, meter, bench, case, labels, warm=False)


def _large(plan: Plan, stock: Stock, meter: Meter, kind: Kind, number: int) -> None:
    """A thousand keys a request, and the bare driver right after it, on copies of the same installation."""
    labels: dict[str, Any] = {"database": kind, "round": number}
    with stock.copy(kind) as place, serving(place.installation, workers=meter.cores, folder=place.folder) as server:
        bench = Bench(server, place.installation, place.storage, place.folder, meter.cores)
        _load(plan, meter, bench, LARGE, {"server": "hanaper", **labels})
        ways = bare_driver.ways(place.storage)
    for connections in (1, 2):
        for way in ways:
            with stock.copy(kind) as place:
                meter.bulk(place.storage, way, connections=connections, seconds=plan.seconds, **labels)


def _plain(plan: Plan, stock: Stock, meter: Meter, number: int) -> None:
    with (
        stock.copy("sqlite") as place,
        plain_serving(place.installation, workers=meter.cores, bits=USUAL_BITS, folder=place.folder) as (server, own),
    ):
        bench = Bench(server, own, place.storage, place.folder, meter.cores)
        _load(plan, meter, bench, MAIN, {"server": "plain", "database": "sqlite", "round": number})


def _longer_keys(plan: Plan, stock: Stock, meter: Meter, bits: int, number: int) -> None:
    with (
        stock.copy("sqlite", bits=bits) as place,
        serving(place.installation, workers=meter.cores, folder=place.folder) as server,
    ):
        bench = Bench(server, place.installation, place.storage, place.folder, meter.cores)
        _load(plan, meter, bench, MAIN, {"server": "hanaper", "database": "sqlite", "round": number}, bits=bits)


def _load(
    plan: Plan,
    meter: Meter,
    bench: Bench,
    case: tuple[int, int],
    labels: dict[str, Any],
    *,
    bits: int = USUAL_BITS,
    warm: bool = True,
) -> Run | None:
    wanted = Load(*case, plan.seconds)
    if warm:
        bench.warm_up(wanted)
    return meter.load(bench, wanted, bits=bits, **labels)
