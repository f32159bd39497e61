"""Under which names the API may be asked for (RFC 9110, 7.2)."""

import pytest

from hanaper.web.hosts import AllowedHosts

HOSTS = AllowedHosts(["licenses.example.com", "*.example.org", "10.0.0.5", "[::1]", "localhost"])


@pytest.mark.parametrize(
    "value",
    [
        b"licenses.example.com",
        b"LICENSES.Example.com",
        b"licenses.example.com.",
        b"licenses.example.com:443",
        b"licenses.example.com.:8000",
        b"a.example.org",
        b"a.b.example.org:1",
        b"10.0.0.5:8000",
        b"[::1]",
        b"[::1]:8000",
        b"localhost",
    ],
)
def test_allowed(value: bytes) -> None:
    assert HOSTS.allow([(b"accept", b"*/*"), (b"host", value)])


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"example.com",
        b"example.org",
        b"evil-example.org",
        b"licenses.example.com.evil.test",
        b"evil.test/licenses.example.com",
        b"evil.test#licenses.example.com",
        b"user@licenses.example.com",
        b"licenses.example.com, evil.test",
        b"licenses.example.com:443:444",
        b"licenses.example.com:",
        b"licenses.example.com:a",
        b"licenses.example.com\x00",
        b"licenses.example.com evil",
        b"/abc?x=licenses.example.com",
        b"\xff.example.org",
        b".example.org",
        b".example.org/",
        b"[::2]",
        b"::1",
        b"10.0.0.6",
    ],
)
def test_not_allowed(value: bytes) -> None:
    assert not HOSTS.allow([(b"host", value)])


def test_exactly_one_is_named() -> None:
    assert not HOSTS.allow([])
    assert not HOSTS.allow([(b"host", b"localhost"), (b"host", b"localhost")])


def test_all_are_allowed_where_none_is_named() -> None:
    everybody = AllowedHosts([])
    assert everybody.allow([(b"host", b"evil.test")])
    assert everybody.allow([])
