"""Where a request comes from (reliability.md 3, row 11, and 4.9)."""

from collections.abc import Sequence

from hanaper.access.networks import Address, Network, read_address


def client_address(peer: str | None, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """The address of the sender, as far as it can be believed.

    Only a trusted proxy is asked for `X-Forwarded-For`, and of that the rightmost address that is no trusted proxy
    counts: what stands left of it, anybody can write.

    Args:
        peer: the other end of the connection; None on a UNIX socket.
        forwarded_for: the values of the header, one for each line.
        trusted: addresses and networks of the proxies.

    Returns:
        None when it cannot be told: no peer, several header lines, or a text that is no address. An API key with an
        allowlist is refused then.
    """
    address = read_address(peer) if peer is not None else None
    if address is None or not _trusts(trusted, address) or not forwarded_for:
        return address
    if len(forwarded_for) > 1:
        return None
    for hop in reversed(forwarded_for[0].split(",")):
        address = read_address(hop.strip())
        if address is None or not _trusts(trusted, address):
            return address
    return address


def _trusts(trusted: Sequence[Network], address: Address) -> bool:
    return any(address in network for network in trusted)
