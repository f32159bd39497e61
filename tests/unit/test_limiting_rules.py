"""What is counted by the second never lets a minute have more than the budget."""

from hypothesis import given
from hypothesis import strategies as st

from hanaper.limiting.rules import LEASE_S, SECONDS, WINDOW_S, Ask, Grant, Window, given_back, moved, take, wait_s

SUBJECT = bytes(17)
asks = st.builds(lambda least, more: (least, least + more), st.integers(1, 30), st.integers(0, 30))


def ask(least: int = 1, most: int = 10, wanted: int | None = None) -> Ask:
    return Ask(SUBJECT, least, wanted or least, most)


@given(st.lists(st.tuples(st.integers(0, 20), asks), max_size=200), st.integers(1, 100))
def test_no_minute_has_more_than_the_budget(steps: list[tuple[int, tuple[int, int]]], most: int) -> None:
    second, window = 1000, None
    taken: list[tuple[int, int]] = []
    for passed, (least, wanted) in steps:
        second += passed
        window, grant = take(window, second, Ask(SUBJECT, least, wanted, most))
        assert grant.amount == 0 or least <= grant.amount <= max(wanted, least)
        taken.append((second, grant.amount))
    # What is leased is used up to so much later: the minute is so much longer where it is taken.
    for begin, _ in taken:
        within = [amount for when, amount in taken if begin <= when <= begin + WINDOW_S + LEASE_S and amount]
        assert sum(within) <= most or len(within) == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 12)), max_size=60), st.integers(1, 10))
def test_who_waits_as_long_as_he_is_told_gets_it(steps: list[tuple[int, int]], least: int) -> None:
    second, window = 1000, None
    for passed, amount in steps:
        second += passed
        window, _ = take(window, second, ask(amount))
    window, grant = take(window, second, ask(least))
    if not grant.amount:
        assert 1 <= grant.wait_s <= SECONDS
        assert take(window, second + grant.wait_s, ask(least))[1].amount == least
        assert grant.wait_s == 1 or not take(window, second + grant.wait_s - 1, ask(least))[1].amount


def test_all_of_a_budget_can_be_had_at_once_and_then_nothing() -> None:
    window = None
    amounts = []
    for _ in range(12):
        window, grant = take(window, 5, ask())
        amounts.append(grant.amount)
    assert amounts == [1] * 10 + [0, 0]
    assert take(window, 5 + SECONDS - 1, ask())[1] == Grant(0, 5 + SECONDS - 1, 1)
    assert take(window, 5 + SECONDS, ask())[1].amount == 1


def test_more_than_the_whole_budget_can_be_had_where_nothing_was_taken() -> None:
    window, grant = take(None, 5, ask(25))
    assert grant.amount == 25
    assert take(window, 6, ask())[1] == Grant(0, 6, SECONDS - 1)
    assert take(window, 6, ask(25))[1] == Grant(0, 6, SECONDS - 1)


def test_who_wants_more_gets_what_is_left() -> None:
    window, _ = take(None, 5, ask(4))
    assert take(window, 5, ask(2, wanted=9))[1].amount == 6
    assert take(None, 5, ask(2, wanted=90))[1].amount == 10


def test_a_clock_that_goes_back_a_little_is_waited_for() -> None:
    window, _ = take(None, 100, ask(10))
    assert moved(window, 100 - SECONDS + 1) == window
    assert moved(window, 100 - SECONDS) == Window(100 - SECONDS)
    assert moved(window, 100 + SECONDS) == Window(100 + SECONDS)


def test_what_is_given_back_is_there_again() -> None:
    window, _ = take(None, 5, ask(10))
    back = given_back(window, 5, 4)
    assert take(back, 7, ask(4))[1].amount == 4
    assert take(back, 7, ask(5))[1].amount == 0
    assert given_back(window, 4, 4) == window
    assert take(window, 7, Ask(SUBJECT, 4, 4, 10, back=4, back_second=5))[1].amount == 4
    assert take(window, 7, Ask(SUBJECT, 5, 5, 10, back=4, back_second=5))[1].amount == 0
    assert take(window, 7, Ask(SUBJECT, 4, 4, 10, back=4, back_second=4))[1].amount == 0
    later = moved(window, 5 + SECONDS - 1)
    assert given_back(later, 5, 11) == Window(later.second)
    assert given_back(moved(window, 5 + SECONDS), 5, 3) == Window(5 + SECONDS)
    assert given_back(window, 6, 3) == window


def test_where_nothing_is_used_there_is_no_wait_worth_the_name() -> None:
    assert wait_s((0,) * SECONDS, 1, 0) == 1
    assert wait_s((), 1, 0) == 1
