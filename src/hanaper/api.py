"""All routers, in the order of the API reference."""

from fastapi import APIRouter

from hanaper.issuing.routes import router as issuing
from hanaper.products.routes import router as products

ROUTERS: tuple[APIRouter, ...] = (issuing, products)

# The JS client resolves "/v1/…" against the host, which drops "/api" (protocol.md 2.4).
BASE_PATHS = ("/api/v1", "/v1")
