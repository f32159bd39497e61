"""The time of day, in one place so that tests can set it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

Clock: TypeAlias = Callable[[], datetime]
"""Returns the present moment, aware, in UTC."""


def utc_now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def iso_z(moment: datetime) -> str:
    """`2024-02-24T20:54:16.000000Z`, the form of created_at and updated_at on the wire (protocol.md 5.5)."""
    return f"{_in_utc(moment).isoformat('T', 'seconds')}.000000Z"


def iso_z_exact(moment: datetime) -> str:
    """`2024-11-23T19:02:08.829115Z`, the form of assigned_at in 803."""
    return f"{_in_utc(moment).isoformat('T', 'microseconds')}Z"


def plain(moment: datetime) -> str:
    """`2024-02-27 03:05:31`, in UTC: the form of assigned_at and expires_at in 500 and 730."""
    return _in_utc(moment).isoformat(" ", "seconds")


def _in_utc(moment: datetime) -> datetime:
    """Without its zone. `strftime` would write years before 1000 with fewer than four digits."""
    return moment.astimezone(UTC).replace(tzinfo=None)
