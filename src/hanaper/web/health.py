"""Liveness and readiness, for the container engine and the load balancer. Not part of the API, hence not signed."""

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from hanaper.refusal import Unavailable
from hanaper.web.services import Services

router = APIRouter(include_in_schema=False)


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> PlainTextResponse:
    """The process answers."""
    return PlainTextResponse("ok\n")


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(request: Request) -> PlainTextResponse:
    """The database answers too."""
    services: Services = request.app.state.services
    try:
        await run_in_threadpool(services.storage.ping)
    except Unavailable:
        return PlainTextResponse("the database does not answer\n", status_code=503)
    return PlainTextResponse("ready\n")
