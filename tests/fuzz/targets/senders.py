"""What a request says of its sender: header lines, an empty line, and a JSON object."""

from collections.abc import Iterator
from ipaddress import ip_network

from tests.fuzz.asked import in_two, request

from hanaper.access import key_format
from hanaper.access.authenticate import presented
from hanaper.refusal import Invalid
from hanaper.settings import Settings
from hanaper.web.parameters import credentials, is_json, user_agent

SETTINGS = Settings(trusted_proxies=(ip_network("127.0.0.1"),))
PEPPER = bytes(32)
OWN = "hnp_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1Fu4jK"


def run(data: bytes) -> None:
    parts = in_two(data)
    if parts is None:
        return
    headers, parameters = parts
    asked = request(headers)
    sender = credentials(asked, parameters, SETTINGS)
    given = presented(sender.api_key, PEPPER)
    assert len(given.digest) == 32
    assert sender.identifier is None or sender.identifier.isprintable()
    assert user_agent(asked).isprintable()
    assert is_json(asked) in (True, False)
    if sender.api_key is not None and given.key is not None:
        assert given.key.isascii()
        assert given.key.isprintable()
        assert key_format.normal(given.key) == given.key
        assert given.key.lower() == sender.api_key.lower()
        try:
            assert key_format.imported(sender.api_key) == given.key
        except Invalid as refused:
            assert len(sender.api_key) < 12 or sender.api_key not in str(refused)


def seeds() -> Iterator[bytes]:
    yield b"Authorization: Bearer " + OWN.encode()
    yield b"Authorization: bearer\nX-API-Key: x\nUser-Agent: a"
    yield b"X-Forwarded-For: 203.0.113.7\nContent-Type: application/json"
    yield b"X-API-Key: 2964C3C9-0B5D-4D89-B3AC-4668F30BC492\nX-Forwarded-For: 1\nX-Forwarded-For: 2"
    yield b'\n\n{"api_key":"hnp_live_","identifier":"example.com","hwid":1}'
    yield b'\n\n{"api_key":"\\ud800","server_domain":"\\u0000"}'
    yield b'\n\n{"api_key":[],"hardware_id":true}'
