"""`Host` lines: for which of them is this server asked?"""

from collections.abc import Iterator

from hanaper.web.hosts import AllowedHosts

EXACT = ("example.com", "203.0.113.7", "[2001:db8::1]")
BELOW = "example.net"
ALLOWED = AllowedHosts([*EXACT, f"*.{BELOW}"])
_FIT = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-:[]")


def run(data: bytes) -> None:
    lines = data.split(b"\n")
    headers = [(b"host", line) for line in lines]
    allowed = ALLOWED.allow(headers)
    assert AllowedHosts([]).allow(headers)
    assert not ALLOWED.allow([*headers, *headers])
    assert not allowed or len(lines) == 1
    if not allowed:
        return
    (line,) = lines
    assert _FIT.issuperset(line)
    assert ALLOWED.allow([(b"host", line.upper())])
    name = line.lower().decode()
    name = name[: name.index("]") + 1] if name.startswith("[") else name.partition(":")[0].rstrip(".")
    assert name in EXACT or name.endswith(f".{BELOW}")


def seeds() -> Iterator[bytes]:
    yield from (b"example.com", b"EXAMPLE.com:80", b"example.com.", b"a.example.net", b"example.net", b".example.net")
    yield from (b"[2001:db8::1]:443", b"[2001:db8::1", b"203.0.113.7:99999", b"example.com:", b"example.com:x")
    yield from (b"evil.com#example.com", b"example.com@evil.com", b"a.example.net.", b"", b" example.com", b"a\nb")
