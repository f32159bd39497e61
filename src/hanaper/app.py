"""The application: everything wired and checked before the port opens."""

import gc
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from hanaper import __version__, api, clock, log
from hanaper.audit import background as audit
from hanaper.audit.seal import Sealer
from hanaper.idempotency.purge import Purger
from hanaper.issuing import custom, rules
from hanaper.issuing import store as generators
from hanaper.keystore import pepper
from hanaper.keystore.keys import Keystore
from hanaper.limiting.limiter import Limiter
from hanaper.metrics.meter import OFF, Meter
from hanaper.outbound.background import Background
from hanaper.outbound.deliver import Deliverer
from hanaper.refusal import EXIT_BUG, Fault
from hanaper.settings import Settings
from hanaper.signing.service import SigningService
from hanaper.storage import quarantine
from hanaper.storage.configuration import Configuration, compared_version
from hanaper.storage.schema import require_current
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.transactions import Storage
from hanaper.web import health, jwks
from hanaper.web.direct import Direct
from hanaper.web.drain import Drain
from hanaper.web.failures import failure_response
from hanaper.web.hosts import AllowedHosts
from hanaper.web.middleware import Edge
from hanaper.web.readiness import Readiness
from hanaper.web.services import Services

YOUNG_OBJECTS = 20_000
_logger = log.get(__name__)


def open_services(
    settings: Settings, time: clock.Clock | None = None, meter: Meter = OFF, *, serving: bool = True
) -> Services:
    """Open and check everything the server needs.

    Args:
        settings: of the installation.
        time: the time of day; None for the clock of this machine, under guard.
        meter: is told what happens.
        serving: False for a command, which is more patient with the database.

    Raises:
        Misconfigured: the database is not there, its schema is not current, it was restored and not put in quarantine,
            or a key is wrong, missing or damaged.
        Unavailable: the database or the token does not answer.
    """
    storage = Storage.open(settings, meter, make=False, serving=serving)
    try:
        require_current(storage)
        quarantine.require_complete(storage)
        guard = _guarded_clock(storage)
        keystore = Keystore.from_settings(settings)
        keyring = keystore.keyring(storage, at_need=not serving)
        secret = storage.read(lambda session: pepper.read(session, keystore.encryption))
    except BaseException:
        storage.close()
        raise
    time = time or guard
    configuration = Configuration(storage, guard, on_change=lambda session: keystore.notice_global(session, keyring))
    signing = SigningService(keyring, time, meter)
    limiter = Limiter(settings, storage, secret, meter)
    drain = Drain(settings.drain_delay)
    return Services(settings, time, storage, configuration, keystore, signing, secret, limiter, meter, drain)


def create_app(services: Services, *, follow_signals: bool = False, listener: socket.socket | None = None) -> ASGIApp:
    """The ASGI application. It closes the services when the server stops.

    Args:
        services: wired.
        follow_signals: whether SIGTERM of this process is the application's, see `Drain`.
        listener: the socket of a process that serves alone.
    """
    private_networks = services.settings.outbound_private_networks

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        deliverer = Deliverer(services.storage, services.clock, private_networks=private_networks, meter=services.meter)
        delivery = Background(deliverer)
        purger = Purger(services.storage)
        sealing = audit.Background(sealer_of(services))
        delivery.start()
        purger.start()
        sealing.start()
        if follow_signals:
            services.drain.follow_signals(listener)
        yield
        delivery.stop()
        purger.stop()
        sealing.stop()
        services.limiter.close()
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
    app.state.readiness = Readiness(services)
    for base_path in api.BASE_PATHS:
        for router in api.ROUTERS:
            app.include_router(router, prefix=base_path)
    app.include_router(health.router)
    app.include_router(jwks.router)

    async def failed(_: Request, error: Exception) -> Response:
        return await failure_response(error, services.signing)

    # The framework's own answers, to unknown paths and wrong methods, become signed ones too.
    for kind in (HTTPException, Exception):
        app.add_exception_handler(kind, failed)
    _warn_of_missing_functions(services.storage)
    _warn_of_quarantine(services.storage)
    inner = Direct(app, api.direct_routes())
    hosts = AllowedHosts(services.settings.allowed_hosts)
    return Edge(inner, services.signing, api.endpoint_names(), services.meter, services.drain, hosts)


def sealer_of(services: Services) -> Sealer:
    """What seals the audit log of an installation."""
    return Sealer(services.storage, services.configuration, services.signing, services.clock)


def settle() -> None:
    """Spare the garbage collector what has been loaded by now: it will not become garbage. Once per serving process."""
    gc.collect()
    gc.freeze()
    # The default looks through the young objects after 700 of them, which is every few requests.
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


def from_environment() -> ASGIApp:
    """For the worker processes of `hanaper serve` and for other ASGI servers: settings from the environment.

    Where it cannot serve, the process ends: in its log stands one line, not a traceback.
    """
    settings = Settings()
    log.configure(settings.log_level, settings.log_format)
    try:
        app = create_app(open_services(settings, meter=_meter(settings)), follow_signals=True)
    except Fault as fault:
        _logger.error("this process cannot serve", reason=str(fault))  # noqa: TRY400 -- foreseen: no place in the code
        sys.exit(fault.exit_status)
    except Exception as error:  # noqa: BLE001 -- a bug: its text may quote anything
        _logger.critical("this process cannot serve", where=log.where(error))
        sys.exit(EXIT_BUG)
    settle()
    return app


def _meter(settings: Settings) -> Meter:
    if settings.metrics is None:
        return OFF
    from hanaper.metrics import expose  # noqa: PLC0415 -- a server without metrics does without their library

    return expose.joined()


def _guarded_clock(storage: Storage) -> clock.GuardedClock:
    has_clock = storage.database.file is None
    guard = clock.GuardedClock(referee=has_clock)
    if has_clock:
        storage.read(lambda session: compared_version(session, guard))
    return guard


def _warn_of_missing_functions(storage: Storage) -> None:
    for generator in storage.read(lambda session: generators.listed(session, scope=EVERYTHING)):
        if generator.method == rules.CUSTOM:
            try:
                custom.load(generator.function_name)
            except custom.NoSuchFunction as error:
                _logger.warning("a generator cannot work", generator_id=generator.id, reason=str(error))


def _warn_of_quarantine(storage: Storage) -> None:
    found = storage.read(quarantine.current)
    if found is not None:
        _logger.warning(
            "in quarantine: whatever would change something is refused with 1705",
            reason=found.reason,
            since=found.since.isoformat(),
            cure="hanaper quarantine off",
        )
