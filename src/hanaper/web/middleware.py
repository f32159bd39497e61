"""The outermost layer: request ids, the access log, allowed hosts, and an answer to whatever escapes."""

from collections.abc import Mapping
from time import perf_counter
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hanaper import log
from hanaper.metrics.meter import Meter
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.signing.service import SigningService
from hanaper.web.drain import Drain
from hanaper.web.failures import failure_response
from hanaper.web.hosts import AllowedHosts

_QUIET_PATHS = frozenset({"/healthz", "/readyz"})
_OTHER = "other"
_LONGEST_LOGGED_PATH = 200
_EVERY_ANSWER = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
_logger = log.get(__name__)


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        signing: SigningService,
        endpoints: Mapping[str, str],
        meter: Meter,
        drain: Drain,
        hosts: AllowedHosts,
    ) -> None:
        """Wrap an application.

        Args:
            app: the application.
            signing: signs what is answered here.
            endpoints: their names by path; what else is asked for counts as one.
            meter: is told of each answer.
            drain: whether this process is about to stop; then no connection is kept.
            hosts: under which the API may be asked for. Probes of health ask for an address.
        """
        self._app = app
        self._signing = signing
        self._endpoints = endpoints
        self._meter = meter
        self._drain = drain
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; connections of other kinds pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        request_id = uuid4().hex
        log.request_id.set(request_id)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 0
        complete = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, complete
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode("ascii")),
                    *_EVERY_ANSWER,
                ]
                if self._drain.begun:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            if self._hosts.allow(scope["headers"]) or scope["path"] in _QUIET_PATHS:
                await self._app(scope, receive, send_with_headers)
            else:
                refused = await failure_response(Refusal(codes.UNKNOWN_HOST), self._signing)
                await refused(scope, receive, send_with_headers)
        except Exception as error:
            if status and not complete:
                raise  # The answer has begun; all that is left is to cut the connection.
            if not complete:
                failed = await failure_response(error, self._signing)
                await failed(scope, receive, send_with_headers)
        finally:
            seconds = perf_counter() - began
            code = state.get("code")
            self._meter.answered(self._endpoints.get(scope["path"], _OTHER), code, status, seconds)
            if scope["path"] not in _QUIET_PATHS:
                # The path without the query string, which may hold an API key.
                _logger.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"][:_LONGEST_LOGGED_PATH],
                    status=status,
                    code=code,
                    ms=round(seconds * 1000, 2),
                )
