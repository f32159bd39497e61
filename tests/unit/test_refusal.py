import pytest

from hanaper.protocol import codes
from hanaper.refusal import Fault, Invalid, Misconfigured, Refusal, Unavailable


def test_a_refusal_without_more_is_its_code() -> None:
    refusal = Refusal(codes.GENERATOR_NOT_FOUND_ASSIGN)
    assert refusal.code is codes.GENERATOR_NOT_FOUND_ASSIGN
    assert (refusal.payload, refusal.product_key_id, refusal.headers) == ({}, None, {})
    assert str(refusal) == "806 Generator not found"


def test_a_refusal_carries_what_belongs_to_the_answer_and_its_text_does_not_repeat_it() -> None:
    refusal = Refusal(
        codes.NO_LICENSE_KEYS_CREATED, {"errors": ["SECRET"]}, product_key_id=7, headers={"Retry-After": "5"}
    )
    assert (refusal.payload, refusal.product_key_id) == ({"errors": ["SECRET"]}, 7)
    assert refusal.headers == {"Retry-After": "5"}
    assert "SECRET" not in f"{refusal} {refusal!r}"


def test_two_refusals_do_not_share_their_headers() -> None:
    Refusal(codes.ACCESS_DENIED).headers["X"] = "y"
    assert Refusal(codes.ACCESS_DENIED).headers == {}


@pytest.mark.parametrize(("fault", "status"), [(Fault, 1), (Invalid, 65), (Misconfigured, 78), (Unavailable, 69)])
def test_a_fault_has_its_exit_status_of_sysexits(fault: type[Fault], status: int) -> None:
    assert fault.exit_status == status
    assert issubclass(fault, Fault)
    assert not issubclass(fault, Refusal)
