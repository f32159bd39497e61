"""Tables of what a request costs: processor time, memory."""

from benchmarks.figures import Lines, loads
from benchmarks.results import matching
from benchmarks.tables import SHOWN, table
from hanaper.bench.spread import Spread


def processors(full: Lines) -> str:
    """Who spends the processor time of a request under full load."""
    rows = []
    for (server, database), shown in {
        ("hanaper", "sqlite"): "hanaper, SQLite",
        ("hanaper", "postgresql"): "hanaper, PostgreSQL",
        ("plain", "sqlite"): "the plain baseline, SQLite",
    }.items():
        runs = loads(full, database, server=server)
        if runs:
            signing = Spread.of(1e6 * run["hardware"]["cores"] / run["ceiling_per_s"] for run in runs)
            spent = [
                Spread.of(run["run"]["microseconds"][who] for run in runs).shown(0)
                for who in ("server", "database", "load generator", "others", "idle")
            ]
            rows.append((shown, signing.shown(0), *spent))
    columns = ("10 license keys, 64 connections", "a signature by the ceiling", "server", "PostgreSQL's processes")
    return table((*columns, "wrk", "others", "idle"), rows)


def stages(full: Lines) -> str:
    """The stages of one request."""
    found = matching(full, "stages")
    if not found:
        return "Not measured yet."
    rows = [(name, f"{value:,.1f}") for name, value in found[-1]["microseconds"].items()]
    return table((f"stage, {found[-1]['quantity']} license keys", "microseconds"), rows)


def processes(full: Lines) -> str:
    """Memory and start-up."""
    rows = []
    for database, shown in SHOWN.items():
        runs = [run for run in matching(full, "load", server="hanaper", database=database) if run["run"]["memory"]]
        if runs:
            cells = []
            for measure in ("rss_mb", "pss_mb"):
                for role in ("worker", "supervisor"):
                    found = [
                        process[measure]
                        for run in runs
                        for process in run["run"]["memory"]
                        if process["role"] == role and process[measure] is not None
                    ]
                    cells.append(Spread.of(found).shown(0) if found else "-")
            rows.append((shown, *cells, Spread.of({run["startup_s"] for run in runs}).shown(2)))
    columns = ("database", "serving process, MB resident", "supervisor", "serving process, MB shared out", "supervisor")
    return table((*columns, "start-up, s"), rows)


def replicas(lines: Lines) -> str:
    """Who spends the processor time of a request behind a proxy."""
    rows = []
    for quantity in sorted({line["quantity"] for line in matching(lines, "replicas")}):
        runs = matching(lines, "replicas", quantity=quantity)
        spent = {name: Spread.of(run["microseconds"][name] for run in runs) for name in runs[0]["microseconds"]}
        per_s = Spread.of(run["requests_per_s"] for run in runs)
        whole = sum(spread.median for spread in spent.values())
        shares = [f"{spread.median / whole:.0%} ({spread.median:.0f})" for spread in spent.values()]
        share = Spread.of(run["requests_per_s"] / run["ceiling_per_s"] for run in runs)
        rows.append((str(quantity), per_s.shown(0), share.shown(2), *shares))
    if not rows:
        return "Not measured yet."
    names = [f"{name} (us)" for name in matching(lines, "replicas")[0]["microseconds"]]
    return table(("license keys", "requests/s", "share of the ceiling", *names), rows)


def log_of_postgresql(lines: Lines) -> str:
    """What PostgreSQL writes to its write-ahead log for a license key, by how many are stored."""
    sizes = sorted({line["size"] for line in matching(lines, "log")})
    rows = [
        (f"{size:,}", Spread.of(line["wal_bytes_per_key"] for line in matching(lines, "log", size=size)).shown(0))
        for size in sizes
    ]
    return (
        table(("license keys stored", "bytes of write-ahead log for each new one"), rows)
        if rows
        else "Not measured yet."
    )
