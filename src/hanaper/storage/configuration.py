"""What rarely changes, remembered by version (decision 0007).

API keys, the block list, products, generators and signing keys are read by every request and changed by people. Each
change of one of their rows draws a new version by a trigger, in the same transaction. What a process has read is
remembered for as long as the version stands; the version itself is looked up once a second, and again inside each
transaction that issues something. So nothing is issued on terms that had been changed before its transaction began.
"""

import asyncio
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any, TypeVar

from sqlalchemy import BigInteger, CheckConstraint, Float, Integer, String, cast, extract, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from hanaper.clock import GuardedClock
from hanaper.refusal import Unavailable
from hanaper.storage.base import Base, Moment, length_within
from hanaper.storage.scope import Scope
from hanaper.storage.transactions import Storage

LONGEST_TRUST_S = 1.0
MOST_REMEMBERED = 10_000

Found = TypeVar("Found")


class ConfigurationVersion(Base):
    """One row, written by triggers only.

    The version is drawn at random, not counted: a database that comes back from a backup must not meet a process that
    remembers other things under the same number.
    """

    __tablename__ = "configuration_version"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)


class Quarantine(Base):
    """One row where the database comes from a backup and nobody has confirmed yet that it may issue; else none."""

    __tablename__ = "quarantine"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    reason: Mapped[str] = mapped_column(String(255))
    since: Mapped[Moment]

    __table_args__ = (CheckConstraint("id = 1", name="one_row"), length_within("reason", 255, 1))


class ConfigurationChanged(Exception):
    """Somebody changed the configuration while a request was at work; nothing is stored. Begin again."""


def current_version(session: Session) -> int:
    """The version as this transaction sees it.

    Raises:
        Unavailable: there is none, see `quarantine.require_complete`.
    """
    return _there(session.scalars(select(ConfigurationVersion.version)).one_or_none())


def compared_version(session: Session, clock: GuardedClock) -> int:
    """The same, and on the way the clock is compared with that of the database, which has to be PostgreSQL.

    Raises:
        Unavailable: see above.
    """
    asked = monotonic()
    moment = cast(extract("epoch", func.clock_timestamp()), Float)
    version, told = _there(session.execute(select(ConfigurationVersion.version, moment)).one_or_none())
    clock.compare(told, asked=asked, told=monotonic())
    number: int = version
    return number


def _there(found: Found | None) -> Found:
    if found is None:
        raise Unavailable("the database is being restored, and nobody has put it in quarantine yet")
    return found


class Snapshot:
    """What has been read of the configuration at one version."""

    def __init__(self, storage: Storage, version: int, seen: float) -> None:
        """Begin with nothing.

        Args:
            storage: to read from.
            version: of the configuration.
            seen: `time.monotonic()` of a moment at which it was the current one.
        """
        self.version = version
        self.seen = seen
        self._storage = storage
        self._found: dict[Hashable, Any] = {}
        self._loading: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, name: Hashable, load: Callable[[Session], Found]) -> Found:
        """What is remembered under a name, or else what `load` reads. None is not remembered.

        Raises:
            ConfigurationChanged: the configuration is no longer at this version.
            Unavailable: the database does not answer.
        """
        found: Found | None = self._found.get(name)
        if found is not None:
            return found
        # After a change many requests miss the same thing at once: one of them reads it.
        loading = self._loading.get(name)
        if loading is None:
            loading = asyncio.create_task(self._load(name, load))
            self._loading[name] = loading
            loading.add_done_callback(lambda done: self._loaded(name, done))
        read: Found = await asyncio.shield(loading)
        return read

    async def get_within(self, scope: Scope, name: Hashable, load: Callable[[Session, Scope], Found]) -> Found:
        """The same for what belongs to a product: what is remembered for one scope is not there for another.

        Raises:
            ConfigurationChanged: the configuration is no longer at this version.
            Unavailable: the database does not answer.
        """
        return await self.get((name, scope), lambda session: load(session, scope))

    def _loaded(self, name: Hashable, done: asyncio.Task[Any]) -> None:
        del self._loading[name]
        if not done.cancelled():
            done.exception()  # Who asked for it may have left; then nobody else takes notice of it.

    async def _load(self, name: Hashable, load: Callable[[Session], Found]) -> Found:
        def work(session: Session) -> tuple[int, Found]:
            return current_version(session), load(session)

        began = monotonic()
        version, read = await asyncio.to_thread(self._storage.read, work)
        if version != self.version:
            raise ConfigurationChanged
        self.seen = max(self.seen, began)
        if read is not None:
            if len(self._found) >= MOST_REMEMBERED:
                self._found.clear()
            self._found[name] = read
        return read


class Configuration:
    """The newest snapshot of a process. For one event loop."""

    def __init__(
        self,
        storage: Storage,
        clock: GuardedClock | None = None,
        *,
        on_change: Callable[[Session], None] = lambda _: None,
    ) -> None:
        """Remember nothing yet.

        Args:
            storage: to read from.
            clock: to be compared with that of the database, if that is PostgreSQL.
            on_change: told of a configuration that is new to this process, in a session that reads it, before anybody
                is answered by it.
        """
        self._storage = storage
        self._clock = clock if storage.database.file is None else None
        self._on_change = on_change
        self._snapshot: Snapshot | None = None
        self._looking: asyncio.Task[Snapshot] | None = None

    async def snapshot(self, *, anew: bool = False) -> Snapshot:
        """A snapshot that was current within the last second; or, looked up anew, at some moment after the call.

        Raises:
            Unavailable: the database does not answer.
        """
        if anew:
            return await self._look_up()
        trusted = self.trusted
        if trusted is not None:
            return trusted
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_up())
        return await asyncio.shield(self._looking)

    @property
    def trusted(self) -> Snapshot | None:
        """The snapshot that was current within the last second; None where it has to be looked up."""
        if self._snapshot is not None and monotonic() - self._snapshot.seen <= LONGEST_TRUST_S:
            return self._snapshot
        return None

    def catch_up(self, session: Session, snapshot: Snapshot) -> None:
        """For work that goes on whatever the configuration is by now: take notice of a change since a snapshot.

        Args:
            session: of the transaction that does the work.
            snapshot: in which the caller was found.
        """
        if current_version(session) != snapshot.version:
            self._on_change(session)

    def take_notice(self, session: Session) -> None:
        """For work that no request asks for: take notice of what this session sees."""
        self._on_change(session)

    async def changed(self, snapshot: Snapshot, *, since: float) -> bool:
        """Whether the configuration has another version now, unless it has been looked up since a moment.

        Raises:
            Unavailable: the database does not answer.
        """
        return snapshot.seen < since and await self._look_up() is not snapshot

    def _read(self, session: Session) -> int:
        version = self._version(session)
        if self._snapshot is None or self._snapshot.version != version:
            self._on_change(session)
        return version

    async def _look_up(self) -> Snapshot:
        try:
            began = monotonic()
            version = await asyncio.to_thread(self._storage.read, self._read)
            if self._snapshot is None or self._snapshot.version != version:
                self._snapshot = Snapshot(self._storage, version, began)
            self._snapshot.seen = max(self._snapshot.seen, began)
            return self._snapshot
        finally:
            self._looking = None

    def _version(self, session: Session) -> int:
        return current_version(session) if self._clock is None else compared_version(session, self._clock)
