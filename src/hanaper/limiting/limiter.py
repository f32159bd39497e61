"""All budgets of a process."""

import hashlib
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from hanaper.limiting.budget import Budget
from hanaper.limiting.file import WindowsFile
from hanaper.limiting.windows import InDatabase, InFile, Lasting, Windows
from hanaper.metrics.meter import OFF, Meter
from hanaper.settings import Settings
from hanaper.storage.transactions import Storage

SUBJECT_BYTES = 16
_HOST_BITS_OF_IPV6 = 64


class Limiter:
    """The budgets, wired.

    Attributes:
        requests: of each API key.
        keys: license keys, of each API key.
        failures: authentications that failed, of each address.
    """

    def __init__(self, settings: Settings, storage: Storage, pepper: bytes, meter: Meter = OFF) -> None:
        """Wire them: replicas count together in PostgreSQL, the processes of a machine in a file beside SQLite.

        Args:
            pepper: keys the digests of addresses. Secret.
        """
        file = storage.database.file
        shared: Windows = InDatabase(storage) if file is None else InFile(WindowsFile(windows_file(file)))
        self._windows = Lasting(shared)
        self.requests = Budget("requests", settings.requests_per_minute, self._windows, meter)
        self.keys = Budget("keys", settings.keys_per_minute, self._windows, meter)
        self.failures = Budget("failures", settings.failures_per_minute, self._windows, meter)
        self._pepper = pepper

    def of_api_key(self, digest: bytes) -> bytes:
        """The subject of an API key's budgets.

        Args:
            digest: of the key.
        """
        return digest[:SUBJECT_BYTES]

    def of_address(self, address: IPv4Address | IPv6Address | None) -> bytes:
        """The subject of an address's budget: IPv6 by its /64, which one customer has as a whole.

        Args:
            address: None where it cannot be told: all of these have one budget.
        """
        if address is None:
            network = b""
        elif isinstance(address, IPv6Address):
            network = address.packed[: _HOST_BITS_OF_IPV6 // 8]
        else:
            network = address.packed
        return hashlib.blake2b(network, key=self._pepper, digest_size=SUBJECT_BYTES).digest()

    def close(self) -> None:
        """Let go of what is shared."""
        self._windows.close()


def windows_file(database_file: Path) -> Path:
    """The file in which the processes of one machine count together."""
    return database_file.with_name(database_file.name + ".limits")
