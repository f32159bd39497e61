"""How an endpoint is declared: path, shape, handler. Everything else is the same for all of them."""

import inspect
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Literal, TypeVar

from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hanaper.access.authenticate import authenticate, presented
from hanaper.idempotency.store import Repeated
from hanaper.protocol.codes import Code
from hanaper.refusal import Quarantined, RateLimited, Refusal, Unavailable
from hanaper.signing.answer import SignedAnswer
from hanaper.storage import quarantine
from hanaper.storage.configuration import ConfigurationChanged, Snapshot
from hanaper.web.admission import Admission
from hanaper.web.call import Call, Shape
from hanaper.web.fields import validate
from hanaper.web.idempotent import REPLAYED, keyed, replay_of
from hanaper.web.openapi import operation
from hanaper.web.parameters import credentials, is_json, read_parameters, user_agent
from hanaper.web.responses import SignedResponse
from hanaper.web.services import Services

MOST_ATTEMPTS = 5

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
