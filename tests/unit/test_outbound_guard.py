"""Which addresses may be called, and how a URL is read."""

import socket
from ipaddress import ip_address

import pytest

from hanaper.outbound.guard import Destination, NotAllowed, addresses, destination, is_public

PUBLIC = [
    "1.1.1.1",
    "93.184.216.34",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "192.0.1.1",
    "223.255.255.254",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",  # NAT64 of 1.1.1.1: what a machine without IPv4 is told by its resolver
    "2002:101:101::1",  # 6to4 of 1.1.1.1
]

NOT_PUBLIC = [
    # this host, loopback
    "0.0.0.0",  # noqa: S104 -- nothing is bound
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.255",
    "::",
    "::1",
    # private, shared, link-local and the addresses of the clouds' metadata among them
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    # documentation, benchmarks, old relays
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "198.18.0.1",
    "192.88.99.1",
    "2001:db8::1",
    "3fff::1",
    # multicast, reserved, broadcast
    "224.0.0.1",
    "239.255.255.250",
    "233.252.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "ff02::1",
    "ff0e::1",
    "4000::1",
    "5f00::1",
    "100::1",
    # IPv4 inside of IPv6
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::ffff:224.0.0.1",
    "::127.0.0.1",
    "::1.1.1.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::101:101",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "2001::1",
    "2001:0:7f00:1::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "①②⑦.⓪.⓪.①",  # IDNA makes digits of these
        "127。0。0。1",
    ],
)
def test_no_way_of_writing_this_machine_is_a_way_around(host: str) -> None:
    with pytest.raises(NotAllowed, match=r"^(127\.0\.0\.1|0\.0\.0\.0|::1|::ffff:\S+) is not a public address$"):
        addresses(destination(f"http://{host}:81/"), private_networks=False, longest_s=10)


def test_private_networks_can_be_allowed() -> None:
    (found,) = addresses(destination("http://127.0.0.1:81/"), private_networks=True, longest_s=10)
    assert (found.family, found.sockaddr) == (socket.AF_INET, ("127.0.0.1", 81))


def resolve_to(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    def getaddrinfo(_host: str, port: int, **_: object) -> list[object]:
        kinds = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in found]
        return [(kind, socket.SOCK_STREAM, 6, "", (address, port)) for kind, address in zip(kinds, found, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    "found", [["1.1.1.1", "10.0.0.1"], ["2606:4700::1", "1.1.1.1", "::1"], ["1.1.1.1"] * 5 + ["::1"]]
)
def test_one_address_that_is_not_public_spoils_all(monkeypatch: pytest.MonkeyPatch, found: list[str]) -> None:
    resolve_to(monkeypatch, *found)
    with pytest.raises(NotAllowed, match="is not a public address"):
        addresses(destination("http://shop.example/"), private_networks=False, longest_s=10)


def test_all_public_addresses_may_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "2606:4700::1", "1.1.1.1", "1.1.1.1")
    found = addresses(destination("https://shop.example/"), private_networks=False, longest_s=10)
    assert [address.sockaddr for address in found] == [("2606:4700::1", 443), ("1.1.1.1", 443)]


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("http://shop.example", Destination(False, "shop.example", 80, "shop.example", "/")),
        ("https://shop.example", Destination(True, "shop.example", 443, "shop.example", "/")),
        ("HTTPS://Shop.Example:443/a", Destination(True, "shop.example", 443, "shop.example", "/a")),
        ("http://shop.example:443/", Destination(False, "shop.example", 443, "shop.example:443", "/")),
        ("http://shop.example/a?b=c&d=%20#e", Destination(False, "shop.example", 80, "shop.example", "/a?b=c&d=%20")),
        ("http://shop.example?b", Destination(False, "shop.example", 80, "shop.example", "/?b")),
        ("http://shop.example/ä b", Destination(False, "shop.example", 80, "shop.example", "/%C3%A4%20b")),
        ("http://bücher.example/", Destination(False, "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/")),
        ("http://[2001:DB8::1]:81/", Destination(False, "2001:db8::1", 81, "[2001:db8::1]:81", "/")),
        ("http://my_host/", Destination(False, "my_host", 80, "my_host", "/")),
    ],
)
def test_reading(url: str, read: Destination) -> None:
    assert destination(url) == read


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://shop.example/", "only http and https are called"),
        ("file:///etc/passwd", "only http and https are called"),
        ("gopher://shop.example/", "only http and https are called"),
        ("//shop.example/", "only http and https are called"),
        ("http://user:password@shop.example/", "the URL holds credentials"),
        ("http://user@shop.example/", "the URL holds credentials"),
        ("http://@shop.example/", "the URL holds credentials"),
        (r"http://shop.example\@127.0.0.1/", "the URL holds credentials"),
        ("http://", "the URL is malformed"),
        ("http:///path", "the URL is malformed"),
        ("http://:80/", "the URL is malformed"),
        ("http://shop.example:0/", "the URL is malformed"),
        ("http://shop.example:65536/", "the URL is malformed"),
        ("http://shop.example:eighty/", "the URL is malformed"),
        ("http://shop..example/", "the URL is malformed"),
        (f"http://{'a' * 64}.example/", "the URL is malformed"),
        (r"http://shop.example\a/", "the URL is malformed"),
        ("http://shop example/", "the URL is malformed"),
        ("http://shop.example%0d%0aX:1/", "the URL is malformed"),
        ("http://[::1/", "the URL is malformed"),
        ("http://[fe80::1%25eth0]/", "the URL is malformed"),
        ("http://[fe80::1%\x0b]/", "the URL is malformed"),
        ("http://[no address]/", "the URL is malformed"),
        ("http://shop.example/\ud800", "the URL is malformed"),
    ],
)
def test_refused(url: str, why: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        destination(url)
    assert str(refused.value) == why


@pytest.mark.parametrize("secret", ["\r\nX-Injected: 1", "\r\n\r\nGET / HTTP/1.1", " HTTP/1.1\nX: 1", "\x00", "\x7f"])
def test_nothing_gets_out_of_the_request_line(secret: str) -> None:
    target = destination(f"http://shop.example/a{secret}?b{secret}").target
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target
