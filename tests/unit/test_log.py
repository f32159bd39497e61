"""Logging: one line an event, and never the text of an exception."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest
import structlog

from hanaper import log

SECRET = "3f0c9b6e-license-key"
CONFIGURED = ["", "uvicorn.access", "alembic", "httpx"]

Ways = dict[str, Callable[[Exception], object]]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    before = {
        name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level, logging.getLogger(name).disabled)
        for name in CONFIGURED
    }
    config = structlog.get_config()
    yield
    structlog.configure(**config)
    for name, (handlers, level, disabled) in before.items():
        logger = logging.getLogger(name)
        logger.handlers[:], logger.disabled = handlers, disabled
        logger.setLevel(level)


def store() -> None:
    raise ValueError(f"duplicate key: {SECRET}")


def fail() -> None:
    try:
        store()
    except ValueError as error:
        error.add_note(SECRET)
        raise KeyError(SECRET) from error


def standard(**keywords: Any) -> None:
    logging.getLogger("other").error("failed", **keywords)


WAYS: Ways = {
    "structlog, exception()": lambda _: log.get("own").exception("failed"),
    "structlog, exc_info=True": lambda _: log.get("own").error("failed", exc_info=True),
    "structlog, exc_info=error": lambda error: log.get("own").error("failed", exc_info=error),
    "structlog, exc_info=tuple": lambda _: log.get("own").error("failed", exc_info=sys.exc_info()),
    "standard library, exc_info=True": lambda _: standard(exc_info=True),
    "standard library, exc_info=error": lambda error: standard(exc_info=error),
    "standard library, exc_info=tuple": lambda _: standard(exc_info=sys.exc_info()),
}


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_an_exception_is_logged_as_types_and_places_and_never_by_its_text(
    capsys: pytest.CaptureFixture[str], form: str, way: Callable[[Exception], object]
) -> None:
    log.configure("info", form)
    try:
        fail()
    except KeyError as error:
        way(error)
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert SECRET not in written
    for expected in ("failed", "builtins.KeyError", "builtins.ValueError", " fail", " store", "test_log.py"):
        assert expected in written


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("field", ["error", "reason", "exception"])
def test_an_exception_in_a_field_is_reduced_to_its_type(
    capsys: pytest.CaptureFixture[str], form: str, field: str
) -> None:
    log.configure("info", form)
    log.get("own").error("failed", **{field: ValueError(SECRET)})
    written = capsys.readouterr().err
    assert SECRET not in written
    assert "ValueError" in written


@pytest.mark.parametrize("form", ["json", "text"])
def test_exc_info_without_an_exception_is_nothing(capsys: pytest.CaptureFixture[str], form: str) -> None:
    log.configure("info", form)
    log.get("own").error("failed", exc_info=True)
    standard(exc_info=True)
    log.get("own").error("failed", exc_info=False)
    written = capsys.readouterr().err
    assert written.count("failed") == written.count("\n") == 3
    assert "where" not in written
    assert "None" not in written


def test_a_json_line_is_one_object_with_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")

    def one_request() -> None:
        log.request_id.set("r1")
        log.get("own").info("request", path="/a\nb", status=200)
        logging.getLogger("other").warning("%s of %d", "one", 2)

    copy_context().run(one_request)
    own, other = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert own.pop("timestamp").endswith("Z")
    assert own == {"event": "request", "path": "/a\nb", "status": 200, "request_id": "r1", "level": "info"}
    assert other.pop("timestamp").endswith("Z")
    assert other == {"event": "one of 2", "request_id": "r1", "level": "warning"}


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_least_severity_holds_for_everybody(
    capsys: pytest.CaptureFixture[str], level: str, expected: list[str]
) -> None:
    log.configure(level, "json")
    loggers: list[Any] = [log.get("own"), logging.getLogger("other")]
    for logger in loggers:
        for severity in ("debug", "info", "warning", "error"):
            getattr(logger, severity)("event")
    lines = [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()]
    assert lines == expected * 2


def test_nothing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug", "text")
    log.get("own").info("event")
    assert capsys.readouterr().out == ""


def test_being_configured_twice_does_not_log_twice(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    log.configure("info", "json")
    log.get("own").info("event")
    assert capsys.readouterr().err.count("event") == 2, "the key and the value of one line"


def test_the_access_log_of_uvicorn_is_off_since_it_holds_query_strings(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug", "json")
    logging.getLogger("uvicorn.access").info("GET /api/v1/get-all-generators?api_key=%s", SECRET)
    assert capsys.readouterr().err == ""


def test_chatty_libraries_are_heard_from_warnings_up(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug", "json")
    for name in ("httpx", "alembic.runtime"):
        logging.getLogger(name).info("HTTP Request: GET https://example.org/?api_key=%s", SECRET)
        logging.getLogger(name).warning("heard")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["heard", "heard"]


def test_where_follows_a_chain_to_its_beginning() -> None:
    with pytest.raises(KeyError) as caught:
        fail()
    lines = log.where(caught.value)
    assert [line for line in lines if not line.startswith(" ")] == ["builtins.KeyError", "builtins.ValueError"]
    assert [line.split()[-1] for line in lines[-2:]] == ["fail", "store"]
    assert all(SECRET not in line for line in lines)


def test_where_also_follows_what_was_suppressed() -> None:
    def suppress() -> None:
        try:
            store()
        except ValueError:
            raise RuntimeError from None

    with pytest.raises(RuntimeError) as caught:
        suppress()
    assert "builtins.ValueError" in log.where(caught.value)


def test_where_ends_even_when_a_chain_does_not() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert log.where(first) == ["builtins.ValueError", "builtins.KeyError"]


def test_where_names_a_type_in_full() -> None:
    assert log.where(json.JSONDecodeError("m", SECRET, 0)) == ["json.decoder.JSONDecodeError"]
