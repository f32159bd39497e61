"""Delivering calls: whatever is due is claimed, made, and its outcome recorded.

At least once: a process that dies between the call and the record of it leaves a call that will be made again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event, Lock, Thread

from hanaper import log
from hanaper.clock import Clock
from hanaper.metrics.meter import OFF, CallOutcome, Meter
from hanaper.outbound import store
from hanaper.outbound.send import LONGEST_S, Outcome, post
from hanaper.storage.transactions import Storage

PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60))
"""After the first, second, ... failure. After one more nothing is tried again."""

LEASE = timedelta(seconds=60)
KEPT = timedelta(days=30)
MOST_AT_ONCE = 4
_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """What has been done.

    Attributes:
        done: calls that were answered with 2xx.
        again: failed attempts that will be followed by another.
        failed: calls given up.
    """

    done: int = 0
    again: int = 0
    failed: int = 0


class Deliverer:
    """Makes the calls of one process."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        *,
        private_networks: bool = False,
        longest_s: float = LONGEST_S,
        meter: Meter = OFF,
    ) -> None:
        """Do nothing yet.

        Args:
            private_networks: whether addresses that are not public may be called.
            longest_s: seconds for one call; less than the lease.
            meter: is told what became of calls, and how many wait.
        """
        self._storage = storage
        self._clock = clock
        self._private_networks = private_networks
        self._longest_s = longest_s
        self._meter = meter
        self._stopping = Event()
        self._abandoned = Event()

    def deliver_due(self) -> Delivered:
        """Make every call that is due, a few at a time, and return when they are over.

        Where nothing is due, this is one query.

        Raises:
            Unavailable: the database does not answer. Calls whose outcome is not recorded will be made again.
        """
        count = self._storage.read(lambda session: store.due(session, self._clock(), MOST_AT_ONCE))
        total, errors, lock = Delivered(), list[Exception](), Lock()

        def work() -> None:
            nonlocal total
            try:
                while (outcome := self._deliver_one()) is not None:
                    with lock:
                        total = replace(total, **{outcome: getattr(total, outcome) + 1})
            except Exception as error:  # noqa: BLE001 -- raised below
                errors.append(error)

        # Daemons: the end of the process does not wait for somebody else's slow server.
        threads = [Thread(target=work, name="hanaper-call", daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return total

    def stop(self) -> None:
        """Begin no further call."""
        self._stopping.set()

    def abandon(self) -> None:
        """Leave those that are being made: their outcome is not recorded, the database may be closed."""
        self._abandoned.set()

    def tell_waiting(self) -> None:
        """Tell the meter how many calls wait.

        Raises:
            Unavailable: the database does not answer.
        """
        if self._meter.on:
            self._meter.calls_waiting(self._storage.read(store.waiting))

    def purge(self) -> int:
        """Delete calls that ended long ago; how many.

        Raises:
            Unavailable: the database does not answer.
        """
        before = self._clock() - KEPT
        purged = 0
        # A read first: a write, even of nothing, costs a sync of the disk.
        while not self._stopping.is_set() and self._storage.read(lambda s: store.has_ended_before(s, before)):
            some = self._storage.write(lambda s: store.purge(s, before))
            purged += some
            if some < store.PURGED_AT_ONCE:
                break
        return purged

    def _deliver_one(self) -> str | None:
        """Make the call that is next; what came of it, as an attribute of `Delivered`, or None where none is due."""
        if self._stopping.is_set():
            return None
        call = self._storage.write(lambda session: store.claim(session, self._clock(), LEASE))
        if call is None or self._abandoned.is_set():
            return None
        outcome = post(call.url, call.body, private_networks=self._private_networks, longest_s=self._longest_s)
        if self._abandoned.is_set():
            return None
        what = self._record(call, outcome)
        self._meter.call(what)
        return what

    def _record(self, call: store.Claimed, outcome: Outcome) -> CallOutcome:
        now = self._clock()
        if outcome.delivered:
            self._storage.write(lambda session: store.record_done(session, call, outcome.text, now=now))
            _logger.info("a call was made", call=call.id, attempt=call.attempts, outcome=outcome.text)
            return "done"
        again_at = now + PAUSES[call.attempts - 1] if call.attempts <= len(PAUSES) else None
        self._storage.write(
            lambda session: store.record_failure(session, call, outcome.text, again_at=again_at, now=now)
        )
        tell: Callable[..., None] = _logger.warning if again_at is None else _logger.info
        event = "a call was given up" if again_at is None else "a call failed, it will be made again"
        tell(event, call=call.id, attempt=call.attempts, outcome=outcome.text)
        return "failed" if again_at is None else "again"
