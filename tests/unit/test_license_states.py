"""The states of a license key, on plain values; what is expected is written down here a second time."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanaper.licenses import rules
from hanaper.licenses.rules import Facts, State

ASSIGNED_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
STORED = [State.AVAILABLE, State.RESERVED, State.ASSIGNED, State.SUSPENDED, State.REVOKED]


@pytest.mark.parametrize(("origin", "target"), list(product(STORED, STORED)))
def test_from_every_state_there_is_a_way_to_every_other_save_from_revoked(origin: State, target: State) -> None:
    assert rules.may_move(origin, target) == (origin is target or origin is not State.REVOKED)


@pytest.mark.parametrize("target", [State.ACTIVE, State.EXPIRED])
@pytest.mark.parametrize("origin", STORED)
def test_no_license_key_is_moved_to_a_state_that_is_derived(origin: State, target: State) -> None:
    assert not rules.may_move(origin, target)


def test_the_table_of_moves_has_the_stored_states_and_no_move_that_stays() -> None:
    assert list(rules.MOVES) == STORED
    assert all(targets <= set(STORED) - {origin} for origin, targets in rules.MOVES.items())
    assert rules.MOVES[State.REVOKED] == frozenset()


@pytest.mark.parametrize(
    ("state", "columns"),
    [
        (State.AVAILABLE, ("available", None)),
        (State.RESERVED, ("reserved", None)),
        (State.ASSIGNED, ("assigned", None)),
        (State.SUSPENDED, ("blocked", "suspended")),
        (State.REVOKED, ("blocked", "revoked")),
    ],
)
def test_a_state_is_stored_in_two_columns_and_read_back(state: State, columns: tuple[str, str | None]) -> None:
    assert state.stored == columns
    assert rules.stored_state(*columns) is state
    assert columns[0] in rules.STATUSES


@pytest.mark.parametrize("reason", [None, "", "suspended", "REVOKED", "something else"])
def test_a_block_without_a_reason_or_with_an_unknown_one_is_a_suspension(reason: str | None) -> None:
    assert rules.stored_state("blocked", reason) is State.SUSPENDED


@pytest.mark.parametrize("status", ["available", "reserved", "assigned"])
@pytest.mark.parametrize("reason", ["suspended", "revoked"])
def test_a_reason_without_a_block_says_nothing(status: str, reason: str) -> None:
    assert rules.stored_state(status, reason).value == status


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("available", State.AVAILABLE),
        ("reserved", State.RESERVED),
        ("assigned", State.ASSIGNED),
        ("blocked", State.SUSPENDED),
        ("suspended", State.SUSPENDED),
        ("revoked", State.REVOKED),
    ],
)
def test_a_caller_names_a_state_by_a_word_of_the_wire_or_by_a_reason(word: str, state: State) -> None:
    assert rules.named_state(word) is state


@pytest.mark.parametrize("word", ["", "active", "expired", "Available", "BLOCKED", " assigned", "assigned ", "0"])
def test_any_other_word_names_no_state(word: str) -> None:
    assert rules.named_state(word) is None


@pytest.mark.parametrize(("stored", "activations", "expired"), list(product(STORED, [0, 1, 2, 1000], [False, True])))
def test_only_what_is_assigned_is_shown_as_active_or_expired(stored: State, activations: int, expired: bool) -> None:  # noqa: FBT001 -- of a table
    expected = stored
    if stored == "assigned" and expired:
        expected = State.EXPIRED
    elif stored == "assigned" and activations > 0:
        expected = State.ACTIVE
    assert rules.shown_state(stored, activations=activations, expired=expired) is expected


def test_a_license_key_expires_so_many_days_of_24_hours_after_its_assignment() -> None:
    assert rules.expires_at(ASSIGNED_AT, 1) == datetime(2026, 1, 3, 3, 4, 5, 678901, tzinfo=UTC)
    assert rules.expires_at(ASSIGNED_AT, 365) == datetime(2027, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    # Over the 29th of February.
    assert rules.expires_at(ASSIGNED_AT, 1000) == datetime(2028, 9, 28, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.mark.parametrize(("assigned_at", "validity"), [(None, 0), (None, 1), (None, 1_000_000), (ASSIGNED_AT, 0)])
def test_without_an_assignment_or_a_validity_it_never_expires(assigned_at: datetime | None, validity: int) -> None:
    assert rules.expires_at(assigned_at, validity) is None
    assert not rules.is_expired(assigned_at, validity, datetime.max.replace(tzinfo=UTC))


def test_what_would_expire_after_the_year_9999_never_expires() -> None:
    last = datetime(9999, 12, 31, 3, 4, 5, 678901, tzinfo=UTC)
    days = (last - ASSIGNED_AT).days
    assert rules.expires_at(ASSIGNED_AT, days) == last
    for validity in (days + 1, rules.LONGEST_VALIDITY_DAYS * 5, 10**9, 10**12):
        assert rules.expires_at(ASSIGNED_AT, validity) is None
        assert not rules.is_expired(ASSIGNED_AT, validity, last)


@pytest.mark.parametrize("validity", [1, 30, 365, rules.LONGEST_VALIDITY_DAYS])
def test_the_last_moment_of_the_validity_still_counts(validity: int) -> None:
    end = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(days=validity)
    began = datetime(2026, 1, 2, tzinfo=UTC)
    assert not rules.is_expired(began, validity, began)
    assert not rules.is_expired(began, validity, end - INSTANT)
    assert not rules.is_expired(began, validity, end)
    assert rules.is_expired(began, validity, end + INSTANT)


@given(
    began=st.datetimes(timezones=st.just(UTC)),
    validity=st.integers(0, rules.LONGEST_VALIDITY_DAYS),
    now=st.datetimes(timezones=st.just(UTC)),
)
def test_expired_is_what_has_ended(began: datetime, validity: int, now: datetime) -> None:
    # Moments as microseconds: without the calendar.
    zero = datetime(1, 1, 1, tzinfo=UTC)
    start, present = ((moment - zero) // INSTANT for moment in (began, now))
    end = start + validity * 86_400 * 10**6
    assert rules.is_expired(began, validity, now) == (validity > 0 and present > end)


@pytest.mark.parametrize(
    ("limit", "activations", "reached"),
    [
        (0, 0, False),
        (0, 1, False),
        (0, 2_147_483_647, False),
        (1, 0, False),
        (1, 1, True),
        (1, 2, True),
        (5, 4, False),
        (5, 5, True),
        (5, 6, True),
        (2_147_483_647, 2_147_483_646, False),
        (2_147_483_647, 2_147_483_647, True),
    ],
)
def test_a_limit_of_zero_is_none_and_one_that_was_lowered_stays_reached(
    limit: int,
    activations: int,
    reached: bool,  # noqa: FBT001 -- of a table
) -> None:
    assert rules.limit_reached(limit, activations) == reached


def oracle(facts: Facts, *, identifier: bool, activation: bool) -> int:
    """The table of protocol.md 4.3 from its row 2 on, read from the bottom: what stands above wins. 0: passes."""
    answer = 0
    if facts.identifier and not facts.activated and activation:
        answer = 202
    if facts.expired:
        answer = 205
    if not facts.identifier and identifier:
        answer = 215
    if facts.status in {"available", "reserved"}:
        answer = 201
    if facts.status == "blocked":
        answer = 204
    if not facts.product_is_active:
        answer = 203
    return answer


ALL_FACTS = [
    Facts(active, status, identifier, expired, activated)
    for active, status, identifier, expired, activated in product(
        [False, True],
        ["available", "assigned", "reserved", "blocked"],
        ["", "shop.example"],
        [False, True],
        [False, True],
    )
]


@pytest.mark.parametrize(("identifier", "activation"), list(product([False, True], [False, True])))
def test_the_first_check_that_fails_is_told(identifier: bool, activation: bool) -> None:  # noqa: FBT001 -- of a table
    told = set()
    for facts in ALL_FACTS:
        refusal = rules.refusal_of(facts, wants_identifier=identifier, wants_activation=activation)
        number = 0 if refusal is None else refusal.number
        assert number == oracle(facts, identifier=identifier, activation=activation), facts
        told.add(number)
    assert told == {0, 201, 203, 204, 205} | ({215} if identifier else set()) | ({202} if activation else set())


def test_an_identifier_and_an_activation_are_wanted_if_nothing_else_is_said() -> None:
    for facts in ALL_FACTS:
        refusal = rules.refusal_of(facts)
        assert (0 if refusal is None else refusal.number) == oracle(facts, identifier=True, activation=True)
