"""The short way to an endpoint."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Routes: TypeAlias = Mapping[tuple[str, str], Callable[[Request], Awaitable[Response]]]
"""By method and path."""


class Direct:
    """Calls an endpoint without the framework in between, and leaves everything else to it.

    The framework describes the endpoints and answers to unknown paths and wrong methods. What it does around each
    request it serves itself (its own middleware, matching, dependencies, exit stacks) no endpoint here needs, and it
    costs as much as reading the request (docs/performance.md).
    """

    def __init__(self, app: Starlette, routes: Routes) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
        else:
            scope["app"] = self._app
            response = await route(Request(scope, receive))
            await response(scope, receive, send)
