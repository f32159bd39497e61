"""`GET /.well-known/jwks.json`: every public key an answer may be verified with (RFC 7517, 5). Not signed."""

from contextlib import suppress

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from hanaper.keystore import store
from hanaper.keystore.rotate import shown
from hanaper.refusal import Unavailable
from hanaper.signing.jwk import jwk_of
from hanaper.storage.configuration import ConfigurationChanged
from hanaper.storage.session import Session
from hanaper.web.services import Services

MOST_ATTEMPTS = 5

router = APIRouter(include_in_schema=False)


@router.api_route("/.well-known/jwks.json", methods=["GET", "HEAD"])
async def jwks(request: Request) -> JSONResponse:
    """Keys that sign, that will, and that did; `product_id` is null for the global one.

    Looked up anew: whoever meets an unknown key in an answer finds it here, whichever replica he asks.
    """
    services: Services = request.app.state.services
    for _ in range(MOST_ATTEMPTS):
        snapshot = await services.configuration.snapshot(anew=True)
        with suppress(ConfigurationChanged):
            return JSONResponse({"keys": await snapshot.get("jwks", _keys)}, media_type="application/jwk-set+json")
    raise Unavailable("the configuration changes faster than a request can be answered")


def _keys(session: Session) -> list[dict[str, object]]:
    return [
        {**jwk_of(key.public_pem, key.kid), "product_id": key.product_id, "state": shown(key.state)}
        for key in store.all_keys(session)
        if key.state != store.DESTROYED
    ]
