"""Whether this process is to be sent requests: the list of what has to be so."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeAlias

from starlette.concurrency import run_in_threadpool

from hanaper import log
from hanaper.clock import ClockWrong
from hanaper.refusal import TokenAway, Unavailable
from hanaper.signing.signer import SigningFailed
from hanaper.web.services import Services

KEPT_S = 1.0
"""Anybody may ask as often as he likes; it is looked at so often at most."""
LONGEST_LOOK_S = 3.0
LONGEST_SIGNATURE_S = 2.0
LEAST_FREE = 0.05
_UNSEEN = "it could not be looked at"

Check: TypeAlias = Callable[[Services], Awaitable[str | None]]
"""What is in the way, in a few words for anybody to read; None where nothing is."""

_logger = log.get(__name__)


async def database_answers(services: Services) -> str | None:
    """The database is there; where it has a clock, it is asked for the time as well."""
    try:
        await services.configuration.snapshot(anew=True)
    except Unavailable:
        return "the database does not answer"
    return None


async def database_is_writable(services: Services) -> str | None:
    """The database is no standby, not read-only, and its turn to write comes."""
    try:
        writable = await run_in_threadpool(services.storage.is_writable)
    except Unavailable:
        return "the database does not answer"
    return None if writable else "the database cannot be written to"


async def clock_is_right(services: Services) -> str | None:
    """The clock may be signed with."""
    try:
        services.clock()
    except ClockWrong as error:
        return f"the clock is wrong: {error}"
    return None


async def keys_sign(services: Services) -> str | None:
    """The token signs, where there are signing keys in one."""
    try:
        async with asyncio.timeout(LONGEST_SIGNATURE_S):
            await services.signing.works()
    except (TokenAway, SigningFailed, TimeoutError):
        return "the token does not sign"
    return None


async def disk_has_space(services: Services) -> str | None:
    """There is space for what SQLite writes. PostgreSQL's disk is not ours to see."""
    file = services.storage.database.file
    if file is None:
        return None
    try:
        disk = await run_in_threadpool(shutil.disk_usage, file.parent)
    except OSError:
        return "the disk cannot be read"
    return "the disk is nearly full" if disk.free < LEAST_FREE * disk.total else None


# The first that fails is what is told.
CHECKS: tuple[Check, ...] = (database_answers, clock_is_right, database_is_writable, disk_has_space, keys_sign)


class Readiness:
    """The last look at it. For one event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reason: str | None = None
        self._looked = -KEPT_S
        self._looking: asyncio.Task[None] | None = None

    async def reason(self) -> str | None:
        """Why this process is not ready, as of a second ago at most; None where it is."""
        if self._services.drain.begun:
            return "stopping"
        if self._looking is None and monotonic() - self._looked >= KEPT_S:
            self._looking = asyncio.create_task(self._look())
        if self._looking is not None:
            # Many may wait for one look; and it goes on when they have been told that it takes too long.
            done, _ = await asyncio.wait({self._looking}, timeout=LONGEST_LOOK_S)
            if not done:
                return f"the database has not answered within {LONGEST_LOOK_S:g} s"
        return self._reason

    async def _look(self) -> None:
        reason: str | None = _UNSEEN
        try:
            for check in CHECKS:
                reason = await check(self._services)
                if reason is not None:
                    break
        except Exception as error:  # Whatever it is, it is no reason to call this process ready.
            reason = _UNSEEN
            _logger.exception("readiness could not be looked at", exc_info=error)
        finally:
            self._tell(reason)
            self._reason, self._looked, self._looking = reason, monotonic(), None

    def _tell(self, reason: str | None) -> None:
        """Say it where it changes, not as often as somebody asks."""
        if reason is not None and reason != self._reason:
            _logger.warning("not ready", reason=reason)
        elif reason is None and self._reason is not None:
            _logger.info("ready again")
