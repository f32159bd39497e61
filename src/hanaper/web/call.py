"""One request that was let in, and what it may do: change something in a transaction, and have it written down."""

from collections.abc import Callable
from dataclasses import dataclass
from random import random
from time import sleep
from typing import Generic, TypeVar

from hanaper.access.authenticate import Caller
from hanaper.audit.record import By, about, record
from hanaper.idempotency.store import Keyed, claim, complete
from hanaper.refusal import Unavailable
from hanaper.signing.answer import SignedAnswer
from hanaper.storage import quarantine
from hanaper.storage.configuration import ConfigurationChanged, Snapshot, current_version
from hanaper.storage.session import Session
from hanaper.web.fields import RequestShape
from hanaper.web.services import Services

MOST_COLLISIONS = 20
STEP_BACK_S = 0.01
"""Before the next attempt, at most, times the number of the attempt."""

Shape = TypeVar("Shape", bound=RequestShape)


class NothingDone(Exception):
    """What was asked changed nothing: the transaction is rolled back, leaves no record, and the answer goes out.

    Attributes:
        answer: what is told.
    """

    def __init__(self, answer: SignedAnswer) -> None:
        super().__init__(answer.code)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Call(Generic[Shape]):
    """One authenticated and validated request.

    Attributes:
        services: the application's floors.
        endpoint: its name.
        snapshot: the configuration the caller was found in.
        caller: who asks.
        fields: what is asked, checked.
        request_id: for the records.
        address: where the request comes from, as far as it can be believed; empty where that cannot be told.
        user_agent: what the client calls itself.
        keyed: the request under its idempotency key; None where it has none.
    """

    services: Services
    endpoint: str
    snapshot: Snapshot
    caller: Caller
    fields: Shape
    request_id: str
    address: str = ""
    user_agent: str = ""
    keyed: Keyed | None = None

    def write(
        self, work: Callable[[Session], SignedAnswer], *, again: tuple[type[Exception], ...] = ()
    ) -> SignedAnswer:
        """Do what is asked, sign the answer, and write it down in the audit log, in one transaction (decision 0010).

        Args:
            work: what it returns is answered, and recorded under the idempotency key. It may raise `NothingDone`.
            again: what the work raises where another request was in its way: it is rolled back and done again.

        Raises:
            ConfigurationChanged: since the caller was let in; nothing is stored. The endpoint begins again.
            Repeated: a twin of the request was carried out; nothing is stored. The endpoint begins again.
            InFlight: a twin of the request is being carried out for too long; nothing is stored.
            Refusal: what the work raised; nothing is stored.
            Unavailable: the database does not answer, or other requests were in the way at each attempt. Nothing is
                stored by the latter.
        """

        def as_let_in(session: Session) -> SignedAnswer:
            if current_version(session) != self.snapshot.version:
                raise ConfigurationChanged
            return work(session)

        return self._repeated(as_let_in, again)

    def configure(
        self, work: Callable[[Session], SignedAnswer], *, again: tuple[type[Exception], ...] = ()
    ) -> SignedAnswer:
        """The same for work that changes the configuration itself.

        Many who do that at once would make each other begin again, so the caller is not looked at a second time; the
        quarantine is.
        """

        def caught_up(session: Session) -> SignedAnswer:
            quarantine.require_none(session)
            self.services.configuration.catch_up(session, self.snapshot)
            return work(session)

        return self._repeated(caught_up, again)

    def _repeated(self, work: Callable[[Session], SignedAnswer], again: tuple[type[Exception], ...]) -> SignedAnswer:
        for attempt in range(MOST_COLLISIONS):
            try:
                return self.services.storage.write(lambda session: self._once(session, work))
            except NothingDone as nothing:
                return nothing.answer
            except again:
                # Not all of them at the same moment once more.
                sleep(random() * attempt * STEP_BACK_S)  # noqa: S311 -- nothing secret
        raise Unavailable("other requests were in the way again and again")

    def _once(self, session: Session, work: Callable[[Session], SignedAnswer]) -> SignedAnswer:
        if self.keyed is not None:
            claim(session, self.keyed)
        answer = work(session)
        if self.keyed is not None:
            complete(session, self.keyed, answer)
        self._record(session, answer)
        return answer

    def _record(self, session: Session, answer: SignedAnswer) -> None:
        """In the audit log. Last of all: on PostgreSQL the sealer waits for whoever has begun a row."""
        license_key = getattr(self.fields, "license_key", None)
        if license_key:
            about(session, license_key=license_key)
        services = self.services
        by = By(self.caller.api_key_id, self.address, self.request_id)
        record(session, self.endpoint, now=services.clock(), by=by, pepper=services.pepper, code=answer.code)
