"""Closing a port without losing anybody who has come to it."""

import socket
import sys
from contextlib import suppress

_MOST = 255
"""The largest TTL there is. Systems send with 64 or 128; who sends with 255 has fewer behind the first router."""

# ip(7) and ipv6(7): the TTL, or the hop limit, below which a packet is dropped. The socket module does not name them.
_IP_MINTTL, _IPV6_MINHOPCOUNT = 21, 73
_OPTIONS = ((socket.IPPROTO_IP, _IP_MINTTL), (socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT))


def turn_away(listener: socket.socket) -> None:
    """Let nobody new come to a listening socket; whoever has come is still to be accepted, and then `let_in`.

    The kernel completes a connection before anybody accepts it. Between the last accept and the close there is always
    a moment in which one more is completed; its client has sent a request by then, and loses it. So before a socket is
    closed it no longer takes notice of packets with less than the largest TTL, which is nearly everybody's, also from
    this machine (an option made for RFC 5082). Only first packets are for the listening socket itself; the others
    belong to connections. Senders of first packets repeat them after a second, find the port closed, and know that
    nothing was sent. This is for as long as the socket lives, in all processes that have it, and needs no rights.

    That moment remains for senders with a TTL of 255 that no router has made smaller; and elsewhere than on Linux,
    where nothing happens.
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
