"""The only responses there are: signed ones (and, when nothing can be signed any more, an empty one)."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hanaper.idempotency.store import Replay
from hanaper.signing.answer import SignedAnswer


class SignedResponse(Response):
    """A signed answer as an HTTP response.

    The body goes out byte for byte as it was signed and stored. `X-Signing-Key-Id` names the key, for clients that
    hold several.
    """

    media_type = "application/json"

    def __init__(self, answer: SignedAnswer | Replay, headers: dict[str, str] | None = None) -> None:
        # Without the base class's own, which would build the same header lines by a longer way.
        self.status_code = answer.http_status
        self.background = None
        self.code = answer.code
        self.body = answer.body
        self.raw_headers = [
            (b"content-length", b"%d" % len(answer.body)),
            (b"content-type", b"application/json"),
            (b"x-signing-key-id", answer.kid.encode("ascii")),
            *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; the middleware is told its code."""
        scope.setdefault("state", {})["code"] = self.code
        await super().__call__(scope, receive, send)
