"""All routers, in the order of the API reference."""

from fastapi import APIRouter
from fastapi.routing import APIRoute

from hanaper.activation.routes import router as activation
from hanaper.assignment.routes import router as assignment
from hanaper.issuing.routes import router as issuing
from hanaper.licenses.metadata_routes import router as license_key_metadata
from hanaper.licenses.routes import router as licenses
from hanaper.products.metadata_routes import router as product_metadata
from hanaper.products.routes import router as products
from hanaper.registration.routes import router as registration
from hanaper.web import health
from hanaper.web.direct import Routes

ROUTERS: tuple[APIRouter, ...] = (
    issuing,
    activation,
    registration,
    licenses,
    license_key_metadata,
    assignment,
    products,
    product_metadata,
)

# The JS client resolves "/v1/…" against the host, which drops "/api" (protocol.md 2.4).
BASE_PATHS = ("/api/v1", "/v1")


def direct_routes() -> Routes:
    """All endpoints by method and path."""
    return {
        (method, base_path + route.path): route.endpoint
        for base_path in BASE_PATHS
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }


def endpoint_names() -> dict[str, str]:
    """Names of all endpoints, and of the two for health, by path."""
    named = {path: path.rpartition("/")[2] for _, path in direct_routes()}
    return named | {route.path: route.path[1:] for route in health.router.routes if isinstance(route, APIRoute)}
