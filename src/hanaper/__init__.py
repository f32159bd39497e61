"""hanaper: a self-hosted license server that signs every answer."""

from datetime import UTC, datetime
from importlib.metadata import version

__version__ = version("hanaper")

RELEASED = datetime(2026, 11, 23, tzinfo=UTC)
"""When this version was made. A clock that says an earlier time is wrong. Set it together with the version."""
