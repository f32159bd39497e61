"""Liveness and readiness, for the container engine and the load balancer. Not part of the API, hence not signed."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from hanaper.web.readiness import Readiness

router = APIRouter(include_in_schema=False)


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> PlainTextResponse:
    """The process lives. Nothing else: what is not well in it, or around it, a restart would not cure."""
    return PlainTextResponse("ok\n")


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(request: Request) -> PlainTextResponse:
    """The process is to be sent requests, or the reason why not: see `readiness`."""
    readiness: Readiness = request.app.state.readiness
    reason = await readiness.reason()
    if reason is not None:
        return PlainTextResponse(f"{reason}\n", status_code=503)
    return PlainTextResponse("ready\n")
