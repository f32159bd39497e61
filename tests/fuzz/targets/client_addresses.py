"""Whose address counts: the first line is the other end of the connection, the others are `X-Forwarded-For`."""

from collections.abc import Iterator
from ipaddress import IPv6Address, ip_network

from hanaper.access.networks import read_address
from hanaper.web.client_address import client_address

TRUSTED = [ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def run(data: bytes) -> None:
    peer, *lines = data.decode("latin-1").split("\n")
    found = client_address(peer, lines, TRUSTED)
    assert client_address(None, lines, TRUSTED) is None
    end = read_address(peer)
    if end is None or not _is_trusted(peer):
        # Who is no proxy of ours can write there what he likes.
        assert found == end == client_address(peer, [], TRUSTED)
        return
    if len(lines) > 1:
        assert found is None
    if isinstance(found, IPv6Address):
        assert found.ipv4_mapped is None
        assert found.scope_id is None
    if len(lines) == 1:
        hops = [hop.strip() for hop in lines[0].split(",")]
        if not all(_is_trusted(hop) for hop in hops):
            for forged in ("203.0.113.1", "x", "", ",", "127.0.0.1", "::1%1"):
                assert client_address(peer, [f"{forged},{lines[0]}"], TRUSTED) == found


def _is_trusted(text: str) -> bool:
    address = read_address(text)
    return address is not None and any(address in network for network in TRUSTED)


def seeds() -> Iterator[bytes]:
    peers = ("127.0.0.1", "10.1.2.3", "::ffff:127.0.0.1", "fd00::1%eth0", "203.0.113.9", "", "unix:")
    hops = ("203.0.113.7", "10.0.0.2", "203.0.113.7, 10.0.0.2", "::ffff:203.0.113.7", "[2001:db8::1]:80", "1.2.3.4:5")
    more = (
        "0177.0.0.1",
        "1.2.3",
        "<script>",
        "fe80::1%2",
        ",",
        " , ",
        "203.0.113.7\n203.0.113.8",
        "\xb2.0.0.1",
        "4" * 99,
    )
    for peer in peers:
        yield peer.encode("latin-1")
        yield from (f"{peer}\n{hop}".encode("latin-1") for hop in hops + more)
