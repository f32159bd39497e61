"""How an endpoint is declared: path, shape, handler. Everything else is the same for all of them."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import random
from time import monotonic, sleep
from typing import Any, Generic, Literal, TypeVar

from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hanaper.access.authenticate import Caller, authenticate, presented
from hanaper.audit.record import By, about, record
from hanaper.idempotency.store import Keyed, Repeated, claim, complete
from hanaper.protocol.codes import Code
from hanaper.refusal import Quarantined, RateLimited, Refusal, Unavailable
from hanaper.signing.answer import SignedAnswer
from hanaper.storage import quarantine
from hanaper.storage.configuration import ConfigurationChanged, Snapshot, current_version
from hanaper.storage.session import Session
from hanaper.web.admission import Admission
from hanaper.web.fields import RequestShape, validate
from hanaper.web.idempotent import REPLAYED, keyed, replay_of
from hanaper.web.openapi import operation
from hanaper.web.parameters import credentials, is_json, read_parameters, user_agent
from hanaper.web.responses import SignedResponse
from hanaper.web.services import Services

MOST_ATTEMPTS = 5
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


Handler = Callable[[Call[Shape]], SignedAnswer] | Callable[[Call[Shape]], Awaitable[SignedAnswer]]
Declared = TypeVar("Declared", bound=Callable[..., Any])


def _awaited(handler: Callable[..., Any]) -> Callable[[Call[Any]], Awaitable[SignedAnswer]]:
    """The handler as a coroutine. A thread cannot be stopped; but who asked need not wait for it."""
    if inspect.iscoroutinefunction(handler):
        return handler
    return lambda call: to_thread.run_sync(handler, call, abandon_on_cancel=True)


async def _carried_out(
    handle: Callable[[Call[Any]], Awaitable[SignedAnswer]],
    call: Call[Any],
    let_in: Snapshot | None,
    admission: Admission,
) -> SignedResponse:
    """The answer to a request, or that to its twin: it may be that one that took the last of what was to be had.

    Args:
        let_in: the snapshot in which the caller was found, if that may be out of date by now.
        admission: what has been taken of the budgets.

    Raises:
        Refusal: there is no answer, and no twin that has one.
        ConfigurationChanged: since the caller was let in.
    """
    try:
        return SignedResponse(await handle(call))
    except Refusal:
        await admission.save()
        replay = await replay_of(call.keyed, call.services.storage, let_in)
        if replay is None:
            raise
        return SignedResponse(replay, REPLAYED)


def endpoint(  # noqa: C901 -- one function nests what a request goes through, in its order
    router: APIRouter,
    method: Literal["GET", "POST"],
    name: str,
    *,
    shape: type[Shape],
    bad_fields: Code,
    only_reads: bool = False,
    license_keys: Callable[[Shape], int] = lambda _: 0,
) -> Callable[[Declared], Declared]:
    """Declare an endpoint. Its name is its path and the ability an API key needs for it.

    Order: read, take of the budgets, authenticate, replay what was carried out before, refuse what changes something in
    quarantine, validate, take license keys of the budget, handle. A handler that is a coroutine runs on the event loop
    and has to check the snapshot's version in the transaction it commits; any other runs in a worker thread, for a
    caller who was looked up anew.

    Args:
        shape: the request shape.
        bad_fields: the code that answers for bad fields.
        only_reads: a POST that changes nothing, and has no use for an idempotency key.
        license_keys: how many a request asks for.
    """
    changes = method == "POST" and not only_reads

    def declare(handler: Declared) -> Declared:
        on_loop, handle = inspect.iscoroutinefunction(handler), _awaited(handler)

        async def attempt(
            request: Request,
            services: Services,
            snapshot: Snapshot,
            parameters: dict[str, object],
            admission: Admission,
            *,
            is_new: bool,
        ) -> SignedResponse:
            await admission.enter(snapshot)
            caller = await authenticate(
                snapshot, admission.credentials, admission.given, endpoint=name, now=services.clock()
            )
            asked = keyed(request, parameters, caller, name) if changes else None
            let_in = None if is_new else snapshot
            replay = await replay_of(asked, services.storage, let_in)
            if replay is not None:
                await admission.save()
                return SignedResponse(replay, REPLAYED)
            if changes:
                await quarantine.require_none_at(snapshot)
            limits: dict[str, Any] = {"max_quantity": services.settings.max_quantity, "json": is_json(request)}
            fields = validate(shape, parameters, context=limits, code=bad_fields)
            await admission.spend(license_keys(fields))
            call = Call(
                services,
                name,
                snapshot,
                caller,
                fields,
                request.scope["state"]["request_id"],
                admission.address,
                user_agent(request),
                asked,
            )
            return await _carried_out(handle, call, let_in, admission)

        async def route(request: Request) -> Response:
            services: Services = request.app.state.services
            parameters = await read_parameters(request, services.settings)
            work = answer(request, services, parameters)
            return await services.patience.bound(work, services.storage.longest_request_s)

        async def answer(request: Request, services: Services, parameters: dict[str, object]) -> Response:
            began = monotonic()
            anew = not on_loop
            sender = credentials(request, parameters, services.settings)
            admission = Admission(services.limiter, sender, presented(sender.api_key, services.pepper))
            # Who has nothing left is told so before the database is asked whether that is still so.
            await admission.enter_early(services.configuration.trusted)
            for _ in range(MOST_ATTEMPTS):
                snapshot = await services.configuration.snapshot(anew=anew)
                try:
                    return await attempt(request, services, snapshot, parameters, admission, is_new=anew)
                except (ConfigurationChanged, Repeated):
                    anew = True
                except (Refusal, Quarantined) as refusal:
                    # Nobody is refused for what has been mended meanwhile; what is used up is no such thing.
                    if isinstance(refusal, RateLimited) or not await services.configuration.changed(
                        snapshot, since=began
                    ):
                        raise
            raise Unavailable("the configuration changes faster than a request can be answered")

        router.add_api_route(
            f"/{name}",
            route,
            methods=[method],
            name=name,
            description=handler.__doc__ or "",
            response_model=None,
            openapi_extra=operation(method, shape),
        )
        return handler

    return declare
