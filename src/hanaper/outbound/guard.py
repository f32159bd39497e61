"""Which addresses may be called (protocol.md 7.4, last line).

Whoever activates a license names a URL, and this machine calls it: without a guard that would be a way into the network
it stands in. A name is resolved once, and what is connected to is the very address that was looked at.
"""

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit

_PORTS = {"http": 80, "https": 443}
_MOST_ADDRESSES = 4
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_UNQUOTED = "%/:?@!$&'()*+,;=~[]"

_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
_NOT_PUBLIC = (
    # Not all versions of `ipaddress` know of these.
    ip_network("192.0.0.0/24"),
    ip_network("192.88.99.0/24"),
    ip_network("3fff::/20"),
    # Inside Azure this answers virtual machines, with their own secrets.
    ip_network("168.63.129.16/32"),
)


class NotAllowed(Exception):
    """This URL is not called. The text says why, in one line, without path and query."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL, taken apart.

    Attributes:
        host: ASCII: an IDNA name, or an address without brackets.
        authority: the value of the Host header.
        target: path and query, ASCII, without spaces. They may hold secrets.
    """

    tls: bool
    host: str
    port: int
    authority: str
    target: str


@dataclass(frozen=True, slots=True)
class Address:
    """What a socket connects to: never resolved again."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]


def destination(url: str) -> Destination:
    """Take a URL apart.

    Raises:
        NotAllowed: it is none, not http or https, or it holds credentials.
    """
    try:
        parts = urlsplit(url)
        host, port, target = parts.hostname or "", parts.port, _target(parts)
        if ":" in host:
            ip_address(host)
        else:
            host = host.encode("idna").decode("ascii")
    except ValueError:  # what IDNA refuses is one, too
        raise NotAllowed("the URL is malformed") from None
    if parts.scheme not in _PORTS:
        raise NotAllowed("only http and https are called")
    if "@" in parts.netloc:
        raise NotAllowed("the URL holds credentials")
    if port == 0 or not _HOST.fullmatch(host):
        raise NotAllowed("the URL is malformed")
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, _PORTS[parts.scheme]) else f"{shown}:{port}"
    return Destination(parts.scheme == "https", host, port or _PORTS[parts.scheme], authority, target)


def addresses(to: Destination, *, private_networks: bool, longest_s: float) -> list[Address]:
    """Resolve the host, once.

    Args:
        private_networks: whether addresses that are not public are allowed as well.
        longest_s: seconds to wait for the resolver.

    Returns:
        Those to try, in order; one at least.

    Raises:
        NotAllowed: one of them is not public: then none is called, since the name may be somebody's probe.
        OSError: the host cannot be resolved, in time (`TimeoutError`) or at all (`socket.gaierror`).
    """
    found = _resolve(to.host, to.port, longest_s)
    if not private_networks:
        for address in found:
            if not is_public(ip_address(address.sockaddr[0])):
                raise NotAllowed(f"{address.sockaddr[0]} is not a public address")
    return found[:_MOST_ADDRESSES]


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public Internet, also where IPv4 is carried inside of IPv6."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(address.packed[-4:])
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL_UNICAST:
            return False
    special = address.is_multicast or address.is_reserved or address.is_loopback or address.is_link_local
    if special or address.is_unspecified or not address.is_global:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_UNQUOTED)
    return f"{path}?{quote(parts.query, safe=_UNQUOTED)}" if parts.query else path


def _resolve(host: str, port: int, longest_s: float) -> list[Address]:
    """Ask the system's resolver, which knows no deadline: from a thread that may be left behind."""
    answers: SimpleQueue[list[Address] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except OSError as error:
            answers.put(error)
        else:
            answers.put(list(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in rows)))

    Thread(target=ask, name="hanaper-resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=max(longest_s, 0))
    except Empty:
        raise TimeoutError("the resolver is slow") from None
    if isinstance(answer, OSError):
        raise answer
    return answer
