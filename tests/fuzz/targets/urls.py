"""URLs that somebody wants to be called."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from hanaper.outbound.guard import Destination, NotAllowed, destination, is_public
from hanaper.web.fields import is_url

_AUTHORITY = re.compile(r"[A-Za-z0-9._:\[\]-]+")
_TARGET = re.compile(r"/[\x21-\x7e]*")


def run(data: bytes) -> None:
    url = data.decode("utf-8", "surrogateescape")
    is_url(url)
    try:
        found = destination(url)
    except NotAllowed as refused:
        assert "\n" not in str(refused)
        return
    assert 0 < found.port < 65_536
    assert _AUTHORITY.fullmatch(found.authority)
    assert found.host.isascii()
    if is_url(url):
        assert _TARGET.fullmatch(found.target), found
    if ":" in found.host:
        is_public(ip_address(found.host))
    # What is called is what was looked at, however often it is read.
    again = destination(_written(found))
    assert (again.host, again.port, again.tls) == (found.host.lower(), found.port, found.tls)


def _written(to: Destination) -> str:
    return f"{'https' if to.tls else 'http'}://{to.authority}/"


def seeds() -> Iterator[bytes]:
    yield from (b"https://example.com/hook?a=b#c", b"http://example.com:8080", b"HTTP://EXAMPLE.com:80/%20 x")
    yield from (
        b"http://[2001:db8::1]:80/",
        b"http://[fe80::1%25eth0]/",
        b"http://[::ffff:127.0.0.1]/",
        b"http://0177.1/",
    )
    yield from (
        b"http://a@b/",
        b"http://\xc3\xa9.example/\xc3\xa9?\xc3\xa9",
        b"http://a\\b/",
        b"http://a:0/",
        b"http://a:65536/",
    )
    yield from (
        b"//a",
        b"file:///etc/passwd",
        b"http:///x",
        b"http://a..b/",
        b"http://" + b"a" * 64 + b"/",
        b"https://a?x y",
    )
    yield "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/".encode()
