"""The only responses there are: signed ones (and, when nothing can be signed any more, an empty one)."""

from starlette.responses import Response

from hanaper.signing.service import SignedAnswer


class SignedResponse(Response):
    """A signed answer as an HTTP response.

    The body goes out byte for byte as it was signed and stored. `X-Signing-Key-Id` names the key, for clients that
    hold several.
    """

    media_type = "application/json"

    def __init__(self, answer: SignedAnswer, headers: dict[str, str] | None = None) -> None:
        super().__init__(
            answer.body, status_code=answer.http_status, headers={"X-Signing-Key-Id": answer.kid, **(headers or {})}
        )
