"""When a client has had its time, to the moment."""

from math import inf

import pytest

from hanaper.web.deadlines import ANSWER_S, LEAST_TAKEN, LOOK_EVERY_S, Deadlines, Receipt, Sending

DEADLINES = Deadlines(head_s=10.0, request_s=15.0)


@pytest.fixture
def receipt() -> Receipt:
    receipt = Receipt(DEADLINES)
    receipt.start(100.0)
    return receipt


@pytest.mark.parametrize(("has_head", "ends"), [(False, 110.0), (True, 115.0)])
def test_a_request_is_late_at_its_deadline_and_the_next_look_is_then(
    receipt: Receipt, *, has_head: bool, ends: float
) -> None:
    receipt.has_head = has_head
    assert receipt.next_look_s(100.0) == ends - 100.0
    assert not receipt.is_late(ends - 0.25)
    assert receipt.next_look_s(ends - 0.25) == 0.25
    assert receipt.is_late(ends)
    # Once it is late nothing more is waited for at that moment.
    assert receipt.next_look_s(ends) == inf


def test_what_is_not_awaited_is_never_late(receipt: Receipt) -> None:
    receipt.end()
    assert not receipt.is_late(1e9)
    assert receipt.next_look_s(1e9) == inf


def test_time_that_is_ours_is_not_counted(receipt: Receipt) -> None:
    receipt.wait(109.0)
    assert not receipt.is_late(118.5)
    assert receipt.is_late(119.0)


def test_answers_that_are_not_taken_are_given_up_in_fifteen_seconds() -> None:
    sending = Sending()
    # The worst that can be: nothing is taken from just after a look on.
    looks = [0.999 + LOOK_EVERY_S * number for number in range(40)]
    late = next(now for now in looks if sending.is_late(LEAST_TAKEN * 4, now))
    assert late == 0.999 + ANSWER_S
    assert late + LOOK_EVERY_S - 0.999 <= 15.0


def test_who_takes_enough_is_given_more_time() -> None:
    sending = Sending()
    left = LEAST_TAKEN * 40
    for number in range(3):
        assert not sending.is_late(left - number * LEAST_TAKEN, number * (ANSWER_S - 1))
    assert sending.is_late(left - 2 * LEAST_TAKEN, 3 * (ANSWER_S - 1) + 1)
