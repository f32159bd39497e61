"""Who reaches the server, and whom it believes."""

from collections.abc import Iterator

from hanaper.access.networks import is_loopback
from hanaper.diagnosis.finding import Finding
from hanaper.settings import Settings

NARROWEST = {4: 24, 6: 64}
"""Prefix lengths: a proxy has one address, or a few."""


def address(settings: Settings) -> Iterator[Finding]:
    """Whether it can be reached without the proxy it needs."""
    check = "address"
    if is_loopback(settings.host):
        yield Finding.ok(check, f"{settings.host} is reached from this machine only")
    elif not settings.trusted_proxies:
        yield Finding.warning(
            check,
            f"{settings.host} is reached from other machines, in plain HTTP, and no proxy is named: behind one, all "
            "clients would have its address, for allowlists and the block list too",
            "set HANAPER_TRUSTED_PROXIES to the address of the proxy, or HANAPER_HOST to 127.0.0.1",
        )
    else:
        yield Finding.ok(check, f"{settings.host}, behind a proxy")


def trusted_proxies(settings: Settings) -> Iterator[Finding]:
    """Whether more than proxies are believed."""
    check = "trusted-proxies"
    wide = [network for network in settings.trusted_proxies if network.prefixlen < NARROWEST[network.version]]
    for network in wide:
        yield Finding.warning(
            check,
            f"whoever has an address of {network} may claim any other by X-Forwarded-For",
            "name the addresses of the proxies alone in HANAPER_TRUSTED_PROXIES",
        )
    if not wide:
        named = ", ".join(map(str, settings.trusted_proxies))
        yield Finding.ok(check, named or "none: X-Forwarded-For is not read")


def demo_key(settings: Settings, *, active: bool) -> Iterator[Finding]:
    """Whether the API key that everybody knows opens anything."""
    check = "demo-key"
    cure = "hanaper api-key list, and hanaper api-key revoke with its id"
    if not active:
        yield Finding.ok(check, "the published sample key opens nothing")
    elif is_loopback(settings.host):
        yield Finding.warning(check, "the published sample key is active: anybody on this machine may use it", cure)
    else:
        text = f"the published sample key is active on {settings.host}: anybody may generate keys of the demo product"
        yield Finding.problem(check, text, cure)
