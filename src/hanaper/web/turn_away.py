"""Closing a port without losing anybody who has come to it."""

import ctypes
import socket
import struct
import sys
from contextlib import suppress

_ATTACH_FILTER = 26  # SO_ATTACH_FILTER, which the socket module does not name
_SYN, _ACK, _FLAGS_AT = 0x02, 0x10, 13

# Load the flags of the TCP header; is it the first packet of a connection? Then keep none of it, else all.
_FILTER = (
    (0x30, 0, 0, _FLAGS_AT),
    (0x54, 0, 0, _SYN | _ACK),
    (0x15, 0, 1, _SYN),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
)


def turn_away(listener: socket.socket) -> None:
    """Let nobody new come to a listening socket; whoever has come is still to be accepted.

    The kernel completes a connection before anybody accepts it. Between the last accept and the close there is always
    a moment in which one more is completed; its client has sent a request by then, and loses it. So before a socket is
    closed it no longer takes notice of first packets: their senders repeat them after a second, find the port closed,
    and know that nothing was sent. This is for as long as the socket lives, in all processes that have it.

    On Linux only; elsewhere, and where the kernel does not want to, nothing happens and that moment remains.
    """
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _FILTER)
    held = ctypes.create_string_buffer(code, len(code))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(_FILTER), ctypes.addressof(held)))
