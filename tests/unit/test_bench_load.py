"""The script for wrk, and what it has wrk write."""

import json
import math
from pathlib import Path

import pytest

from hanaper.bench.load import Load, half_load_think_ms, parse, script
from hanaper.refusal import Fault

FIELDS: dict[str, object] = {"api_key": "a key & more", "generator_id": 1}
WRITTEN = {
    "answers": 3000,
    "duration_us": 2_000_000,
    "p50_us": 900,
    "p95_us": 2000,
    "p99_us": 4000,
    "max_us": 9000,
    "errors": {"connect": 0, "read": 0, "write": 0, "timeout": 1, "status": 2},
}


def test_what_wrk_wrote_is_read() -> None:
    seen = parse(json.dumps(WRITTEN), 0.25)
    assert (seen.answers, seen.p99_us, seen.cpu_s) == (3000, 4000, 0.25)
    assert seen.requests_per_s == 1500
    assert {kind: number for kind, number in seen.errors.items() if number} == {"timeout": 1, "status": 2}


def test_a_run_of_no_length_is_a_fault() -> None:
    with pytest.raises(Fault, match="no time"):
        parse(json.dumps({**WRITTEN, "duration_us": 0}), 0)


def test_the_script_posts_the_form_and_names_the_file() -> None:
    text = script(Load(10, 64, 5), FIELDS, Path("/some where/load.json"))
    assert 'wrk.body = "api_key=a+key+%26+more&generator_id=1&quantity=10"' in text
    assert 'io.open("/some where/load.json", "w")' in text
    assert "delay" not in text


def test_a_script_with_thinking_draws_from_another_row_in_each_thread() -> None:
    text = script(Load(10, 64, 5, think_ms=12.5), FIELDS, Path("load.json"))
    assert "-12.5 * math.log" in text
    assert "function setup(thread)" in text
    assert "math.randomseed(seed)" in text


def test_a_script_with_a_header_gives_it_another_value_in_each_request() -> None:
    wanted = Load(10, 64, 5, header="Idempotency-Key")
    first, second = (script(wanted, FIELDS, Path("load.json")) for _ in range(2))
    assert 'wrk.headers["Idempotency-Key"] = string.format(' in first
    assert "-%d-%d" in first
    assert first != second, "nor the same ones in the next run"
    assert "function request()" not in script(Load(10, 64, 5), FIELDS, Path("load.json"))


def test_thinking_connections_ask_for_half_of_what_can_be_done() -> None:
    full, connections, cores = 1000.0, 64, 2
    think_s = half_load_think_ms(full, connections, cores) / 1000
    answer_s = 2 * cores / full
    assert math.isclose(connections / (think_s + answer_s), full / 2)
