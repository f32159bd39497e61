"""`hanaper serve`: the server."""

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Annotated

import typer
import uvicorn

from hanaper import __version__, log
from hanaper.access import store as access
from hanaper.access.networks import is_loopback
from hanaper.app import create_app, open_services, settle
from hanaper.cli.change import upgrade
from hanaper.cli.options import DataDir, load_settings
from hanaper.metrics.meter import OFF, Meter
from hanaper.refusal import Misconfigured, Unavailable
from hanaper.settings import Settings, http_url
from hanaper.storage.transactions import Storage
from hanaper.web.deadlines import Deadlines
from hanaper.web.http_protocol import HttpProtocol
from hanaper.web.services import Services
from hanaper.web.supervisor import Supervisor

FINISH_S = 15
KEEP_ALIVE_S = 5
MOST_FILES = 65_536
_logger = log.get(__name__)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.", show_default="8000")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes.", show_default="1")] = None,
    migrate_first: Annotated[bool, typer.Option("--migrate", help="Bring the schema up to date first.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Start the server. Everything is checked before the port opens; SIGTERM drains and finishes what is under way."""
    given = {"host": host, "port": port, "workers": workers}
    for name, value in given.items():
        if value is not None:
            os.environ[f"HANAPER_{name.upper()}"] = str(value)
    settings = load_settings(data_dir, serving=True)
    _limit()
    if migrate_first:
        with Storage.open(settings) as storage:
            upgrade(storage, "serve --migrate")
    with _measuring(settings) as meter:
        services = open_services(settings, meter=meter)
        _warn_of_demo(services)
        _warn_of_read_only(services)
        listener = _listen(settings)
        run = _one_process(services, listener) if settings.workers == 1 else _several_processes(services, listener)
        _logger.info("settings", version=__version__, **settings.shown)
        _logger.info("serving", url=_url(listener), workers=settings.workers, database=services.storage.database.shown)
        run()
    _logger.info("stopped")


@contextmanager
def _measuring(settings: Settings) -> Iterator[Meter]:
    """Metrics where they are wanted. Gives the meter of this process; workers have meters of their own."""
    if settings.metrics is None:
        yield OFF
        return
    from hanaper.metrics import expose  # noqa: PLC0415 -- a server without metrics does without their library

    host, port = settings.metrics
    if settings.workers == 1:
        with expose.metrics_of_one(host, port) as meter:
            yield meter
    else:
        with expose.metrics_of_several(host, port):
            yield OFF


def _one_process(services: Services, listener: socket.socket) -> Callable[[], None]:
    app = create_app(services, follow_signals=True, listener=listener)
    server = uvicorn.Server(_config(app, services.settings))
    settle()

    def stop(*_: object) -> None:
        server.should_exit = True

    # For a signal that comes before uvicorn listens to them. It finishes what is under way and then raises the signal
    # again, for whoever was there before it: with nobody there the process would end as killed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return lambda: server.run(sockets=[listener])


def _several_processes(services: Services, listener: socket.socket) -> Callable[[], None]:
    # Each worker opens its own services; these have only been a check.
    services.storage.close()
    _forget_main_program()
    config = _config("hanaper.app:from_environment", services.settings)
    return Supervisor(config, listener, services.settings.drain_delay).run


def _forget_main_program() -> None:
    """Keep workers from importing the command line.

    A process that is spawned first imports the program it comes from, by its name or its file. A worker needs nothing
    of it: that is 12 MB less for each.
    """
    main = sys.modules["__main__"]
    main.__spec__ = None
    vars(main).pop("__file__", None)


def _config(app: object, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # an application, or the name of a function that makes one
        factory=isinstance(app, str),
        workers=settings.workers,
        loop=f"hanaper.web.event_loop:{'LoneEventLoop' if settings.workers == 1 else 'EventLoop'}",
        http=partial(HttpProtocol, deadlines=Deadlines.of(settings)),  # type: ignore[arg-type]  # it is only called
        ws="none",
        log_config=None,
        log_level=settings.log_level,
        access_log=False,
        # web/client_address.py reads X-Forwarded-For, by stricter rules.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FINISH_S,
    )


def _limit() -> None:
    """Let this process, and those it starts, have as many connections as it may, and never leave its memory in a file.

    The first is often not the default. In memory there are private keys.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With the protocol named, the event loop switches Nagle's algorithm off; else each answer would wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except socket.gaierror as error:
        raise Misconfigured(f"{settings.host!r} is no address of this machine: choose another by --host") from error
    except OSError as error:
        raise Unavailable(
            f"port {settings.port} on {settings.host} cannot be opened ({error.strerror}): "
            "stop what listens there, or choose another by --port"
        ) from error
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return http_url(host, port)


def _warn_of_demo(services: Services) -> None:
    rows = services.storage.read(access.api_keys)
    if any(row.kind == "demo" and row.status == "active" for row in rows) and not is_loopback(services.settings.host):
        _logger.warning(
            "this installation has demo data: anybody who reaches it can generate keys of the demo product",
            cure="hanaper api-key revoke, or a data folder made without --demo",
        )


def _warn_of_read_only(services: Services) -> None:
    reason = services.storage.why_read_only()
    if reason is not None:
        # What is asked for meanwhile is answered with 1705, or by reading; all works again when this has passed.
        _logger.warning("the database is read-only: nothing can be issued or changed", reason=reason)
