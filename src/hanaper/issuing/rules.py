"""Rules about generators, on plain values: what one may look like, and whether its keys can be guessed."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from hanaper.licenses.rules import LONGEST_KEY

UUID = "uuid"
CHUNK_SYSTEM = "chunk-system"
CUSTOM = "custom"
METHODS = (UUID, CHUNK_SYSTEM, CUSTOM)

LONGEST_NAME = 100
LONGEST_AFFIX = 64
LEAST_CHARSET = 2
LARGEST_CHARSET = 256
MOST_CHUNKS = 32
LONGEST_CHUNK = 64
UUID_LENGTH = 36

# reliability.md 3, row 14.
LEAST_BITS = 40
COMFORTABLE_BITS = 64
# With more than one key in so many of the key space issued, draws begin to collide often enough to be refused.
LEAST_SPREAD = 1000
GUESSES_PER_SECOND = 1000
_SECONDS_PER_DAY = 86_400
_SECONDS_PER_YEAR = 365.25 * _SECONDS_PER_DAY
_LARGEST_RATIO = 10**300

_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Strength:
    """The arithmetic of a key space.

    Attributes:
        key_space: how many different keys there are.
        expected_keys: how many are going to be issued.
        bits: log2 of the key space.
        collision_odds: probability that any two of the expected keys are equal when drawn (the birthday bound).
        years_to_guess: mean time to hit one of the expected keys at 1,000 guesses a second, in years; capped.
    """

    key_space: int
    expected_keys: int
    bits: float
    collision_odds: float
    years_to_guess: float

    @property
    def fault(self) -> str | None:
        """Why such a generator is refused; None when it is good enough."""
        if self.bits < LEAST_BITS:
            return f"the keys could be guessed: {self.explained}. At least {LEAST_BITS} bits are needed"
        if self.expected_keys * LEAST_SPREAD > self.key_space:
            return (
                f"there are not enough different keys for {self.expected_keys:,}: {self.explained}. "
                f"At most one key in {LEAST_SPREAD:,} may be issued"
            )
        return None

    @property
    def warning(self) -> str | None:
        """What to think about before using it; None when there is nothing."""
        if self.bits < COMFORTABLE_BITS:
            return f"fewer than {COMFORTABLE_BITS} bits: {self.explained}"
        return None

    @property
    def explained(self) -> str:
        """The arithmetic in one line."""
        return (
            f"{_rounded(self.key_space)} possible keys ({self.bits:.1f} bits); "
            f"odds that two of {self.expected_keys:,} keys collide when drawn: {self.collision_odds:.2g}; "
            f"at {GUESSES_PER_SECOND:,} guesses a second one of them is found after "
            f"{_years(self.years_to_guess)} on average"
        )


def strength(key_space: int, expected_keys: int) -> Strength:
    """Do the arithmetic.

    Args:
        key_space: 1 or more.
        expected_keys: 1 or more.
    """
    return Strength(
        key_space=key_space,
        expected_keys=expected_keys,
        bits=math.log2(key_space),
        collision_odds=-math.expm1(-_ratio(expected_keys * (expected_keys - 1), 2 * key_space)),
        years_to_guess=_ratio(key_space, expected_keys) / GUESSES_PER_SECOND / _SECONDS_PER_YEAR,
    )


def affix_fault(name: Literal["prefix", "suffix"], text: str) -> str | None:
    """What is wrong with a prefix or suffix; None when it is fine."""
    if len(text) > LONGEST_AFFIX or not (text.isprintable() or not text):
        return f"a {name} has at most {LONGEST_AFFIX} printable characters"
    if text and (text[0] if name == "prefix" else text[-1]).isspace():
        return f"a {name} has no blank at the end of the key"
    return None


def charset_fault(charset: str) -> str | None:
    """What is wrong with a charset; None when it is fine. A character that came twice would be drawn twice as often."""
    if not LEAST_CHARSET <= len(charset) <= LARGEST_CHARSET:
        return f"a charset has {LEAST_CHARSET} to {LARGEST_CHARSET} characters, this one {len(charset)}"
    twice = sorted({character for character in charset if charset.count(character) > 1})
    if twice:
        return f"a charset has every character once, here twice: {''.join(twice)}"
    if not charset.isprintable() or any(character.isspace() for character in charset):
        return "a charset has printable characters only, and no blanks"
    return None


def chunks_fault(number_of_chunks: int, chunk_length: int) -> str | None:
    """What is wrong with the shape of a chunk-system key; None when it is fine."""
    if not 1 <= number_of_chunks <= MOST_CHUNKS:
        return f"a key has 1 to {MOST_CHUNKS} chunks, not {number_of_chunks}"
    if not 1 <= chunk_length <= LONGEST_CHUNK:
        return f"a chunk has 1 to {LONGEST_CHUNK} characters, not {chunk_length}"
    return None


def name_fault(name: str) -> str | None:
    """What is wrong with a generator's name; None when it is fine."""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        return f"the name of a generator has 1 to {LONGEST_NAME} printable characters"
    return None


def function_name_fault(function_name: str) -> str | None:
    """What is wrong with the name of a custom function; None when it is fine."""
    if not _FUNCTION_NAME.fullmatch(function_name):
        return "the name of a custom function has 1 to 100 letters, digits, dots, hyphens and underscores"
    return None


def length_fault(key_length: int) -> str | None:
    """What is wrong with the length of the finished key; None when it is fine."""
    if key_length > LONGEST_KEY:
        return f"the keys would have {key_length} characters, more than {LONGEST_KEY}"
    return None


def _ratio(dividend: int, divisor: int) -> float:
    """A quotient; a key space of hundreds of characters is beyond what a float holds, so it is capped."""
    return dividend / divisor if dividend < divisor * _LARGEST_RATIO else float(_LARGEST_RATIO)


def _rounded(number: int) -> str:
    return f"{number:,}" if number < 10**9 else f"{Decimal(number):.2e}"


def _years(years: float) -> str:
    if years < 1:
        seconds = years * _SECONDS_PER_YEAR
        return f"{seconds:,.0f} seconds" if seconds < _SECONDS_PER_DAY else f"{seconds / _SECONDS_PER_DAY:,.0f} days"
    return f"{years:,.0f} years" if years < 10**6 else f"{years:.1e} years"
