"""The application: everything wired and checked before the port opens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from hanaper import __version__, api, clock, log
from hanaper.issuing import custom, rules
from hanaper.issuing import store as generators
from hanaper.keystore.keys import Keystore
from hanaper.settings import Settings
from hanaper.signing.service import SigningService
from hanaper.storage.migrate import require_current
from hanaper.storage.transactions import Storage
from hanaper.web import health
from hanaper.web.failures import failure_response
from hanaper.web.middleware import Edge
from hanaper.web.services import Services

_logger = log.get(__name__)


def open_services(settings: Settings, time: clock.Clock = clock.utc_now) -> Services:
    """Open and check everything the server needs.

    Raises:
        Misconfigured: the schema is not current, or a key is wrong, missing or damaged.
        Unavailable: the database does not answer.
    """
    storage = Storage.open(settings)
    try:
        require_current(storage)
        keystore = Keystore.from_settings(settings)
        keyring = keystore.keyring(storage)
        pepper = storage.read(keystore.pepper)
    except BaseException:
        storage.close()
        raise
    return Services(settings, time, storage, keystore, SigningService(keyring, time), pepper)


def create_app(services: Services) -> FastAPI:
    """The ASGI application. It closes the services when the server stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        services.storage.close()

    app = FastAPI(
        title="hanaper",
        version=__version__,
        openapi_url="/openapi.json" if services.settings.openapi else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.services = services
    for base_path in api.BASE_PATHS:
        for router in api.ROUTERS:
            app.include_router(router, prefix=base_path)
    app.include_router(health.router)
    app.add_middleware(Edge, signing=services.signing)
    # The framework's own answers, to unknown paths and wrong methods, become signed ones too.
    app.add_exception_handler(HTTPException, lambda _, error: failure_response(error, services.signing))
    _warn_of_missing_functions(services.storage)
    return app


def from_environment() -> FastAPI:
    """For the worker processes of `hanaper serve` and for other ASGI servers: settings from the environment."""
    settings = Settings()
    log.configure(settings.log_level, settings.log_format)
    return create_app(open_services(settings))


def _warn_of_missing_functions(storage: Storage) -> None:
    for generator in storage.read(generators.listed):
        if generator.method == rules.CUSTOM:
            try:
                custom.load(generator.function_name)
            except custom.NoSuchFunction as error:
                _logger.warning("a generator cannot work", generator_id=generator.id, reason=str(error))
