"""Closing a port without losing anybody who has come to it."""

import socket
import sys
from contextlib import suppress

_MOST = 255
"""Hops that a packet can still make, at most: nobody's packets come with as many who is not on this machine."""

# ip(7) and ipv6(7): the TTL, or the hop limit, below which a packet is dropped. The socket module does not name them.
_IP_MINTTL, _IPV6_MINHOPCOUNT = 21, 73
_OPTIONS = ((socket.IPPROTO_IP, _IP_MINTTL), (socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT))


def turn_away(listener: socket.socket) -> None:
    """Let nobody new come to a listening socket; whoever has come is still to be accepted, and then `let_in`.

    The kernel completes a connection before anybody accepts it. Between the last accept and the close there is always
    a moment in which one more is completed; its client has sent a request by then, and loses it. So before a socket is
    closed it no longer takes notice of packets that have made any hop (RFC 5082 has it for routers, RFC 9293 wants
    nothing against it): of these, first packets only reach the listening socket itself. Their senders repeat them after
    a second, find the port closed, and know that nothing was sent. This is for as long as the socket lives, in all
    processes that have it, and needs no rights.

    On Linux only; elsewhere nothing happens and that moment remains.
    """
    _require_hops(listener, _MOST)


def let_in(connection: socket.socket) -> None:
    """Take notice of an accepted connection's packets.

    One that was begun before and completed after `turn_away` has its listener's deafness. What was dropped meanwhile is
    sent again, as whatever gets lost.
    """
    _require_hops(connection, 0)


def _require_hops(held: socket.socket, least: int) -> None:
    if sys.platform != "linux":
        return
    for level, option in _OPTIONS:
        # A socket of the other family, or of none.
        with suppress(OSError):
            held.setsockopt(level, option, least)
