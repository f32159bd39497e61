"""Inputs by chance, from inputs: for the short form, which has no coverage to go by."""

import random
from collections.abc import Iterator, Sequence

_PIECES = [
    b"",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\r\n",
    b"\n",
    b" ",
    b'"',
    b"'",
    b"\\",
    b"%",
    b"%00",
    b"&",
    b"=",
    b";",
]
_PIECES += [b",", b":", b"[", b"]", b"{", b"}", b"-", b"0", b"-1", b"9" * 20, b"1e400", b"::ffff:", b"/", b"\\ud800"]


def mutated(inputs: Sequence[bytes], number: int) -> Iterator[bytes]:
    """So many, the same for the same inputs."""
    chance = random.Random(26)  # noqa: S311 -- a test wants to be repeated
    for _ in range(number):
        found = chance.choice(inputs)
        for _ in range(chance.choice((1, 1, 2, 4, 8))):
            start = chance.randrange(len(found) + 1)
            end = min(len(found), start + chance.choice((0, 1, 1, 2, 4, 16)))
            found = found[:start] + _instead(chance, found[start:end], inputs) + found[end:]
        yield found


def _instead(chance: random.Random, piece: bytes, inputs: Sequence[bytes]) -> bytes:
    match chance.randrange(5):
        case 0:
            return chance.choice(_PIECES)
        case 1:
            return piece + piece
        case 2:
            return bytes(byte ^ 1 << chance.randrange(8) for byte in piece)
        case 3:
            other = chance.choice(inputs)
            start = chance.randrange(len(other) + 1)
            return other[start : start + chance.randrange(1, 32)]
    return b""
