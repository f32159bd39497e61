from datetime import UTC, datetime, timedelta, timezone

import pytest

from hanaper.clock import iso_z, utc_now


def test_now_is_aware_and_in_utc() -> None:
    before, now, after = datetime.now(UTC), utc_now(), datetime.now(UTC)
    assert before <= now <= after
    assert now.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 2, 24, 20, 54, 16, tzinfo=UTC), "2024-02-24T20:54:16.000000Z"),
        (datetime(2024, 2, 24, 20, 54, 16, 999_999, tzinfo=UTC), "2024-02-24T20:54:16.000000Z"),
        (datetime(2024, 2, 29, tzinfo=UTC), "2024-02-29T00:00:00.000000Z"),
        (datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2023-12-31T23:00:00.000000Z"),
    ],
)
def test_moments_travel_in_utc_with_six_zeros(moment: datetime, text: str) -> None:
    assert iso_z(moment) == text
