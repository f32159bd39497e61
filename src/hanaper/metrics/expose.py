"""`/metrics`, on an address of its own: one thread of the process that was started first, whoever serves the API."""

import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from threading import BoundedSemaphore, Thread
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hanaper import __version__, log
from hanaper.metrics import shared
from hanaper.metrics.meter import OFF, Meter
from hanaper.metrics.prometheus import PrometheusMeter
from hanaper.refusal import Misconfigured, Unavailable
from hanaper.settings import http_url

PATH = "/metrics"
LONGEST_SILENCE_S = 10.0
MOST_READERS = 8
_logger = log.get(__name__)


@contextmanager
def metrics_of_one(host: str, port: int) -> Iterator[Meter]:
    """Serve what this process measures, for the length of a `with` block. Gives the meter to be told.

    Raises:
        Misconfigured: the host is no address of this machine.
        Unavailable: the address cannot be opened.
    """
    values.ValueClass = values.MutexValue
    registry = CollectorRegistry()
    meter = PrometheusMeter(registry)
    registry.register(Server(lambda: 1))
    with _served(registry, host, port):
        yield meter


@contextmanager
def metrics_of_several(host: str, port: int) -> Iterator[None]:
    """Serve what the processes measure that are started meanwhile and call `joined`.

    Raises:
        Misconfigured: the host is no address of this machine, or no private folder can be made.
        Unavailable: the address cannot be opened.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(shared.shared_folder())
        except OSError as error:
            raise Misconfigured(
                f"no temporary folder for HANAPER_METRICS_ADDRESS can be made ({error.strerror}): "
                "name one that can be written to by TMPDIR"
            ) from error
        registry = CollectorRegistry()
        shared.SharedFigures(registry, folder)
        registry.register(Server(partial(shared.serving_processes, folder)))
        stack.enter_context(_served(registry, host, port))
        yield


def joined() -> Meter:
    """The meter of one of several processes. That it cannot measure is no reason not to serve."""
    folder = os.environ.get(shared.VARIABLE)
    if folder is None:
        _logger.warning("nothing is measured: HANAPER_METRICS_ADDRESS is for `hanaper serve`")
        return OFF
    try:
        return shared.join(Path(folder))
    except OSError as error:
        reason = f"{folder}: {error.strerror}"
    _logger.error("nothing is measured by this process", reason=reason)
    return OFF


class Server(Collector):
    """What is known of the server without being told."""

    def __init__(self, serving_processes: Callable[[], int]) -> None:
        self._serving_processes = serving_processes
        self._began = time.time()

    def collect(self) -> Iterable[Metric]:
        """Three gauges."""
        build = GaugeMetricFamily(
            "hanaper_build_info", "Always 1; the labels tell what runs.", labels=("version", "python")
        )
        build.add_metric((__version__, platform.python_version()), 1)
        yield build
        yield GaugeMetricFamily("hanaper_start_time_seconds", "When the server was started, Unix time.", self._began)
        processes = self._serving_processes()
        yield GaugeMetricFamily("hanaper_serving_processes", "Processes that serve the API at this moment.", processes)


class _Handler(MetricsHandler):
    timeout = LONGEST_SILENCE_S

    def do_GET(self) -> None:  # noqa: N802 -- the library's name
        if urlsplit(self.path).path == PATH:
            super().do_GET()
        else:
            self.send_error(404)

    def version_string(self) -> str:
        return "hanaper"


class _HttpServer(ThreadingHTTPServer):
    """Few readers at a time: whoever opens more connections gets them closed."""

    daemon_threads = True
    # Else a second program could listen on the same port, and take half of what is asked.
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._free = BoundedSemaphore(MOST_READERS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Without the base class's question for the name of the address, which may take the resolver seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            # No thread could be started, so none will do it.
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """As a line of the log; a reader who left is no error."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            _logger.error("the metrics could not be told", where=log.where(error))


@contextmanager
def _served(registry: CollectorRegistry, host: str, port: int) -> Iterator[None]:
    handler = type("Handler", (_Handler,), {"registry": registry})
    try:
        server = _HttpServer((host, port), handler)
    except socket.gaierror as error:
        raise Misconfigured(f"{host!r} in HANAPER_METRICS_ADDRESS is no address of this machine") from error
    except OSError as error:
        raise Unavailable(
            f"port {port} on {host} cannot be opened for metrics ({error.strerror}): "
            "stop what listens there, or choose another by HANAPER_METRICS_ADDRESS"
        ) from error
    with server:
        thread = Thread(target=server.serve_forever, name="hanaper-metrics", daemon=True)
        thread.start()
        _logger.info("serving metrics", url=http_url(str(server.server_name), server.server_port) + PATH)
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
