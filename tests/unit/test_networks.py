from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from hanaper.access import networks
from hanaper.refusal import Invalid


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", IPv4Address("203.0.113.7")),
        ("2001:db8::1", IPv6Address("2001:db8::1")),
        ("2001:DB8:0:0::1", IPv6Address("2001:db8::1")),
        ("::1", IPv6Address("::1")),
        ("::ffff:203.0.113.7", IPv4Address("203.0.113.7")),
        ("::ffff:cb00:7107", IPv4Address("203.0.113.7")),
        ("::FFFF:203.0.113.7%eth0", IPv4Address("203.0.113.7")),
        ("fe80::1%eth0", IPv6Address("fe80::1")),
        ("fe80::1%25", IPv6Address("fe80::1")),
        ("::203.0.113.7", IPv6Address("::cb00:7107")),
        ("64:ff9b::203.0.113.7", IPv6Address("64:ff9b::cb00:7107")),
        ("", None),
        (" ", None),
        (" 203.0.113.7", None),
        ("203.0.113.7 ", None),
        ("203.0.113.7\n", None),
        ("203.0.113", None),
        ("203.0.113.7.1", None),
        ("203.0.113.256", None),
        ("203.0.113.07", None),
        ("0xcb.0.113.7", None),
        ("3405803783", None),
        ("203.0.113.7:80", None),
        ("203.0.113.0/24", None),
        ("[2001:db8::1]", None),
        ("[2001:db8::1]:80", None),
        ("2001:db8::1/64", None),
        ("fe80::1%", None),
        (":::1", None),
        ("localhost", None),
        ("unknown", None),
        ("203.0.113.\N{ARABIC-INDIC DIGIT SEVEN}", None),
        ("203.0.113.\N{FULLWIDTH DIGIT SEVEN}", None),
        ("203\N{IDEOGRAPHIC FULL STOP}0.113.7", None),
        ("\0", None),
    ],
    ids=lambda value: ascii(str(value)),
)
def test_an_address_is_read_or_it_is_none(text: str, address: IPv4Address | IPv6Address | None) -> None:
    read = networks.read_address(text)
    assert read == address
    assert not isinstance(read, IPv6Address) or read.scope_id is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.0/255.255.255.0", "203.0.113.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_is_read_and_shown_in_one_form(text: str, shown: str) -> None:
    assert str(networks.read_network(text)) == shown


@pytest.mark.parametrize(
    "text", ["", "x", "203.0.113.7/24", "203.0.113.0/33", "203.0.113.0/-1", "2001:db8::1/32", "2001:db8::/129", "/24"]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is no address and no network") as caught:
        networks.read_network(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["::ffff:203.0.113.7", "::ffff:203.0.113.0/120", "::ffff:0:0/96"])
def test_version_4_written_as_version_6_is_refused_since_it_would_never_match(text: str) -> None:
    with pytest.raises(Invalid, match="is IPv4 written as IPv6: write the IPv4 form"):
        networks.read_network(text)


@pytest.mark.parametrize(
    ("listed", "address", "inside"),
    [
        ([], "203.0.113.7", False),
        (["203.0.113.7/32"], "203.0.113.7", True),
        (["203.0.113.7/32"], "203.0.113.8", False),
        (["203.0.113.0/24"], "203.0.113.255", True),
        (["203.0.113.0/24"], "203.0.114.0", False),
        (["203.0.113.0/24"], "::ffff:203.0.113.7", True),
        (["198.51.100.0/24", "203.0.113.0/24"], "203.0.113.7", True),
        (["2001:db8::/32"], "2001:db8:ffff::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["2001:db8::/32"], "203.0.113.7", False),
        (["203.0.113.0/24"], "2001:db8::1", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["0.0.0.0/0"], "203.0.113.7", True),
        (["0.0.0.0/0"], "::1", False),
        (["::/0"], "::1", True),
        (["::/0"], "203.0.113.7", False),
    ],
)
def test_an_address_lies_in_a_network_of_its_own_version(listed: list[str], address: str, *, inside: bool) -> None:
    assert networks.contains(map(networks.read_network, listed), networks.read_address(address)) is inside


def test_an_unknown_address_lies_nowhere() -> None:
    assert not networks.contains(map(networks.read_network, ["0.0.0.0/0", "::/0"]), None)


def test_an_entry_that_was_read_can_be_read_again() -> None:
    for text in ("203.0.113.7", "2001:db8::/32"):
        shown = str(networks.read_network(text))
        assert ip_network(shown) == networks.read_network(shown)
