"""Requests that servers have read in different ways: where one ends, how many there are (T29; RFC 9112, 6 and 11)."""

HIDDEN = b"GET /api/v1/hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""A request that is one only for who ends the first one too early."""
_CHUNKED = b"0\r\n\r\n" + HIDDEN
_POST = b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
_LENGTH = b"Content-Length: %d\r\n"
_ENCODED = b"Transfer-Encoding: chunked\r\n"


def _post(*lines: bytes, body: bytes) -> bytes:
    return _POST + b"".join(lines) + b"\r\n" + body


def _bodies() -> dict[str, bytes]:
    whole, short = _LENGTH % len(_CHUNKED), _LENGTH % 5
    encodings = {
        "chunked": b"chunked",
        "upper case": b"CHUNKED",
        "space before": b" chunked",
        "tab before": b"\tchunked",
        "tab after": b"chunked\t",
        "vertical tab": b"\x0bchunked",
        "quoted": b'"chunked"',
        "comma first": b",chunked",
        "comma last": b"chunked,",
        "twice": b"chunked, chunked",
        "identity first": b"identity, chunked",
        "identity last": b"chunked, identity",
        "gzip first": b"gzip, chunked",
        "x": b"xchunked",
        "cut": b"chunke",
        "parameter": b"chunked;q=1",
        "nothing": b"",
        "null": b"chunked\0",
        "next line": b"\r\n chunked",
    }
    found = {
        f"length and {name}": _post(whole, b"Transfer-Encoding:%b\r\n" % value, body=_CHUNKED)
        for name, value in encodings.items()
    }
    found |= {
        f"{name} and length": _post(b"Transfer-Encoding:%b\r\n" % value, short, body=_CHUNKED)
        for name, value in encodings.items()
    }
    names = {
        "space after the name": b"Transfer-Encoding : chunked\r\n",
        "tab after the name": b"Transfer-Encoding\t: chunked\r\n",
        "space before the name": b" Transfer-Encoding: chunked\r\n",
        "underscore": b"Transfer_Encoding: chunked\r\n",
        "line feed before": b"X: y\nTransfer-Encoding: chunked\r\n",
        "carriage return before": b"X: y\rTransfer-Encoding: chunked\r\n",
        "null before": b"X: y\0Transfer-Encoding: chunked\r\n",
        "two lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "no colon": b"Transfer-Encoding chunked\r\n",
    }
    return found | {f"length and {name}": _post(whole, line, body=_CHUNKED) for name, line in names.items()}


def _lengths() -> dict[str, bytes]:
    size = len(HIDDEN)
    values = {
        "two lengths": b"Content-Length: 0\r\nContent-Length: %d\r\n" % size,
        "two lengths, the other way round": b"Content-Length: %d\r\nContent-Length: 0\r\n" % size,
        "one length twice": b"Content-Length: 0\r\nContent-Length: 0\r\n",
        "lengths in a list": b"Content-Length: 0, %d\r\n" % size,
        "a plus": b"Content-Length: +0\r\n",
        "a minus": b"Content-Length: -%d\r\n" % size,
        "a space within": b"Content-Length: 1 0\r\n",
        "hexadecimal": b"Content-Length: 0x0\r\n",
        "underscore": b"Content-Length: 0_0\r\n",
        "beyond 64 bits": b"Content-Length: 18446744073709551616\r\n",
        "no digits": b"Content-Length: \r\n",
        "space after the name": b"Content-Length : 0\r\n",
        "none": b"",
    }
    return {name: _post(line, body=HIDDEN) for name, line in values.items()}


def _chunks() -> dict[str, bytes]:
    bodies = {
        "an extension": b"0;a=b\r\n\r\n",
        "an extension with a line feed": b"0;a\nb\r\n\r\n",
        "bare line feeds": b"0\n\n",
        "a size of two lines": b"0\r\n0\r\n\r\n",
        "a negative size": b"-1\r\n\r\n",
        "a size with a prefix": b"0x0\r\n\r\n",
        "a size beyond 64 bits": b"10000000000000000\r\n\r\n",
        "a chunk that is too long": b"1\r\nabc\r\n0\r\n\r\n",
        "a chunk without an end": b"1\r\na0\r\n\r\n",
        "a trailer": b"0\r\nContent-Length: 5\r\n\r\n",
        "a space before the end": b"0 \r\n\r\n",
    }
    return {f"chunks with {name}": _post(_ENCODED, body=body + HIDDEN) for name, body in bodies.items()}


def _lines() -> dict[str, bytes]:
    return {
        "absolute form": b"GET http://other.test/api/v1/generate HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a path as host": b"GET /api/v1/generate HTTP/1.1\r\nHost: /api/v1/hidden?x=\r\n\r\n",
        "two hosts": b"GET /api/v1/generate HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "no host": b"GET /api/v1/generate HTTP/1.1\r\n\r\n",
        "HTTP/1.0": b"GET /api/v1/generate HTTP/1.0\r\n\r\n" + HIDDEN,
        "HTTP/2.0": b"GET /api/v1/generate HTTP/2.0\r\nHost: localhost\r\n\r\n",
        "HTTP/0.9": b"GET /api/v1/generate\r\n\r\n",
        "bare line feeds": b"GET /api/v1/generate HTTP/1.1\nHost: localhost\n\n",
        "a folded line": b"GET /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
        "a tab in the request line": b"GET\t/api/v1/generate\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a space in the path": b"GET /api/v1/a HTTP/1.1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN,
        "h2c": b"GET /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + HIDDEN,
        "websocket": b"GET /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        + HIDDEN,
        "GET with a body": b"GET /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        % len(HIDDEN)
        + HIDDEN,
        "expect": _post(_LENGTH % len(HIDDEN), b"Expect: 100-continue\r\n", body=HIDDEN),
    }


TWO = b"GET /api/v1/first HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN
"""Two requests, for everybody."""
SHAPES: dict[str, bytes] = {**_bodies(), **_lengths(), **_chunks(), **_lines()}
