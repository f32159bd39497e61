"""The bytes of the audit log: what is hashed, what is signed, what stands for a license key, how ids are told."""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, Self

BEGINNING = bytes(32)
"""What stands before the first row."""

MOST_RANGES = 100
_encode = json.JSONEncoder(separators=(",", ":"), default=repr).encode
_PURPOSE = b"hanaper audit log, license keys"
_CUTS = b"hanaper audit log, cuts"
_TOKEN = re.compile(
    r"1:(?P<number>\d{1,18}):(?P<rows>\d{1,18}):(?P<event_id>\d{1,18}):(?P<hash>[0-9a-f]{64}):(?P<signed_at>\d{1,18})"
    r":(?P<kid>[0-9a-f]{16}):(?P<signature>[A-Za-z0-9_=-]{1,2048})"
)


class Row(NamedTuple):
    """A row of the log as it is hashed: what the database gives for its columns, the moment as text in UTC.

    A plain tuple: a busy server seals a thousand of them a second.
    """

    id: int
    at: str | None
    api_key_id: int | None
    address: str | None
    action: str | None
    objects: str | None
    batch_id: int | None
    license_digest: str | None
    code: int | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """The hash of the chain up to a row."""

    event_id: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """See `models.AuditCheckpoint`."""

    number: int
    rows: int
    event_id: int
    hash: bytes
    signed_at: int
    kid: str = ""
    signature: bytes = b""

    @property
    def statement(self) -> bytes:
        """What is signed. It has spaces and line ends, so it is never the base64 text that is signed of an answer."""
        return (
            f"hanaper audit checkpoint 1\nnumber {self.number}\nrows {self.rows}\nlast row {self.event_id}\n"
            f"hash {self.hash.hex()}\nsigned at {self.signed_at}\n"
        ).encode("ascii")

    @property
    def token(self) -> str:
        """All of it as one word, for the log and the command line."""
        signature = base64.urlsafe_b64encode(self.signature).decode("ascii")
        numbers = f"{self.number}:{self.rows}:{self.event_id}:{self.hash.hex()}:{self.signed_at}"
        return f"1:{numbers}:{self.kid}:{signature}"


NOTHING = Checkpoint(0, 0, 0, BEGINNING, 0)
"""Where the chain begins that has never been pruned."""


@dataclass(frozen=True, slots=True)
class Cut:
    """See `models.AuditCut`. All of the checkpoint is in it: archives are compared with that."""

    checkpoint: Checkpoint
    last_batch: int
    cut_at: int
    mac: bytes = b""

    @classmethod
    def made(cls, checkpoint: Checkpoint, last_batch: int, cut_at: int, pepper: bytes) -> Self:
        """A cut of an installation, which its secret is needed for."""
        made = cls(checkpoint, last_batch, cut_at)
        return replace(made, mac=made.mac_under(pepper))

    def mac_under(self, pepper: bytes) -> bytes:
        """What `mac` has to be in an installation. No signature: it outlives every signing key."""
        statement = f"{self.checkpoint.token}\nlast batch {self.last_batch}\ncut at {self.cut_at}\n"
        return hmac.digest(_key(pepper, _CUTS), statement.encode("utf-8"), hashlib.sha256)

    def is_of(self, pepper: bytes) -> bool:
        """Whether it was made with the secret of an installation."""
        return hmac.compare_digest(self.mac, self.mac_under(pepper))


def from_token(text: str) -> Checkpoint | None:
    """The checkpoint that somebody took from a log; None where it is none."""
    found = _TOKEN.fullmatch(text.strip())
    if found is None:
        return None
    try:
        signature = base64.urlsafe_b64decode(found["signature"])
    except (binascii.Error, ValueError):
        return None
    checkpoint = Checkpoint(
        int(found["number"]),
        int(found["rows"]),
        int(found["event_id"]),
        bytes.fromhex(found["hash"]),
        int(found["signed_at"]),
        found["kid"],
        signature,
    )
    # A checkpoint is one word: no zeros in front, no digits of other scripts, nothing that base64 passes over.
    return checkpoint if checkpoint.token == text.strip() else None


def chained(before: bytes, row: Row) -> bytes:
    """The hash of a row behind that of the row before it, 32 bytes.

    Whatever SQLite may hold in a column has a form here, so that nothing somebody wrote there is an error.
    """
    return hashlib.sha256(before + _encode(row).encode("ascii")).digest()


def license_digest(pepper: bytes, license_key: str) -> bytes:
    """What stands for a license key in the log: HMAC-SHA-256 under a key made of the installation's secret.

    Who reads the log without that secret cannot try license keys against it, however short they are.
    """
    return hmac.digest(_key(pepper, _PURPOSE), license_key.encode("utf-8"), hashlib.sha256)


@cache
def _key(pepper: bytes, purpose: bytes) -> bytes:
    return hmac.digest(pepper, purpose, hashlib.sha256)


def told(objects: Mapping[str, object]) -> str:
    """The JSON object of ids: lists of them as ranges, as in "3-7,12"; none of a license key's text."""
    plain = {
        name: _ranges(value) if isinstance(value, list | tuple | set) else value
        for name, value in sorted(objects.items())
        if value is not None
    }
    return json.dumps(plain, separators=(",", ":"))


def _ranges(ids: Iterable[int]) -> str:
    ranges: list[list[int]] = []
    for number in sorted(set(ids)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges[:MOST_RANGES]]
    left = sum(last - first + 1 for first, last in ranges[MOST_RANGES:])
    return ",".join(shown) + (f" and {left} more" if left else "")
