"""From lines of results to the tables of docs/performance.md."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from benchmarks import figures, plots, report, results
from benchmarks.results import Recorder
from benchmarks.targets import TARGETS, spread_of

from hanaper.refusal import Fault, Unavailable

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
VERSIONS = ("kernel", "python", "sqlite", "openssl", "wrk", "uvicorn", "cryptography", "wheel_openssl")
POSTGRESQL = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
CONDITIONS: dict[str, Any] = {
    "commit": "0123456789ab",
    "hardware": {"processor": "A processor", "cores": 2, "memory_gb": 8.0, "filesystem": "ext4"},
    "versions": dict.fromkeys(
        ("kernel", "python", "sqlite", "openssl", "wrk", "uvicorn", "cryptography", "wheel_openssl"), "1.0"
    ),
    "settings": {
        "sqlite": {"journal_mode": "wal", "synchronous": "2"},
        "postgresql": dict.fromkeys(POSTGRESQL, "on"),
        "workers": 2,
    },
}


def _load(recorder: Recorder, number: int, share: float, **labels: Any) -> None:
    ceiling = 2000.0
    fields: dict[str, Any] = {
        "server": "hanaper",
        "database": "sqlite",
        "quantity": 10,
        "connections": 64,
        "bits": 2048,
    }
    fields |= labels
    rate = share * ceiling
    seen = {"p50_us": 1000, "p95_us": 2000, "p99_us": 10_000 + 1000 * number}
    memory = [
        {"role": "worker", "rss_mb": 90 + number, "pss_mb": 60},
        {"role": "supervisor", "rss_mb": 99, "pss_mb": 5},
    ]
    spent = dict.fromkeys(("server", "database", "load generator", "others", "idle"), 100)
    recorder.write(
        "load",
        **{"half_load": False, "full_per_s": None, "round": number, "startup_s": 1.5} | fields,
        requests_per_s=rate,
        keys_per_s=rate * fields["quantity"],
        ceiling_per_s=ceiling,
        share_of_ceiling=share,
        run={"seen": seen, "memory": memory, "microseconds": spent},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of two rounds."""
    full, growth = Recorder("full", CONDITIONS, tmp_path), Recorder("growth", CONDITIONS, tmp_path)
    full.write("stages", quantity=10, bits=2048, microseconds={"sign": 250.0})
    for number in (1, 2):
        for database, share in (("sqlite", 0.42), ("postgresql", 0.34)):
            _load(full, number, share + number / 100, database=database)
            _load(full, number, share / 2, database=database, half_load=True, full_per_s=2000 * share)
            _load(full, number, 0.02, database=database, quantity=1000, connections=16)
            for size, part in ((0, 0.50), (10_000_000, 0.35 + number / 100)):
                _load(growth, number, part, database=database, size=size)
        _load(full, number, 0.1, server="plain")
        for way, rate in (("executemany", 50_000), ("copy", 70_000), ("unnest", 80_000)):
            database = "sqlite" if way == "executemany" else "postgresql"
            full.write(
                "bulk insert",
                database=database,
                way=way,
                connections=1,
                round=number,
                keys_per_s=rate * (1 + number / 10),
            )
        full.write("wheel", bits=2048, round=number, wheel_per_s=2500.0, ceiling_per_s=2000.0)
    return tmp_path


def test_each_share_is_by_the_round_it_belongs_to(folder: Path) -> None:
    full, growth = results.newest("full", folder), results.newest("growth", folder)
    assert figures.bulk_shares(full, "sqlite") == pytest.approx([40 / 55, 40 / 60])
    assert figures.bulk_shares(full, "postgresql") == pytest.approx([40 / 88, 40 / 96])
    assert figures.grown(growth, "sqlite") == pytest.approx([0.72, 0.74])
    assert figures.times_plain(full) == pytest.approx([4.3, 4.4])
    assert figures.worker_memory(full) == [91, 92]
    # 11 and 12 ms; a signature takes 2 cores / 2,000 a second = 1 ms.
    assert figures.signing_times(full, "sqlite") == pytest.approx([11, 12])


def test_a_target_is_judged_by_its_median(folder: Path) -> None:
    full, growth = results.newest("full", folder), results.newest("growth", folder)
    verdicts = [target.verdict(spread_of(target, full, growth)) for target in TARGETS]
    assert verdicts == [
        "reached",  # 0.435
        "open",  # nothing at 16 connections
        "reached",  # 0.355
        *("**missed**", "**missed**"),  # the bulk inserts
        *("reached", "reached"),  # 11.5 signing times
        *("**missed**", "**missed**"),  # growth
        "reached",  # 91.5 MB
        "reached",  # 4.35 times
    ]


def test_the_document_is_filled_between_its_marks_and_nowhere_else(folder: Path, tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    prose = report.fill(DOCUMENT.read_text(), [], [])
    document.write_text(prose)
    report.write(document, folder)
    text = document.read_text()
    assert "| the same at 16 connections | 0.35 | 0.50 | not measured yet | open |" in text
    assert "| 0.40 | 0.60 | 0.43 (0.43 to 0.44) | reached |" in text
    assert "median of 2" in text
    assert "A processor" in text
    assert "| PostgreSQL | 10,000,000 | 0.73 (0.72 to 0.74) |" in text

    def by_hand(filled: str) -> list[str]:
        return re.split(r"<!-- measured: (?!end).*?<!-- measured: end -->", filled, flags=re.DOTALL)

    assert by_hand(text) == by_hand(prose)
    report.write(document, folder)
    assert document.read_text() == text
    assert {path.name for path in (tmp_path / "performance").iterdir()} == set(
        re.findall(r"performance/([a-z]+\.svg)", text)
    )


def test_plots_are_the_same_each_time_and_fetch_nothing(folder: Path) -> None:
    full, growth = results.newest("full", folder), results.newest("growth", folder)
    drawn = plots.draw(full, growth)
    assert plots.draw(full, growth) == drawn
    for plot in drawn.values():
        assert b"<script" not in plot.replace(b'<script type="text/javascript">window', b"")
        assert not re.search(rb'(?:href|src)="http', plot)


def test_an_unknown_mark_is_a_fault() -> None:
    with pytest.raises(Fault, match="nonsense"):
        report.fill("<!-- measured: nonsense -->\n<!-- measured: end -->\n", [], [])


def test_without_results_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="make bench"):
        report.write(tmp_path / "performance.md", tmp_path)


def test_failed_runs_are_named(folder: Path) -> None:
    full = results.newest("full", folder)
    load = {"quantity": 10, "connections": 64, "seconds": 5, "think_ms": None}
    failed = {"kind": "failure", "server": "hanaper", "database": "sqlite", "load": load, "reason": "3 status"}
    text = report.fill("<!-- measured: failures -->\n<!-- measured: end -->\n", [*full, failed], [])
    assert "hanaper, sqlite, 10 license keys, 64 connections: 3 status" in text


def test_the_newest_measurement_is_the_last_of_the_last_day(tmp_path: Path) -> None:
    def line(measurement: str, number: int) -> str:
        return json.dumps({"kind": "load", "measurement": measurement, "number": number}) + "\n"

    (tmp_path / "2026-01-02-full.jsonl").write_text(line("a", 1) + line("b", 2) + line("b", 3))
    (tmp_path / "2026-01-01-full.jsonl").write_text(line("c", 4))
    (tmp_path / "2026-01-03-growth.jsonl").write_text(line("d", 5))
    assert [found["number"] for found in results.newest("full", tmp_path)] == [2, 3]
    assert results.newest("quick", tmp_path) == []
