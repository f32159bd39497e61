"""`hanaper bench`: how fast this machine issues license keys, next to how fast it signs."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hanaper import log
from hanaper.bench import machine, tools
from hanaper.bench.installation import forget_settings
from hanaper.bench.load import Load
from hanaper.bench.server import end_on_signals
from hanaper.bench.short import Wanted, measure
from hanaper.cli.options import AsJson
from hanaper.cli.output import note, print_json, print_row
from hanaper.cli.progress import progress
from hanaper.refusal import Invalid
from hanaper.storage.engine import locate
from hanaper.storage.filesystem import IN_MEMORY

URL_VARIABLE = "HANAPER_BENCH_POSTGRESQL_URL"
_ROWS = (
    ("share_of_ceiling", "share of the ceiling", 2),
    ("ceiling_per_s", "ceiling, signatures/s", 0),
    ("requests_per_s", "requests/s", 0),
    ("keys_per_s", "license keys/s", 0),
    ("p50_ms", "p50, ms", 1),
    ("p95_ms", "p95, ms", 1),
    ("p99_ms", "p99, ms", 1),
)


def bench(
    quantity: Annotated[int, typer.Option(min=1, max=1000, help="License keys in a request.")] = 10,
    connections: Annotated[int, typer.Option(min=1, max=1024, help="Clients that ask at the same time.")] = 64,
    seconds: Annotated[int, typer.Option(min=1, max=60, help="Length of a run.")] = 5,
    rounds: Annotated[int, typer.Option(min=1, max=20, help="How many runs.")] = 3,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Serving processes.", show_default="one for each core")
    ] = None,
    rsa_bits: Annotated[Literal["2048", "3072", "4096"], typer.Option(help="Length of the signing key.")] = "2048",
    folder: Annotated[
        Path | None,
        typer.Option(help="Where scratch files go: name the disk you mean.", show_default="the current directory"),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            help=f"An empty PostgreSQL database. With a password in it, use {URL_VARIABLE}.", show_default="SQLite"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a throw-away installation on this machine, for half a minute: needs wrk and openssl."""
    tools.require_all()
    url, password_file = _database(database_url)
    forget_settings()
    log.configure("warning", "text")
    end_on_signals()
    load = Load(quantity, connections, seconds)
    serving = workers or machine.usable_cores()
    wanted = Wanted(load, rounds, serving, int(rsa_bits), folder, url, password_file)
    with progress("Measuring", wanted.steps) as advance:
        found = measure(wanted, advance)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _database(option: str | None) -> tuple[str, Path | None]:
    """The URL of the database, and the file with its password."""
    password_file = os.environ.get("HANAPER_DATABASE_PASSWORD_FILE", "")
    url = option or os.environ.get(URL_VARIABLE, "")
    if option is not None:
        named = locate(option).url
        if named.password or "password" in named.query:
            raise Invalid(f"everybody on this machine can read arguments: put the URL into {URL_VARIABLE} instead")
    return url, Path(password_file) if url and password_file else None


def _print(found: dict[str, Any]) -> None:
    for part in ("hardware", "versions", "settings"):
        print(part.capitalize())
        print_row({f"  {name}": value for name, value in found[part].items()}, as_json=False)
        print()
    load, result = found["load"], found["result"]
    rounds = len(found["runs"])
    print(f"{load['quantity']} license keys a request, {load['connections']} connections, {load['seconds']} s")
    rows: dict[str, str | None] = {f"  {label}": _spread(result[name], digits) for name, label, digits in _ROWS}
    memory = result["worker_rss_mb"]
    rows["  a worker's memory, MB"] = None if memory is None else f"{memory:.0f}"
    rows["  start-up, s"] = f"{result['startup_s']:.2f}"
    print_row(rows, as_json=False)
    note("")
    note(f"Median of {rounds} rounds (least to most). The ceiling is what `openssl speed` signs on all cores.")
    if found["hardware"]["filesystem"] in IN_MEMORY:
        note("The folder lies in memory, where a sync is free: these figures say nothing about a disk. Use --folder.")


def _spread(spread: dict[str, float], digits: int) -> str:
    return f"{spread['median']:,.{digits}f}  ({spread['least']:,.{digits}f} to {spread['most']:,.{digits}f})"
