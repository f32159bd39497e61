"""Puts the newest results into docs/performance.md: what stands between its marks is made here, the rest by hand."""

import re
from pathlib import Path

from benchmarks import costs, plots, results, tables
from benchmarks.figures import Lines
from benchmarks.results import matching
from hanaper.refusal import Fault, Unavailable

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
SCALING = DOCUMENT.with_name("scaling.md")
MEASUREMENTS = ("full", "growth", "replicas", "verify", "idempotency")
_SECTION = re.compile(r"(<!-- measured: (?P<name>[a-z-]+) -->\n).*?(<!-- measured: end -->)", re.DOTALL)


def write(document: Path = DOCUMENT, folder: Path = results.FOLDER) -> None:
    """Fill the document, and draw the plots into a folder beside it.

    Raises:
        Unavailable: nothing has been measured yet.
        Fault: the document has a mark that is not known here.
    """
    found = {name: results.newest(name, folder) for name in MEASUREMENTS}
    if not any(found.values()):
        raise Unavailable("nothing has been measured yet: make bench")
    for file in (document, document.with_name(SCALING.name)):
        if file.exists():
            file.write_text(fill(file.read_text(encoding="utf-8"), **found), encoding="utf-8")
    drawn = document.with_suffix("")
    drawn.mkdir(exist_ok=True)
    for name, plot in plots.draw(found["full"], found["growth"]).items():
        (drawn / name).write_bytes(plot)


def fill(
    text: str, full: Lines, growth: Lines, replicas: Lines = (), verify: Lines = (), idempotency: Lines = ()
) -> str:
    """Put figures between the marks of a document.

    Raises:
        Fault: a mark is not known.
    """
    sections = {
        "targets": tables.targets(full, growth),
        "conditions": tables.conditions(full),
        "throughput": tables.throughput(full),
        "half-load": tables.half_load(full),
        "bulk": tables.bulk(full),
        "key-lengths": tables.key_lengths(full),
        "processors": costs.processors(full),
        "stages": costs.stages(full),
        "processes": costs.processes(full),
        "growth-conditions": tables.conditions(growth),
        "growth": tables.growth(growth),
        "log": costs.log_of_postgresql(growth),
        "replicas-conditions": tables.conditions(replicas),
        "replicas": costs.replicas(replicas),
        "verify-conditions": tables.conditions(verify),
        "verify": tables.verify(verify),
        "idempotency-conditions": tables.conditions(idempotency),
        "idempotency": tables.idempotency(idempotency),
        "failures": _failures([*full, *growth]),
    }

    def section(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in sections:
            raise Fault(f"docs/performance.md has a mark that benchmarks/report.py does not know: {name}")
        return f"{found[1]}\n{sections[name]}\n\n{found[3]}"

    return _SECTION.sub(section, text)


def _failures(lines: Lines) -> str:
    failed = matching(lines, "failure")
    if not failed:
        return "Every run was free of errors, and the database had what was answered."
    reasons = [
        f"- {line['server']}, {line['database']}, {line['load']['quantity']} license keys, "
        f"{line['load']['connections']} connections: {line['reason']}"
        for line in failed
    ]
    return "\n".join(["**Runs that failed; their figures are left out:**", "", *reasons])
