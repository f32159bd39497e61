"""A connection to PostgreSQL on which nothing goes on without an end, and no warning is lost (decision 0016).

A commit that waits for a synchronous standby waits for ever when there is none, whatever `statement_timeout` says. When
somebody cancels it, it returns as if all were well, and only a warning tells that the standby may not have it. And a
network that swallows packets leaves both sides waiting.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import Diagnostic, ReadOnlySqlTransaction

from hanaper.refusal import OutcomeUnknown, Unavailable

# Both fields are text that the server writes, and holds nothing of a row.
_STILL_WAITING = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE wait_event = 'SyncRep' AND usename = current_user
            AND state_change < clock_timestamp() - interval '2 seconds'
    )
"""

Result = TypeVar("Result")


class Standby:
    """What the connections of a process know about its synchronous standby.

    Attributes:
        suspected: since a commit's outcome was unknown, no commit has been seen to wait for nobody.
    """

    def __init__(self) -> None:
        self.suspected = False

    def require(self, execute: Callable[[str], Any]) -> None:
        """Look whether it is worth while to commit, where the last commit left that in doubt.

        Commits are confirmed in order. As long as one that this user began seconds ago waits for the standby, each new
        one would only wait behind it, and keep a connection and a process of the database for as long.

        Args:
            execute: runs a statement; what it returns has a `fetchone`.

        Raises:
            Unavailable: others wait. Nothing has been stored.
        """
        if not self.suspected:
            return
        (waiting,) = execute(_STILL_WAITING).fetchone()
        if waiting:
            raise Unavailable("the database waits for its synchronous standby: nothing was stored")
        self.suspected = False


class Connection(psycopg.Connection[Any]):
    """A connection.

    Attributes:
        longest_exchange_s: seconds from a question to the database to the end of its answer; None for any number.
        standby: shared by the connections of a process.
    """

    longest_exchange_s: float | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.standby = Standby()
        warnings: list[str] = []

        # Without `self`: a connection that nobody refers to any more has to go at once.
        def note(notice: Diagnostic) -> None:
            if notice.severity_nonlocalized == "WARNING":
                warnings.append(notice.message_primary or "a warning without a text")

        self._warnings = warnings
        self.add_notice_handler(note)

    def wait(self, gen: PQGen[Result], *arguments: Any, **options: Any) -> Result:
        """Everything that is said to the database and answered by it comes through here.

        Raises:
            OperationalError: it took too long, and the connection is closed. What was asked is not cancelled: a commit
                that is cancelled while it waits for the standby counts as done.
            ReadOnlySqlTransaction: there was no writing here. The connection is closed: the next one may lead to a
                database that is not a standby.
        """
        try:
            return super().wait(self._bounded(gen), *arguments, **options)
        except ReadOnlySqlTransaction:
            self.close()
            raise

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Around what commits.

        Raises:
            OutcomeUnknown: the database warned of something. It has it, but the standby may not.
        """
        self._warnings.clear()
        try:
            yield
        finally:
            if self.closed or self._warnings:
                self.standby.suspected = True
        if self._warnings:
            raise OutcomeUnknown(f"the database has stored it with a warning ({self._warnings[0]})")

    def _bounded(self, gen: PQGen[Result]) -> PQGen[Result]:
        """The same exchange with an end. The driver looks in ten times a second while nothing comes."""
        longest_s = self.longest_exchange_s
        if longest_s is None:
            return (yield from gen)
        ends = monotonic() + longest_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if monotonic() > ends:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer within {longest_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: Result = end.value
            return result
