"""Drawing license keys: random, unbiased, many at once."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, product
from math import ceil
from typing import Protocol

from hanaper.licenses.rules import license_key_fault

SEPARATOR = "-"
_BYTE_VALUES = 256


class KeyFormat(Protocol):
    """A way to make license keys."""

    @property
    def key_space(self) -> int | None:
        """How many different keys there are; None when nobody can tell."""

    def draw(self, quantity: int) -> list[str]:
        """That many keys, drawn independently: two of them may be equal."""


@dataclass(frozen=True, slots=True)
class UuidFormat:
    """Random UUIDs, version 4 (RFC 9562 5.4), lower case."""

    prefix: str = ""
    suffix: str = ""

    @property
    def key_space(self) -> int:
        """2^122: version and variant take six of the 128 bits."""
        return _RANDOM_UUIDS

    def draw(self, quantity: int) -> list[str]:
        """All random bytes come from the operating system in one read."""
        raw = os.urandom(16 * quantity).hex()
        prefix, suffix = self.prefix, self.suffix
        return [
            f"{prefix}{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}{suffix}"
            for h in (raw[start : start + 32] for start in range(0, len(raw), 32))
        ]


_RANDOM_UUIDS = 2**122
# The variant takes the two upper bits of a hex digit and leaves the two lower ones as drawn.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


@dataclass(frozen=True, slots=True)
class ChunkFormat:
    """Groups of characters, `XXXX-XXXX-XXXX-XXXX`."""

    charset: str
    number_of_chunks: int
    chunk_length: int
    prefix: str = ""
    suffix: str = ""

    @property
    def characters(self) -> int:
        """How many characters of a key are drawn."""
        return self.number_of_chunks * self.chunk_length

    @property
    def key_space(self) -> int:
        """One choice from the charset for each drawn character."""
        return int(len(self.charset) ** self.characters)

    def draw(self, quantity: int) -> list[str]:
        """Draw every character uniformly from the charset."""
        return self._keys_of(uniform_characters(self.charset, quantity * self.characters))

    def every(self) -> list[str]:
        """All different keys, for small key spaces."""
        return self._keys_of("".join(chain.from_iterable(product(self.charset, repeat=self.characters))))

    def _keys_of(self, text: str) -> list[str]:
        size = self.chunk_length
        chunks = [text[start : start + size] for start in range(0, len(text), size)]
        per_key = self.number_of_chunks
        return [
            self.prefix + SEPARATOR.join(chunks[start : start + per_key]) + self.suffix
            for start in range(0, len(chunks), per_key)
        ]


@dataclass(frozen=True, slots=True)
class CustomFormat:
    """Keys that an installed package makes (docs/custom-generators.md)."""

    function: Callable[[int], object]
    prefix: str = ""
    suffix: str = ""

    @property
    def key_space(self) -> None:
        """Only the function's author knows."""
        return

    def draw(self, quantity: int) -> list[str]:
        """Call the function.

        Raises:
            ValueError: what it returned is not a list of that many license keys.
            Exception: whatever it raised.
        """
        made = self.function(quantity)
        if not isinstance(made, list) or len(made) != quantity:
            raise ValueError(f"the function must return a list of {quantity} texts")
        keys: list[str] = []
        for item in made:
            key = f"{self.prefix}{item}{self.suffix}"
            if not isinstance(item, str) or not item or license_key_fault(key) is not None:
                raise ValueError("the function returned something that makes no license key")
            keys.append(key)
        return keys


def uniform_characters(charset: str, quantity: int) -> str:
    """Draw characters from the operating system's generator, each equally likely.

    A byte beyond the largest multiple of the charset's size is thrown away: taking the remainder of every byte would
    prefer the first characters.

    Args:
        charset: 2 to 256 different characters.
        quantity: how many.
    """
    size = len(charset)
    usable = _BYTE_VALUES - _BYTE_VALUES % size
    rejected = bytes(range(usable, _BYTE_VALUES))
    to_index = bytes(value % size for value in range(_BYTE_VALUES))
    drawn = bytearray()
    while len(drawn) < quantity:
        missing = quantity - len(drawn)
        drawn += os.urandom(ceil(missing * _BYTE_VALUES / usable) + 16).translate(to_index, rejected)
    return "".join([charset[index] for index in drawn[:quantity]])
