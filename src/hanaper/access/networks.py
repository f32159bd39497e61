"""Addresses and networks, version 4 and 6."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from hanaper.refusal import Invalid

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


@lru_cache(maxsize=4096)
def read_address(text: str) -> Address | None:
    """An address; None where the text is none. IPv4 inside IPv6 (`::ffff:203.0.113.7`) comes back as IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or (IPv6Address(int(address)) if address.scope_id else address)
    return address


def read_network(text: str) -> Network:
    """An address or a network that an operator typed.

    Raises:
        Invalid: it is neither.
    """
    try:
        network = ip_network(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is no address and no network: {error}") from error
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise Invalid(f"{text!r} is IPv4 written as IPv6: write the IPv4 form")
    return network


def contains(networks: Iterable[Network], address: Address | None) -> bool:
    """Whether an address lies in one of these networks. An unknown address lies in none."""
    return address is not None and any(address in network for network in networks)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address to listen on."""
    address = read_address(host)
    return host == "localhost" if address is None else address.is_loopback
