"""Medians, spreads and shares."""

import pytest

from hanaper.bench.spread import Spread, neighbours, shares


def test_a_spread_is_the_median_between_the_least_and_the_most() -> None:
    assert Spread.of([3, 1, 2]) == Spread(2, 1, 3)
    assert Spread.of([4, 1, 2, 3]).median == 2.5


def test_there_is_no_median_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Spread.of([])


def test_a_spread_is_shown_with_its_ends_where_they_differ() -> None:
    assert Spread.of([1234.4, 1300, 1100]).shown(0) == "1,234 (1,100 to 1,300)"
    assert Spread.of([0.501, 0.499]).shown(2) == "0.50"


def test_a_run_is_measured_by_the_ceilings_on_both_sides() -> None:
    assert neighbours(100, 110) == 105


def test_shares_pair_the_same_rounds() -> None:
    assert shares([1, 3], [2, 4]) == Spread(0.625, 0.5, 0.75)
    with pytest.raises(ValueError, match="zip"):
        shares([1], [2, 3])
