"""A time of day for other processes that a test can change while they run: libfaketime."""

from pathlib import Path

import pytest

_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")
IN_1969 = "-1800000000"
"""Until the year 2027."""


class FakeTime:
    """What is added to the time of day of the processes that have this environment. The monotonic clock is true."""

    def __init__(self, folder: Path) -> None:
        found = [path for pattern in _LIBRARIES for path in Path("/").glob(pattern.lstrip("/"))]
        if not found:
            pytest.skip("libfaketime is not installed")
        self._file = folder / "offset"
        self.environment = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.add("+0")

    def add(self, offset: str) -> None:
        """Add so much from now on: seconds, or years as in `+10y`."""
        other = self._file.with_suffix(".new")
        other.write_text(offset)
        other.replace(self._file)
