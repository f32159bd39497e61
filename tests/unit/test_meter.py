"""Each thing that is told has its figure, and only that one changes."""

import inspect

import pytest
from prometheus_client import CollectorRegistry
from tests.support.metrics import figures_of

from hanaper.metrics.meter import OFF, Meter
from hanaper.metrics.prometheus import PrometheusMeter

SERIES = "hanaper_"
TOLD: list[tuple[str, tuple[object, ...], dict[tuple[str, ...], float]]] = [
    (
        "answered",
        ("generate", 815, 200, 0.25),
        {
            ("answers_total", "endpoint=generate", "code=815", "status=200"): 1,
            ("request_seconds_count", "endpoint=generate"): 1,
            ("request_seconds_sum", "endpoint=generate"): 0.25,
        },
    ),
    (
        "answered",
        ("other", None, 500, 0.5),
        {
            ("answers_total", "endpoint=other", "code=unsigned", "status=500"): 1,
            ("internal_errors_total",): 1,
            ("request_seconds_count", "endpoint=other"): 1,
            ("request_seconds_sum", "endpoint=other"): 0.5,
        },
    ),
    ("limited", ("failures",), {("rate_limited_total", "budget=failures"): 1}),
    (
        "batch",
        (25,),
        {
            ("batch_license_keys_count",): 1,
            ("batch_license_keys_sum",): 25,
            ("license_keys_generated_total",): 25,
        },
    ),
    ("generated", (3,), {("license_keys_generated_total",): 3}),
    (
        "signed",
        (0.125,),
        {
            ("signatures_total", "kind=fresh"): 1,
            ("signing_seconds_count",): 1,
            ("signing_seconds_sum",): 0.125,
        },
    ),
    ("remembered", (), {("signatures_total", "kind=remembered"): 1}),
    ("not_signed", (), {("signatures_total", "kind=failed"): 1}),
    ("queue", (7,), {("writer_queue_jobs",): 7}),
    (
        "group",
        ("write", 4, 0.5),
        {
            ("group_jobs_count", "way=write"): 1,
            ("group_jobs_sum", "way=write"): 4,
            ("group_wait_seconds_count", "way=write"): 1,
            ("group_wait_seconds_sum", "way=write"): 0.5,
        },
    ),
    (
        "group",
        ("read", 9, 0.0),
        {
            ("group_jobs_count", "way=read"): 1,
            ("group_jobs_sum", "way=read"): 9,
            ("group_wait_seconds_count", "way=read"): 1,
        },
    ),
    ("committed", (0.75,), {("commit_seconds_count",): 1, ("commit_seconds_sum",): 0.75}),
    ("pool", (16,), {("database_pool_connections",): 16}),
    ("connection_taken", (), {("database_connections_in_use",): 1}),
    ("connection_given_back", (), {("database_connections_in_use",): -1}),
    ("unavailable", ("pool",), {("database_unavailable_total", "reason=pool"): 1}),
    ("unavailable", ("queue",), {("database_unavailable_total", "reason=queue"): 1}),
    ("unavailable", ("database",), {("database_unavailable_total", "reason=database"): 1}),
    ("call", ("done",), {("outgoing_calls_total", "outcome=done"): 1}),
    ("call", ("again",), {("outgoing_calls_total", "outcome=again"): 1}),
    ("call", ("failed",), {("outgoing_calls_total", "outcome=failed"): 1}),
    ("calls_waiting", (12,), {("outgoing_calls_waiting",): 12}),
]


@pytest.mark.parametrize(("method", "values", "changes"), TOLD)
def test_what_is_told_is_counted(
    method: str, values: tuple[object, ...], changes: dict[tuple[str, ...], float]
) -> None:
    registry = CollectorRegistry()
    getattr(PrometheusMeter(registry), method)(*values)
    found = {
        (name.removeprefix(SERIES), frozenset(f"{label}={text}" for label, text in labels)): value
        for (name, labels), value in figures_of(registry).samples.items()
        if value and not name.endswith("_bucket")
    }
    assert found == {(name, frozenset(labels)): value for (name, *labels), value in changes.items()}


def test_nothing_that_is_told_is_forgotten() -> None:
    told = {name for name, _ in inspect.getmembers(Meter, inspect.isfunction)}
    assert told == {method for method, _, _ in TOLD} == told & set(vars(PrometheusMeter))
    assert PrometheusMeter.on
    assert not OFF.on
