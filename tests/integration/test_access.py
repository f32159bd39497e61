"""API keys and the block list on real databases."""

import asyncio
from collections.abc import Callable, Hashable
from datetime import timedelta
from ipaddress import ip_address

import pytest

from hanaper.access import key_format, manage, store
from hanaper.access.authenticate import Caller, Credentials, authenticate, presented
from hanaper.clock import utc_now
from hanaper.refusal import Invalid, Refusal
from hanaper.storage.configuration import Found, Snapshot
from hanaper.storage.session import Session

PEPPER = bytes(range(32))
NOW = utc_now()
IMPORTED = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


class Reading(Snapshot):
    """Remembers nothing, and reads in the transaction of the test."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, name: Hashable, load: Callable[[Session], Found]) -> Found:
        assert name is not None
        return load(self._session)


def let_in(session: Session, sender: Credentials, endpoint: str = "generate") -> Caller:
    given = presented(sender.api_key, PEPPER)
    return asyncio.run(authenticate(Reading(session), sender, given, endpoint=endpoint, now=NOW))


def create(session: Session, terms: manage.Terms | None = None) -> str:
    return manage.create(session, "live", terms or manage.Terms("Test"), pepper=PEPPER, now=NOW)[1]


def code(session: Session, key: str | None, address: str = "192.0.2.1", **more: str) -> int:
    """What a caller of generate is answered; 0 when he is let in."""
    sender = Credentials(key, ip_address(address), more.get("identifier"))
    try:
        let_in(session, sender, more.get("endpoint", "generate"))
    except Refusal as refusal:
        return refusal.code.number
    return 0


def test_a_key_is_found_by_its_digest_and_by_nothing_else(session: Session) -> None:
    key = create(session)
    row = store.find_api_key(session, key_format.digest(PEPPER, key))
    assert row is not None
    assert (row.status, row.abilities, row.allowed_networks, row.product_ids) == ("active", ["*"], [], None)
    assert key not in (row.name, row.hint)
    assert key.encode() not in row.digest
    assert store.find_api_key(session, key_format.digest(bytes(32), key)) is None
    assert store.find_api_key(session, key_format.digest(PEPPER, key[:-1])) is None
    assert store.find_api_key(session, row.digest[:-1]) is None
    assert store.find_api_key(session, b"") is None


def test_what_a_key_may_do_comes_back_as_it_was_stored(session: Session) -> None:
    terms = manage.Terms(
        "é😀", ["generate", "generate"], ["192.0.2.0/24", "2001:db8::1"], [3, 1, 3], NOW + timedelta(1)
    )
    row, _ = manage.create(session, "test", terms, pepper=PEPPER, now=NOW)
    session.expire_all()
    again = store.api_key(session, row.id)
    assert again is not None
    assert (again.name, again.kind, again.abilities) == ("é😀", "test", ["generate"])
    assert again.allowed_networks == ["192.0.2.0/24", "2001:db8::1/128"]
    assert again.product_ids == [1, 3]
    assert again.expires_at == NOW + timedelta(1)


def test_no_products_is_not_all_products(session: Session) -> None:
    row, _ = manage.create(session, "live", manage.Terms("None", product_ids=[]), pepper=PEPPER, now=NOW)
    session.expire_all()
    again = store.api_key(session, row.id)
    assert again is not None
    assert again.product_ids == []


def test_a_key_ends_at_its_moment(session: Session) -> None:
    key = create(session, manage.Terms("Ends", expires_at=NOW + timedelta(microseconds=1)))
    assert code(session, key) == 0
    row = store.find_api_key(session, key_format.digest(PEPPER, key))
    assert row is not None
    row.expires_at = NOW
    assert code(session, key) == 101


def test_the_order_of_refusals(session: Session) -> None:
    key = create(session, manage.Terms("Order", ["get-all-generators"], ["198.51.100.1"]))
    manage.block(session, "address", "192.0.2.66", reason="", expires_at=None, now=NOW)
    manage.block(session, "identifier", "host", reason="", expires_at=None, now=NOW)
    assert code(session, None, "192.0.2.66", identifier="host") == 150
    assert code(session, None, "192.0.2.1", identifier="host") == 100
    assert code(session, key, "192.0.2.1", identifier="host") == 103
    assert code(session, key, "198.51.100.1", identifier="host") == 102
    assert code(session, key, "198.51.100.1", identifier="host", endpoint="get-all-generators") == 150
    assert code(session, key, "198.51.100.1", endpoint="get-all-generators") == 0
    row = store.find_api_key(session, key_format.digest(PEPPER, key))
    assert row is not None
    manage.revoke(session, row.id, now=NOW)
    assert code(session, key, "192.0.2.1") == 101


def test_a_caller_whose_address_cannot_be_told_is_in_no_allowlist(session: Session) -> None:
    for terms, expected in ((manage.Terms("All", allowed_networks=["0.0.0.0/0", "::/0"]), 103), (None, 0)):
        sender = Credentials(create(session, terms), None)
        if expected:
            with pytest.raises(Refusal) as caught:
                let_in(session, sender)
            assert caught.value.code.number == expected
        else:
            let_in(session, sender)


def test_an_imported_key_works_in_either_case_and_only_once(session: Session) -> None:
    manage.import_key(session, IMPORTED.upper(), manage.Terms("Imported"), pepper=PEPPER, now=NOW)
    assert code(session, IMPORTED) == code(session, IMPORTED.upper()) == 0
    with pytest.raises(Invalid, match="stored already") as caught, session.begin_nested():
        manage.import_key(session, IMPORTED, manage.Terms("Again"), pepper=PEPPER, now=NOW)
    assert IMPORTED not in str(caught.value)
    assert code(session, IMPORTED) == 0


def test_the_published_sample_key_works_as_demo_data_only(session: Session) -> None:
    assert code(session, key_format.PUBLISHED_SAMPLE) == 100
    with pytest.raises(Invalid, match="public documentation"):
        manage.import_key(session, key_format.PUBLISHED_SAMPLE, manage.Terms("Sample"), pepper=PEPPER, now=NOW)
    row = manage.add_sample(session, manage.Terms("Sample"), pepper=PEPPER, now=NOW)
    assert code(session, key_format.PUBLISHED_SAMPLE) == 0
    row.kind = "imported"
    session.flush()
    assert code(session, key_format.PUBLISHED_SAMPLE) == 100


def test_a_key_that_is_not_there_cannot_be_revoked(session: Session) -> None:
    with pytest.raises(Invalid, match="there is no API key 4711"):
        manage.revoke(session, 4711, now=NOW)


def test_the_block_list_holds_until_its_moment(session: Session) -> None:
    def block(value: str, days: float | None) -> None:
        until = None if days is None else NOW + timedelta(days)
        kind = "identifier" if value.startswith("host") else "address"
        manage.block(session, kind, value, reason="", expires_at=until, now=NOW)  # type: ignore[arg-type]

    for value, days in (("192.0.2.1", None), ("192.0.2.2", 1), ("192.0.2.3", 0), ("192.0.2.4", -1)):
        block(value, days)
    for value, days in (("host-1", None), ("host-2", 1), ("host-3", 0), ("host-4", -1)):
        block(value, days)
    key = create(session)
    assert [number for number in range(6) if code(session, key, f"192.0.2.{number}") == 150] == [1, 2]
    blocked = [number for number in range(6) if code(session, key, "203.0.113.1", identifier=f"host-{number}") == 150]
    assert blocked == [1, 2]


def test_identifiers_are_compared_as_they_stand(session: Session) -> None:
    manage.block(session, "identifier", "Host.example", reason="", expires_at=None, now=NOW)
    key = create(session)
    assert code(session, key, identifier="Host.example") == 150
    for other in ("host.example", "Host.example.", "Host%", "_ost.example", "", "192.0.2.1"):
        assert code(session, key, identifier=other) == 0


def test_an_entry_is_on_the_block_list_once_and_can_be_taken_off(session: Session) -> None:
    row = manage.block(session, "address", "192.0.2.1", reason="abuse", expires_at=None, now=NOW)
    for same in ("192.0.2.1", "192.0.2.1/32"):
        with pytest.raises(Invalid, match="on the block list already"), session.begin_nested():
            manage.block(session, "address", same, reason="", expires_at=None, now=NOW)
    assert [entry.reason for entry in store.block_list(session)] == ["abuse"]
    assert store.unblock(session, row.id)
    session.flush()
    assert not store.unblock(session, row.id)
    assert store.block_list(session) == []
