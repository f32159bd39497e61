"""Making one call: a POST over a connection of its own, bounded in time and size.

The standard library's HTTP on a socket of ours: no redirects, no proxies, no second look at the name.
"""

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException, RemoteDisconnected

from hanaper import __version__, log
from hanaper.outbound.bounded import MOST_READ, BoundedSocket, Deadline
from hanaper.outbound.guard import Address, Destination, NotAllowed, addresses, destination

LONGEST_S = 10.0
_HEADERS = {
    "User-Agent": f"hanaper/{__version__}",
    "Accept": "*/*",
    "Content-Type": "application/x-www-form-urlencoded",
    "Connection": "close",
}
_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call.

    Attributes:
        text: one line. Nothing of the body, the path, the query or the answer's own words is in it: they may hold a
            license key.
    """

    delivered: bool
    text: str


def post(url: str, body: str, *, private_networks: bool, longest_s: float = LONGEST_S) -> Outcome:
    """Post a form. Delivered means any 2xx; everything else is told in the outcome, nothing is raised.

    Args:
        url: as somebody named it.
        body: the form, encoded, ASCII.
        private_networks: whether addresses that are not public may be called.
        longest_s: seconds for all of it, from the name to the end of the answer.
    """
    try:
        return _post(destination(url), body.encode("ascii"), private_networks, Deadline(longest_s))
    except TimeoutError:
        return Outcome(False, f"no answer within {longest_s:g} s")
    except Exception as error:  # noqa: BLE001 -- a call that finds a bug uses up its attempts like any other
        return Outcome(False, _reason(error))


def _reason(error: Exception) -> str:
    """Why a call failed, in at most 255 characters. What others wrote into an exception is not repeated."""
    match error:
        case NotAllowed():
            reason = f"refused: {error}"
        case socket.gaierror():
            reason = "the host name cannot be resolved"
        case ssl.SSLCertVerificationError():
            reason = f"the certificate is not accepted: {error.verify_message}"
        case ssl.SSLError():
            reason = f"TLS failed: {error.reason or type(error).__name__}"
        case RemoteDisconnected():
            reason = "the connection was closed without an answer"
        case OSError():
            reason = f"the connection failed: {error.strerror or type(error).__name__}"
        case HTTPException():
            reason = "what answered does not speak HTTP"
        case _:
            _logger.error("a call failed for a reason nobody thought of", exc_info=error)
            reason = f"not made: {type(error).__name__}"
    return reason[:255]


def _post(to: Destination, body: bytes, private_networks: bool, deadline: Deadline) -> Outcome:  # noqa: FBT001 -- private
    found = addresses(to, private_networks=private_networks, longest_s=deadline.left())
    with _connect(found, deadline) as plain, _secure(plain, to, deadline) as connection:
        client = HTTPConnection(to.host, to.port)
        client.sock = BoundedSocket(connection, deadline)
        client.auto_open = 0  # it would resolve the name again
        client.request("POST", to.target, body, _HEADERS | {"Host": to.authority})
        with client.getresponse() as response:
            outcome = Outcome(response.status // 100 == 2, f"answered {response.status}")  # noqa: PLR2004 -- 2xx
            # Some programs are ended when the client hangs up before their last word. It changes nothing.
            with suppress(OSError, HTTPException, ValueError):
                response.read(MOST_READ)
            return outcome


def _connect(to: list[Address], deadline: Deadline) -> socket.socket:
    """Connect to the first address that answers; each gets its share of the time."""
    for left in range(len(to), 0, -1):
        address = to[-left]
        connection = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            connection.settimeout(deadline.left() / left)
            connection.connect(address.sockaddr)
        except OSError:
            connection.close()
            if left == 1:
                raise
        else:
            return connection
    raise OSError("no address")


def _secure(connection: socket.socket, to: Destination, deadline: Deadline) -> socket.socket:
    if not to.tls:
        return connection
    connection.settimeout(deadline.left())
    return _tls().wrap_socket(connection, server_hostname=to.host)


@cache
def _tls() -> ssl.SSLContext:
    """Verifies chain and host name, by the certificates the system trusts. Reading them takes a while."""
    return ssl.create_default_context()
