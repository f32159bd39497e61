"""`make bench-idempotency`: what it costs to send an idempotency key with each request.

The same load with a header of another name, which nobody reads, and with `Idempotency-Key`, in turns on one server:
short runs side by side, so that whatever else the machine does meets both alike.
"""

from dataclasses import asdict

from sqlalchemy import text

from benchmarks.results import Recorder
from benchmarks.stock import KINDS, Place, Stock
from hanaper.bench.load import Load
from hanaper.bench.measure import Bench, Run
from hanaper.bench.server import serving
from hanaper.cli.progress import progress
from hanaper.refusal import Fault
from hanaper.storage.session import Session

QUANTITY, CONNECTIONS = 10, 64
SECONDS = 3
ROUNDS = 10
HEADERS = {"without": "X-Another-Key-00", "with": "Idempotency-Key"}
"""Of nearly the same length: wrk and the server have the same work with both."""


def measure(rounds: int, stock: Stock, recorder: Recorder, cores: int) -> None:
    """Run the pairs.

    Raises:
        Fault: an answer was wrong, the load had errors, or there are not as many records as answers.
    """
    with progress("Measuring", len(KINDS) * rounds) as advance:
        for kind in KINDS:
            with stock.copy(kind) as place, serving(place.installation, workers=cores, folder=place.folder) as server:
                bench = Bench(server, place.installation, place.storage, place.folder, cores)
                bench.warm_up(Load(QUANTITY, CONNECTIONS, SECONDS))
                for number in range(1, rounds + 1):
                    # The tables grow, so neither may always be the second.
                    order = ("without", "with") if number % 2 else ("with", "without")
                    runs = {name: _run(name, bench, place) for name in order}
                    _record(runs, recorder, kind, number)
                    advance(1)


def _run(name: str, bench: Bench, place: Place) -> Run:
    before = _records(place)
    run = bench.run(Load(QUANTITY, CONNECTIONS, SECONDS, header=HEADERS[name]))
    records = _records(place) - before
    least, most = (run.seen.answers, run.seen.answers + CONNECTIONS) if name == "with" else (0, 0)
    if not least <= records <= most:
        raise Fault(f"{run.seen.answers} answers {name} a key have left {records} records")
    return run


def _records(place: Place) -> int:
    def count(session: Session) -> int:
        found: int = session.scalars(text("SELECT count(*) FROM idempotency_records")).one()
        return found

    return place.storage.read(count)


def _record(runs: dict[str, Run], recorder: Recorder, kind: str, number: int) -> None:
    rates = {name: run.requests_per_s for name, run in runs.items()}
    recorder.write(
        "idempotency",
        database=kind,
        round=number,
        share=rates["with"] / rates["without"],
        requests_per_s=rates,
        server_us={name: run.microseconds["server"] + run.microseconds["database"] for name, run in runs.items()},
        seen={name: asdict(run.seen) for name, run in runs.items()},
    )
