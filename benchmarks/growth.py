"""`make bench-growth`: the same load on tables of different sizes, on both databases."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.meter import USUAL_BITS, Meter, say
from benchmarks.rounds import MAIN
from benchmarks.seed import seed
from benchmarks.stock import KINDS, Kind, Place, Stock
from hanaper.bench import database
from hanaper.bench.load import Load
from hanaper.bench.measure import Bench
from hanaper.bench.server import serving
from hanaper.cli.progress import progress

_WORTH_COPYING = 1_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How often, how long, and at which sizes.

    Attributes:
        sizes: license keys stored, multiples of 100,000.
    """

    rounds: int
    seconds: int
    ceiling_s: int
    sizes: tuple[int, ...]


def measure(plan: Plan, stock: Stock, meter_for: Callable[[Callable[[int], None]], Meter]) -> None:
    """Fill tables of all sizes first, then go round: what changes on the machine meanwhile meets all sizes alike."""
    for kind in KINDS:
        with ExitStack() as stack:
            places = {size: stack.enter_context(stock.copy(kind)) for size in plan.sizes}
            with progress(f"Filling {kind}", sum(plan.sizes)) as advance:
                for size, place in places.items():
                    seed(place.storage, size, advance)
            with progress(f"Measuring {kind}", plan.rounds * len(plan.sizes)) as advance:
                meter = meter_for(advance)
                for number in range(1, plan.rounds + 1):
                    for size, place in places.items():
                        _load(plan, stock, meter, kind, size, place, number)
        say(f"{kind}: done")


def _load(plan: Plan, stock: Stock, meter: Meter, kind: Kind, size: int, filled: Place, number: int) -> None:
    with (
        _at_its_size(stock, filled, size) as place,
        serving(place.installation, workers=meter.cores, folder=place.folder) as server,
    ):
        bench = Bench(server, place.installation, place.storage, place.folder, meter.cores)
        wanted = Load(*MAIN, plan.seconds)
        bench.warm_up(wanted)
        before = database.wal_bytes(place.storage)
        run = meter.load(bench, wanted, bits=USUAL_BITS, server="hanaper", database=kind, size=size, round=number)
        after = database.wal_bytes(place.storage)
        if run is not None and before is not None and after is not None:
            per_key = (after - before) / run.stored.license_keys
            meter.recorder.write("log", database=kind, size=size, round=number, wal_bytes_per_key=per_key)


@contextmanager
def _at_its_size(stock: Stock, filled: Place, size: int) -> Iterator[Place]:
    """A small table grows by a good part in a run, so each run gets a copy; a large one does not."""
    if size > _WORTH_COPYING:
        yield filled
    else:
        with stock.copy_of(filled) as copy:
            yield copy
