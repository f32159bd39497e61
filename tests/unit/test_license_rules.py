import pytest

from hanaper.licenses import rules


@pytest.mark.parametrize("key", ["x", "K" * 255, "é" * 255, "AAAA-BBBB", "a b", "<>&\"'/\\"])
def test_a_license_key_is_printable_text(key: str) -> None:
    assert rules.license_key_fault(key) is None


@pytest.mark.parametrize(
    "key", ["", "K" * 256, "a\n", "\t", "\0", "\x7f", "\u200b", "\xa0", chr(0xD800), " x", "x ", " "], ids=ascii
)
def test_any_other_license_key_is_refused_and_not_quoted(key: str) -> None:
    assert rules.license_key_fault(key) == "a license key has 1 to 255 printable characters, and no blanks around it"


@pytest.mark.parametrize(("limit", "days"), [(0, 0), (1, 365), (2_147_483_647, 1_000_000)])
def test_terms_are_not_negative_and_have_a_ceiling(limit: int, days: int) -> None:
    assert rules.terms_fault(limit, days) is None


@pytest.mark.parametrize(
    ("limit", "days", "fault"),
    [
        (-1, 0, "an activation limit is 0 (unlimited) to 2,147,483,647, not -1"),
        (2_147_483_648, 0, "an activation limit is 0 (unlimited) to 2,147,483,647, not 2147483648"),
        (0, -1, "a validity is 0 (for ever) to 1,000,000 days, not -1"),
        (0, 1_000_001, "a validity is 0 (for ever) to 1,000,000 days, not 1000001"),
        (-1, -1, "an activation limit is 0 (unlimited) to 2,147,483,647, not -1"),
    ],
)
def test_any_other_terms_are_refused(limit: int, days: int, fault: str) -> None:
    assert rules.terms_fault(limit, days) == fault


def test_the_statuses_are_those_of_the_wire() -> None:
    assert rules.STATUSES == ("available", "assigned", "reserved", "blocked")
    assert rules.AVAILABLE in rules.STATUSES
