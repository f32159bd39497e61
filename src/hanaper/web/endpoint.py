"""How an endpoint is declared: path, shape, handler. Everything else is the same for all of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from hanaper.access.authenticate import Caller, authenticate
from hanaper.protocol.codes import Code
from hanaper.signing.service import SignedAnswer
from hanaper.web.fields import RequestShape, validate
from hanaper.web.openapi import operation
from hanaper.web.parameters import credentials, read_parameters
from hanaper.web.responses import SignedResponse
from hanaper.web.services import Services

Shape = TypeVar("Shape", bound=RequestShape)


@dataclass(frozen=True, slots=True)
class Call(Generic[Shape]):
    """One authenticated and validated request.

    Attributes:
        services: the application's floors.
        caller: who asks.
        fields: what is asked, checked.
        request_id: for the records.
    """

    services: Services
    caller: Caller
    fields: Shape
    request_id: str


Handler = Callable[[Call[Shape]], SignedAnswer]


def endpoint(
    router: APIRouter, method: Literal["GET", "POST"], name: str, *, shape: type[Shape], bad_fields: Code
) -> Callable[[Handler[Shape]], Handler[Shape]]:
    """Declare an endpoint. Its name is its path and the ability an API key needs for it.

    The handler runs in a worker thread. Order: read, authenticate, validate, handle.

    Args:
        shape: the request shape.
        bad_fields: the code that answers for bad fields.
    """

    def declare(handler: Handler[Shape]) -> Handler[Shape]:
        async def route(request: Request) -> Response:
            services: Services = request.app.state.services
            parameters = await read_parameters(request, services.settings)
            sender = credentials(request, parameters, services.settings)

            def serve() -> SignedAnswer:
                caller = services.storage.read(
                    lambda session: authenticate(
                        session, sender, endpoint=name, pepper=services.pepper, now=services.clock()
                    )
                )
                limits: dict[str, Any] = {"max_quantity": services.settings.max_quantity}
                fields = validate(shape, parameters, context=limits, code=bad_fields)
                return handler(Call(services, caller, fields, request.state.request_id))

            return SignedResponse(await run_in_threadpool(serve))

        _register(router, method, name, route, shape, handler.__doc__ or "")
        return handler

    return declare


def _register(
    router: APIRouter,
    method: str,
    name: str,
    route: Callable[[Request], Awaitable[Response]],
    shape: type[RequestShape],
    description: str,
) -> None:
    router.add_api_route(
        f"/{name}",
        route,
        methods=[method],
        name=name,
        description=description,
        response_model=None,
        openapi_extra=operation(method, shape),
    )
