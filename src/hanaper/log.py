"""Logging: one line an event, to standard error; secrets never in it."""

import logging
import sys
import traceback
from contextlib import suppress
from contextvars import ContextVar
from threading import RLock

import structlog
from structlog.typing import FilteringBoundLogger, Processor


def configure(level: str, form: str) -> None:
    """Set structlog and the standard library's logging up, once per process.

    Args:
        level: debug, info, warning or error.
        form: "json" (one object a line) or "text".
    """
    shared: list[Processor] = [
        _with_request_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    # hanaper's own events do not take the way through the standard library, which costs several times their rendering:
    # there is one for each request.
    structlog.configure(
        processors=[*shared, _without_exception_text, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _StandardError(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.lock = _one_at_a_time
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_exception_text,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The middleware writes the access log itself: uvicorn's would hold query strings, and with them API keys.
    logging.getLogger("uvicorn.access").disabled = True
    for chatty in ("alembic", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It warns of each malformed body, which anybody may send as often as he likes.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # What cannot be logged is not printed with a traceback instead, which would quote it.
    logging.raiseExceptions = False


request_id: ContextVar[str] = ContextVar("request_id")
"""Of the request that this task or thread works for: every line that is logged meanwhile carries it."""


# Lines come from two sides, the standard library's and our own; without a lock in common long ones would mix.
_one_at_a_time = RLock()


class _StandardError:
    """Writes rendered lines. That nobody reads them any more is no reason to fail a request."""

    def line(self, text: str) -> None:
        stream = sys.stderr
        if stream is None:
            return  # closed from the start
        with _one_at_a_time, suppress(OSError, ValueError):
            stream.write(text + "\n")
            stream.flush()

    debug = info = warning = error = critical = exception = line


def get(name: str) -> FilteringBoundLogger:
    """The logger of a module."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


def where(error: BaseException) -> list[str]:
    """The chain of an exception as types and code locations.

    The texts of exceptions are left out on purpose: a database's error quotes the row it refused, and a row holds
    license keys.
    """
    lines: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:  # `raise ... from` can close the chain to a ring.
        seen.add(id(link))
        lines.append(f"{type(link).__module__}.{type(link).__qualname__}")
        lines.extend(
            f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(link.__traceback__)
        )
        link = link.__cause__ or link.__context__
    return lines


def _with_request_id(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    known = request_id.get(None)
    if known is not None:
        event["request_id"] = known
    return event


def _without_exception_text(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """What is logged with `exc_info` is reduced to `where`, an exception in a field to its type: the same reason."""
    information = event.pop("exc_info", None)
    if information is True:
        information = sys.exc_info()
    if isinstance(information, tuple):
        information = information[1]
    if isinstance(information, BaseException):
        event["where"] = where(information)
    for name, value in event.items():
        if isinstance(value, BaseException):
            event[name] = type(value).__qualname__
    return event
