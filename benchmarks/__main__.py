"""`python -m benchmarks full | quick | growth | replicas | verify | idempotency | report`."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import growth, idempotency, replicas, report, results, rounds, stages, verification
from benchmarks.meter import Meter, say
from benchmarks.postgresql import named_url, running_server
from benchmarks.results import Recorder
from benchmarks.stock import KINDS, Stock
from benchmarks.wheel import openssl_of_wheel
from hanaper import log
from hanaper.bench import database, machine, tools
from hanaper.bench.installation import forget_settings
from hanaper.bench.server import end_on_signals
from hanaper.cli.progress import progress
from hanaper.refusal import Fault
from hanaper.storage.filesystem import IN_MEMORY

REPLICA_ROUNDS = 3
VERIFY_ROUNDS = 3
SCRATCH = Path(__file__).with_name("scratch")
FULL = rounds.Plan(rounds=3, seconds=5, ceiling_s=1)
QUICK = rounds.Plan(rounds=1, seconds=2, ceiling_s=1)
GROWTH = growth.Plan(rounds=3, seconds=5, ceiling_s=1, sizes=(0, 100_000, 1_000_000, 10_000_000))
QUICK_GROWTH = growth.Plan(rounds=1, seconds=2, ceiling_s=1, sizes=(0, 100_000))


def main() -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    measurements = ("full", "quick", "growth", "quick-growth", "replicas", "verify", "idempotency")
    parser.add_argument("what", choices=(*measurements, "report"))
    parser.add_argument("--folder", type=Path, default=SCRATCH, help="for databases, on the disk that is meant")
    parser.add_argument("--rounds", type=int)
    arguments = parser.parse_args()
    try:
        if arguments.what != "report":
            tools.require_all()
            named = named_url()
            forget_settings()
            log.configure("warning", "text")
            end_on_signals()
            failures = _measure(arguments.what, arguments.folder, named, arguments.rounds)
            if failures:
                say(f"{len(failures)} runs have FAILED, their figures are left out:\n" + "\n".join(failures))
                return 1
        if not arguments.what.startswith("quick"):
            report.write()
    except Fault as fault:
        say(f"benchmarks: {fault}")
        return fault.exit_status
    except KeyboardInterrupt:
        return 130
    return 0


def _measure(what: str, folder: Path, named: str | None, wanted_rounds: int | None) -> list[str]:
    with _scratch(folder) as scratch, running_server(scratch / "postgresql", named) as server:
        stock = Stock(scratch, server)
        recorder = Recorder(what, _conditions(stock, scratch))
        _introduce(recorder.conditions["hardware"])
        if what in ("full", "quick"):
            plan = FULL if what == "full" else QUICK
            plan = rounds.Plan(wanted_rounds or plan.rounds, plan.seconds, plan.ceiling_s)
            with progress("Measuring", plan.steps) as advance:
                recorder.write("stages", **stages.measure(stock))
                rounds.measure(plan, stock, _meter(recorder, advance, plan.ceiling_s))
        elif what == "replicas":
            replicas.measure(wanted_rounds or REPLICA_ROUNDS, FULL.seconds, stock, recorder, machine.usable_cores())
        elif what == "verify":
            rounds_ = wanted_rounds or VERIFY_ROUNDS
            verification.measure(rounds_, FULL.seconds, stock, recorder, machine.usable_cores())
        elif what == "idempotency":
            idempotency.measure(wanted_rounds or idempotency.ROUNDS, stock, recorder, machine.usable_cores())
        else:
            wide = GROWTH if what == "growth" else QUICK_GROWTH
            wide = growth.Plan(wanted_rounds or wide.rounds, wide.seconds, wide.ceiling_s, wide.sizes)
            growth.measure(wide, stock, lambda advance: _meter(recorder, advance, wide.ceiling_s))
        say(f"written to benchmarks/results/{recorder.file.name}")
        return recorder.failures


def _meter(recorder: Recorder, advance: Callable[[int], None], ceiling_s: int) -> Meter:
    return Meter(recorder, advance, machine.usable_cores(), ceiling_s)


def _conditions(stock: Stock, scratch: Path) -> dict[str, object]:
    settings = {}
    for kind in KINDS:
        with stock.copy(kind) as place:
            settings[kind] = database.settings(place.storage)
    return {
        "commit": results.commit(),
        "hardware": machine.hardware(scratch),
        "versions": machine.versions() | {"wheel_openssl": openssl_of_wheel()},
        "settings": settings | {"workers": machine.usable_cores()},
    }


def _introduce(hardware: dict[str, object]) -> None:
    say("{processor}, {cores} cores, {memory_gb} GB, databases on {filesystem}".format_map(hardware))
    if hardware["filesystem"] in IN_MEMORY:
        say("WARNING: on that file system a sync is free, and the figures are worth nothing. Use --folder.")


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="measuring-", dir=folder.absolute()))
    # The user that PostgreSQL runs as has to reach its folder.
    scratch.chmod(0o755)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
