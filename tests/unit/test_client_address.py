"""Where a request comes from: a truth table."""

from ipaddress import ip_address, ip_network

import pytest

from hanaper.web.client_address import client_address

NOBODY: list[str] = []
PROXY = ["10.0.0.1/32"]
PROXIES = ["10.0.0.0/8", "2001:db8:aaaa::/48"]
CLIENT = "203.0.113.7"

TABLE: list[tuple[str, str | None, list[str], list[str], str | None]] = [
    # Without proxies the connection counts, whatever the header says.
    ("direct", CLIENT, [], NOBODY, CLIENT),
    ("direct, forged header", CLIENT, ["198.51.100.1"], NOBODY, CLIENT),
    ("direct, forged header that names itself", CLIENT, [CLIENT], NOBODY, CLIENT),
    ("direct, garbage header", CLIENT, ["garbage"], NOBODY, CLIENT),
    ("direct, two header lines", CLIENT, ["1.1.1.1", "2.2.2.2"], NOBODY, CLIENT),
    ("direct, version 6", "2001:db8::7", ["198.51.100.1"], NOBODY, "2001:db8::7"),
    ("direct, version 4 in 6", "::ffff:203.0.113.7", [], NOBODY, CLIENT),
    ("direct, link-local with a scope", "fe80::1%eth0", [], NOBODY, "fe80::1"),
    ("loopback is not trusted by itself", "127.0.0.1", ["198.51.100.1"], NOBODY, "127.0.0.1"),
    ("UNIX socket", None, [], NOBODY, None),
    ("UNIX socket with a header", None, ["198.51.100.1"], NOBODY, None),
    ("UNIX socket with a header and proxies", None, ["198.51.100.1"], PROXIES, None),
    ("peer that is no address", "testclient", [], NOBODY, None),
    ("peer that is no address, with a header", "testclient", ["198.51.100.1"], PROXIES, None),
    ("empty peer", "", [], NOBODY, None),
    # A stranger's header is not read though there are proxies.
    ("stranger", CLIENT, ["198.51.100.1"], PROXIES, CLIENT),
    ("stranger that claims to be the proxy", CLIENT, ["10.0.0.1"], PROXIES, CLIENT),
    ("stranger with two lines", CLIENT, ["198.51.100.1", "10.0.0.1"], PROXIES, CLIENT),
    ("stranger next to the proxy", "10.0.0.2", ["198.51.100.1"], PROXY, "10.0.0.2"),
    # The proxy's header: the rightmost address that is no proxy.
    ("proxy without a header", "10.0.0.1", [], PROXIES, "10.0.0.1"),
    ("proxy", "10.0.0.1", [CLIENT], PROXIES, CLIENT),
    ("proxy in a network", "10.255.0.9", [CLIENT], PROXIES, CLIENT),
    ("proxy by its one address", "10.0.0.1", [CLIENT], PROXY, CLIENT),
    ("proxy that is connected as 4 in 6", "::ffff:10.0.0.1", [CLIENT], PROXIES, CLIENT),
    ("proxy, version 6", "2001:db8:aaaa::1", ["2001:db8::7"], PROXIES, "2001:db8::7"),
    ("proxy, other version inside", "2001:db8:aaaa::1", [CLIENT], PROXIES, CLIENT),
    ("proxy, client as 4 in 6", "10.0.0.1", ["::ffff:203.0.113.7"], PROXIES, CLIENT),
    ("proxy, client with a scope", "10.0.0.1", ["fe80::7%eth1"], PROXIES, "fe80::7"),
    ("forged part on the left", "10.0.0.1", [f"198.51.100.1, {CLIENT}"], PROXIES, CLIENT),
    ("forged parts on the left", "10.0.0.1", [f"10.0.0.1, 127.0.0.1, {CLIENT}"], PROXIES, CLIENT),
    ("garbage on the left", "10.0.0.1", [f"garbage, , {CLIENT}"], PROXIES, CLIENT),
    ("chain of proxies", "10.0.0.1", [f"{CLIENT}, 10.0.0.3, 10.0.0.2"], PROXIES, CLIENT),
    ("chain of both versions", "10.0.0.1", [f"{CLIENT}, 2001:db8:aaaa::2"], PROXIES, CLIENT),
    ("chain with a proxy as 4 in 6", "10.0.0.1", [f"{CLIENT}, ::ffff:10.0.0.2"], PROXIES, CLIENT),
    ("chain with a stranger in it", "10.0.0.1", [f"{CLIENT}, 198.51.100.1, 10.0.0.2"], PROXIES, "198.51.100.1"),
    ("chain beyond the one proxy", "10.0.0.1", [f"{CLIENT}, 10.0.0.2"], PROXY, "10.0.0.2"),
    ("only proxies: the leftmost", "10.0.0.1", ["10.0.0.3, 10.0.0.2"], PROXIES, "10.0.0.3"),
    ("the proxy itself", "10.0.0.1", ["10.0.0.1"], PROXIES, "10.0.0.1"),
    ("blanks around", "10.0.0.1", [f"  198.51.100.1 ,\t{CLIENT}  "], PROXIES, CLIENT),
    ("no blanks", "10.0.0.1", [f"198.51.100.1,{CLIENT}"], PROXIES, CLIENT),
    # What cannot be told is not guessed.
    ("two header lines", "10.0.0.1", [CLIENT, "198.51.100.1"], PROXIES, None),
    ("two equal header lines", "10.0.0.1", [CLIENT, CLIENT], PROXIES, None),
    ("two header lines, one empty", "10.0.0.1", [CLIENT, ""], PROXIES, None),
    ("empty header", "10.0.0.1", [""], PROXIES, None),
    ("blank header", "10.0.0.1", ["  "], PROXIES, None),
    ("comma at the end", "10.0.0.1", [f"{CLIENT},"], PROXIES, None),
    ("only commas", "10.0.0.1", [",,"], PROXIES, None),
    ("garbage", "10.0.0.1", ["garbage"], PROXIES, None),
    ("unknown", "10.0.0.1", ["unknown"], PROXIES, None),
    ("obfuscated", "10.0.0.1", ["_hidden"], PROXIES, None),
    ("garbage on the right", "10.0.0.1", [f"{CLIENT}, garbage"], PROXIES, None),
    ("garbage behind a proxy", "10.0.0.1", [f"{CLIENT}, garbage, 10.0.0.2"], PROXIES, None),
    ("port", "10.0.0.1", [f"{CLIENT}:4711"], PROXIES, None),
    ("version 6 in brackets", "10.0.0.1", ["[2001:db8::7]"], PROXIES, None),
    ("version 6 with a port", "10.0.0.1", ["[2001:db8::7]:4711"], PROXIES, None),
    ("in quotes", "10.0.0.1", [f'"{CLIENT}"'], PROXIES, None),
    ("network", "10.0.0.1", ["203.0.113.0/24"], PROXIES, None),
    ("leading zero", "10.0.0.1", ["203.0.113.07"], PROXIES, None),
    ("RFC 7239 syntax", "10.0.0.1", [f"for={CLIENT}"], PROXIES, None),
    ("header injection", "10.0.0.1", [f"{CLIENT}\r\nX: y"], PROXIES, None),
    ("semicolon", "10.0.0.1", [f"198.51.100.1; {CLIENT}"], PROXIES, None),
    ("NUL", "10.0.0.1", [f"{CLIENT}\0"], PROXIES, None),
    ("very long", "10.0.0.1", ["1" * 100_000], PROXIES, None),
    ("very many", "10.0.0.1", ["10.0.0.2," * 5_000 + CLIENT], PROXIES, CLIENT),
]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "trusted", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_address_that_counts(
    peer: str | None, forwarded_for: list[str], trusted: list[str], expected: str | None
) -> None:
    found = client_address(peer, forwarded_for, [ip_network(network) for network in trusted])
    assert found == (None if expected is None else ip_address(expected))
