"""Tables of docs/performance.md, in Markdown."""

from collections.abc import Iterable, Sequence

from benchmarks.figures import Lines, fastest_bulk, grown, loads
from benchmarks.results import matching
from benchmarks.rounds import BITS, LARGE, MAIN, SMALL
from benchmarks.targets import TARGETS, spread_of
from hanaper.bench.spread import Spread

SHOWN = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_WAYS = {"executemany": "`executemany`", "copy": "`COPY`", "unnest": "`INSERT … SELECT unnest`"}


def targets(full: Lines, growth: Lines) -> str:
    """What was asked, next to what was measured."""
    rows = []
    for target in TARGETS:
        spread = spread_of(target, full, growth)
        asked = target.asked(target.least), target.asked(target.aim)
        rows.append((target.what, *asked, target.measured(spread), target.verdict(spread)))
    return table(("what", "at least", "aim", "measured: median (least to most)", "verdict"), rows)


def conditions(lines: Lines) -> str:
    """What was measured on: one paragraph that stands above figures without a ratio."""
    if not lines:
        return "Not measured yet."
    line = lines[0]
    hardware, versions, settings = line["hardware"], line["versions"], line["settings"]
    postgresql, sqlite = settings["postgresql"], settings["sqlite"]
    rounds = max((found["round"] for found in lines if "round" in found), default=0)
    return (
        f"Measured on {line['measurement'][:10]}, commit {line['commit']}, median of {rounds}: "
        f"{hardware['processor']}, {hardware['cores']} cores, {hardware['memory_gb']:.0f} GB, "
        f"{hardware['filesystem']}, {versions['kernel']}; "
        f"{versions['python']}, SQLite {versions['sqlite']}, PostgreSQL {postgresql['server_version']}, "
        f"{versions['openssl']} for the ceiling, {versions['wheel_openssl']} in cryptography "
        f"{versions['cryptography']}, uvicorn {versions['uvicorn']}, {versions['wrk']}. "
        f"{settings['workers']} serving processes; SQLite: journal_mode={sqlite['journal_mode']}, "
        f"synchronous={sqlite['synchronous']} (FULL); PostgreSQL: fsync={postgresql['fsync']}, "
        f"synchronous_commit={postgresql['synchronous_commit']}, full_page_writes={postgresql['full_page_writes']}, "
        f"shared_buffers={postgresql['shared_buffers']}, max_wal_size={postgresql['max_wal_size']}."
    )


def throughput(full: Lines) -> str:
    """All loads."""
    rows = []
    cases = [(*MAIN, False), (*MAIN, True), *[(*case, False) for case in (*SMALL, LARGE)]]
    for database, shown in SHOWN.items():
        for quantity, connections, half in cases:
            runs = loads(full, database, (quantity, connections), half=half)
            if runs:
                latencies = [
                    Spread.of(run["run"]["seen"][f"p{part}_us"] / 1000 for run in runs) for part in (50, 95, 99)
                ]
                rows.append(
                    (
                        shown,
                        f"{quantity:,}",
                        f"{connections}, half load" if half else str(connections),
                        Spread.of(run["share_of_ceiling"] for run in runs).shown(2),
                        Spread.of(run["requests_per_s"] for run in runs).shown(0),
                        Spread.of(run["keys_per_s"] for run in runs).shown(0),
                        *[latency.shown(1) for latency in latencies],
                    )
                )
    columns = ("database", "license keys", "connections", "share of the ceiling", "requests/s", "license keys/s")
    return table((*columns, "p50 ms", "p95 ms", "p99 ms"), rows)


def half_load(full: Lines) -> str:
    """How near to half the half load came."""
    reached = [
        f"{shown} {Spread.of(run['requests_per_s'] / run['full_per_s'] for run in runs).shown(2)}"
        for database, shown in SHOWN.items()
        if (runs := loads(full, database, half=True))
    ]
    return f"Half load really was, as a share of the full: {', '.join(reached) or 'not measured yet'}."


def bulk(full: Lines) -> str:
    """The bare driver."""
    rows = []
    for database, shown in SHOWN.items():
        fastest = fastest_bulk(full, database)
        for way, named in _WAYS.items():
            for connections in (1, 2):
                lines = matching(full, "bulk insert", database=database, way=way, connections=connections)
                if lines:
                    rates = Spread.of(line["keys_per_s"] for line in lines)
                    part = Spread.of(line["keys_per_s"] / fastest[line["round"]] for line in lines)
                    rows.append((shown, named, str(connections), rates.shown(0), part.shown(2)))
    return table(("database", "way", "connections", "license keys/s", "by the fastest with one connection"), rows)


def key_lengths(full: Lines) -> str:
    """Both ceilings, and what is reached of each, by the length of the key."""
    rows = []
    for bits in BITS:
        wheels = {line["round"]: line["wheel_per_s"] for line in matching(full, "wheel", bits=bits)}
        runs = [run for run in loads(full, "sqlite", bits=bits) if run["round"] in wheels]
        if runs:
            rows.append(
                (
                    str(bits),
                    Spread.of(run["ceiling_per_s"] for run in runs).shown(0),
                    Spread.of(wheels.values()).shown(0),
                    Spread.of(run["requests_per_s"] for run in runs).shown(0),
                    Spread.of(run["share_of_ceiling"] for run in runs).shown(2),
                    Spread.of(run["requests_per_s"] / wheels[run["round"]] for run in runs).shown(2),
                )
            )
    columns = ("bits", "ceiling by openssl", "ceiling by the wheel", "requests/s", "share of openssl's")
    return table((*columns, "share of the wheel's"), rows)


def growth(lines: Lines) -> str:
    """The same load on tables of different sizes."""
    rows = []
    for database, shown in SHOWN.items():
        for size in sorted({line["size"] for line in matching(lines, "load", database=database)}):
            runs = loads(lines, database, size=size)
            parts = grown(lines, database, size)
            if runs and parts:
                rows.append(
                    (
                        shown,
                        f"{size:,}",
                        Spread.of(parts).shown(2),
                        Spread.of(run["share_of_ceiling"] for run in runs).shown(2),
                        Spread.of(run["requests_per_s"] for run in runs).shown(0),
                        Spread.of(run["run"]["seen"]["p99_us"] / 1000 for run in runs).shown(1),
                    )
                )
    columns = ("database", "license keys stored", "share of the throughput with none", "share of the ceiling")
    return table((*columns, "requests/s", "p99 ms"), rows)


def verify(lines: Lines) -> str:
    """Verifying license keys."""
    rows = []
    for database, shown in SHOWN.items():
        for connections in sorted({line["connections"] for line in matching(lines, "verify")}, reverse=True):
            runs = matching(lines, "verify", database=database, connections=connections)
            if runs:
                rows.append(
                    (
                        shown,
                        str(connections),
                        Spread.of(run["share_of_ceiling"] for run in runs).shown(2),
                        Spread.of(run["requests_per_s"] for run in runs).shown(0),
                        Spread.of(run["server_us"] for run in runs).shown(0),
                        Spread.of(run["seen"]["p50_us"] / 1000 for run in runs).shown(1),
                        Spread.of(run["seen"]["p99_us"] / 1000 for run in runs).shown(1),
                    )
                )
    columns = ("database", "connections", "share of the ceiling", "requests/s", "server's microseconds", "p50 ms")
    return table((*columns, "p99 ms"), rows)


def idempotency(lines: Lines) -> str:
    """Requests with an idempotency key by those without, in pairs."""
    rows = []
    for database, shown in SHOWN.items():
        pairs = matching(lines, "idempotency", database=database)
        if pairs:
            measured = [
                Spread.of(pair[what][name] for pair in pairs).shown(0)
                for what in ("requests_per_s", "server_us")
                for name in ("without", "with")
            ]
            rows.append((shown, Spread.of(pair["share"] for pair in pairs).shown(2), *measured))
    columns = ("database", "share of the requests/s", "requests/s without a key", "with one")
    return table((*columns, "microseconds of server and database without", "with one"), rows)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a sentence where there is no row."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    if not lines:
        return "Not measured yet."
    return "\n".join(["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *lines])
