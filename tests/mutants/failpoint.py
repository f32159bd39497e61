"""hanaper with fail-points (reliability.md T3): what a file asks for happens once, at the point it names.

Nothing of this is in hanaper itself. See tests/support/failpoints.py for the points. Another fault may be planted
besides.
"""

import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from starlette.types import Message, Receive, Scope, Send

from hanaper.access.authenticate import authenticate
from hanaper.issuing import batch_store
from hanaper.signing import prove
from hanaper.signing.signer import Signer
from hanaper.storage import bulk, writer
from hanaper.web import endpoint
from hanaper.web.responses import SignedResponse

ARMED = Path(os.environ["FAILPOINT"])
PROOF = prove._PROOF  # noqa: SLF001 -- as below
SLEEP_S = float(os.environ["FAILPOINT_SLEEP_S"])


class Planted(Exception):
    """What nobody foresaw."""


def armed(point: str) -> str | None:
    """What is to happen here, for the first that comes by; None in all other cases."""
    try:
        name, action = ARMED.read_text().split()
    except FileNotFoundError:
        return None
    if name != point:
        return None
    try:
        ARMED.rename(ARMED.with_name(f"taken-{os.getpid()}-{threading.get_ident()}"))
    except FileNotFoundError:
        return None  # Another process, or thread, was first.
    return action


def reached(point: str) -> bool:
    """Be at a point. True where wrong bytes are wanted."""
    match armed(point):
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise Planted
        case "sleep":
            time.sleep(SLEEP_S)
        case "spoil":
            return True
    return False


def spoilt(data: bytes) -> bytes:
    """The same with one bit turned."""
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


_authenticate = authenticate
_raw, _sign = Signer._raw, Signer.sign  # noqa: SLF001 -- this is where they go
_counted, _record, _one_transaction = batch_store._counted, batch_store.record, batch_store._one_transaction  # noqa: SLF001
_connected, _run_bulk = bulk._connected, bulk.run_bulk  # noqa: SLF001
_respond = SignedResponse.__call__


async def after_auth(*arguments: Any, **more: Any) -> Any:
    caller = await _authenticate(*arguments, **more)
    reached("after-auth")
    return caller


class Unasked(threading.local):
    """Whether this thread makes a signature that nobody has asked for."""

    now = False


_unasked = Unasked()


def around_signature(self: Signer, digest: bytes) -> bytes:
    if _unasked.now:
        return _raw(self, digest)
    signature = _raw(self, spoilt(digest) if reached("before-sign") else digest)
    return spoilt(signature) if reached("after-sign") else signature


def after_verify(self: Signer, message: bytes) -> bytes:
    # A process that has begun looks at its keys; the audit log is sealed.
    _unasked.now = message == PROOF or b"\n" in message
    try:
        signature = _sign(self, message)
    finally:
        unasked, _unasked.now = _unasked.now, False
    return spoilt(signature) if not unasked and reached("after-verify") else signature


def around_quota(*arguments: Any) -> bool:
    reached("tx-open")
    counted = _counted(*arguments)
    reached("after-quota")
    return counted


def after_insert(*arguments: Any) -> Any:
    outcomes = _record(*arguments)
    reached("after-insert")
    return outcomes


@contextmanager
def before_commit(cursor: Any, dialect: str) -> Iterator[None]:
    with _one_transaction(cursor, dialect):
        yield
        reached("before-commit")
        if dialect == "postgresql" and armed("inside-commit") == "kill":
            # PostgreSQL is busy committing by then: the test has planted a pause there.
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()


class Cursor:
    """Of SQLite: what is reached inside a commit."""

    def __init__(self, cursor: Any, driver: Any) -> None:
        self._cursor = cursor
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, statement: str, *values: Any) -> Any:
        action = armed("inside-commit") if statement == "COMMIT" else None
        if action == "kill":
            # From beside it: SQLite is writing and syncing meanwhile.
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGKILL)).start()
        done = self._cursor.execute(statement, *values)
        if action == "raise":
            broken = self._driver.OperationalError("disk I/O error")
            broken.sqlite_errorcode = self._driver.SQLITE_IOERR
            raise broken
        if action == "sleep":
            time.sleep(SLEEP_S)
        return done


class Connection:
    """Of SQLite, with such cursors."""

    def __init__(self, connection: Any, driver: Any) -> None:
        self._connection = connection
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def cursor(self) -> Cursor:
        return Cursor(self._connection.cursor(), self._driver)


@contextmanager
def inside_commit(engine: Any) -> Iterator[Any]:
    with _connected(engine) as connection:
        dialect = engine.dialect
        yield Connection(connection, dialect.loaded_dbapi) if dialect.name == "sqlite" else connection


def after_commit(*arguments: Any) -> Sequence[Any]:
    outcomes = _run_bulk(*arguments)
    reached("after-commit")
    return outcomes


async def mid_body(self: SignedResponse, scope: Scope, receive: Receive, send: Send) -> None:
    async def in_halves(message: Message) -> None:
        body = message.get("body", b"")
        if message["type"] != "http.response.body" or len(body) < 2:
            await send(message)
            return
        half = len(body) // 2
        await send({**message, "body": body[:half], "more_body": True})
        rest = body[half:]
        await send({**message, "body": spoilt(rest) if reached("mid-body") else rest})

    await _respond(self, scope, receive, in_halves)


PLACES: list[tuple[object, str, Callable[..., Any] | AbstractContextManager[Any]]] = [
    (endpoint, "authenticate", after_auth),
    (Signer, "_raw", around_signature),
    (Signer, "sign", after_verify),
    (batch_store, "_counted", around_quota),
    (batch_store, "record", after_insert),
    (batch_store, "_one_transaction", before_commit),
    (bulk, "_connected", inside_commit),
    (writer, "run_bulk", after_commit),
    (SignedResponse, "__call__", mid_body),
]
for place, name, instead in PLACES:
    patch.object(place, name, instead).start()
if "FAILPOINT_BESIDES" in os.environ:
    importlib.import_module(os.environ["FAILPOINT_BESIDES"])
