import math
from typing import Literal

import pytest

from hanaper.issuing import rules

AFFIX = "has at most 64 printable characters"


@pytest.mark.parametrize("text", ["", "PRO-", "x" * 64, "é日", "a b", "<>&\"'/\\"])
@pytest.mark.parametrize("name", ["prefix", "suffix"])
def test_an_affix_is_any_printable_text(name: Literal["prefix", "suffix"], text: str) -> None:
    assert rules.affix_fault(name, text) is None


@pytest.mark.parametrize("text", ["x" * 65, "a\n", "\t", "\0", "\x7f", "\u200b", "\xa0", chr(0xD800)], ids=ascii)
@pytest.mark.parametrize("name", ["prefix", "suffix"])
def test_any_other_affix_is_refused_by_its_name(name: Literal["prefix", "suffix"], text: str) -> None:
    assert rules.affix_fault(name, text) == f"a {name} {AFFIX}"


@pytest.mark.parametrize(("name", "text", "whole"), [("prefix", " P", False), ("prefix", "P ", True)])
def test_a_prefix_has_no_blank_before_the_key(name: Literal["prefix"], text: str, *, whole: bool) -> None:
    assert rules.affix_fault(name, text) == (None if whole else "a prefix has no blank at the end of the key")


@pytest.mark.parametrize(("name", "text", "whole"), [("suffix", " S", True), ("suffix", "S ", False)])
def test_a_suffix_has_no_blank_after_the_key(name: Literal["suffix"], text: str, *, whole: bool) -> None:
    assert rules.affix_fault(name, text) == (None if whole else "a suffix has no blank at the end of the key")


@pytest.mark.parametrize(
    "charset", ["AB", "0123456789ABCDEF", "é日\U0001f600", "".join(map(chr, range(0x100, 0x200))), "-_.", "aA"]
)
def test_a_charset_is_2_to_256_different_characters(charset: str) -> None:
    assert rules.charset_fault(charset) is None


@pytest.mark.parametrize(
    ("charset", "fault"),
    [
        ("", "a charset has 2 to 256 characters, this one 0"),
        ("A", "a charset has 2 to 256 characters, this one 1"),
        ("".join(map(chr, range(0x100, 0x201))), "a charset has 2 to 256 characters, this one 257"),
        ("AA", "a charset has every character once, here twice: A"),
        ("ABCBDA", "a charset has every character once, here twice: AB"),
        ("AB ", "a charset has printable characters only, and no blanks"),
        ("AB\n", "a charset has printable characters only, and no blanks"),
        ("AB\0", "a charset has printable characters only, and no blanks"),
        ("AB\xa0", "a charset has printable characters only, and no blanks"),
        ("AB\u200b", "a charset has printable characters only, and no blanks"),
        ("AB" + chr(0xD800), "a charset has printable characters only, and no blanks"),
    ],
    ids=ascii,
)
def test_any_other_charset_is_refused(charset: str, fault: str) -> None:
    assert rules.charset_fault(charset) == fault


@pytest.mark.parametrize(
    ("number", "length", "fault"),
    [
        (1, 1, None),
        (4, 4, None),
        (32, 64, None),
        (0, 4, "a key has 1 to 32 chunks, not 0"),
        (-1, 4, "a key has 1 to 32 chunks, not -1"),
        (33, 4, "a key has 1 to 32 chunks, not 33"),
        (4, 0, "a chunk has 1 to 64 characters, not 0"),
        (4, 65, "a chunk has 1 to 64 characters, not 65"),
        (0, 0, "a key has 1 to 32 chunks, not 0"),
    ],
)
def test_the_shape_of_a_chunk_key_has_bounds(number: int, length: int, fault: str | None) -> None:
    assert rules.chunks_fault(number, length) == fault


@pytest.mark.parametrize("name", ["x", "Keys for the shop", "é" * 100, "日本"])
def test_a_name_is_printable_text(name: str) -> None:
    assert rules.name_fault(name) is None


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", "\0", chr(0xD800)], ids=ascii)
def test_any_other_name_is_refused(name: str) -> None:
    assert rules.name_fault(name) == "the name of a generator has 1 to 100 printable characters"


@pytest.mark.parametrize("name", ["f", "acme.keys_v2", "a-b", "9", "x" * 100])
def test_the_name_of_a_function_is_plain(name: str) -> None:
    assert rules.function_name_fault(name) is None


@pytest.mark.parametrize("name", ["", "a b", "a:b", "é", "../x", "f\n", "x" * 101, "\N{FULLWIDTH DIGIT ONE}"])
def test_any_other_name_of_a_function_is_refused(name: str) -> None:
    assert rules.function_name_fault(name) == (
        "the name of a custom function has 1 to 100 letters, digits, dots, hyphens and underscores"
    )


@pytest.mark.parametrize(
    ("length", "fault"), [(1, None), (255, None), (256, "the keys would have 256 characters, more than 255")]
)
def test_a_key_has_255_characters_at_most(length: int, fault: str | None) -> None:
    assert rules.length_fault(length) == fault


def test_the_methods_are_those_of_the_wire() -> None:
    assert rules.METHODS == ("uuid", "chunk-system", "custom")


@pytest.mark.parametrize(
    ("key_space", "expected_keys", "bits", "odds", "years"),
    [
        # 16^16 keys, a million of them: odds n(n-1)/2N = 2.71e-8, 2^64 / 10^6 / 1000 / 31,557,600 s = 584.5 years.
        (16**16, 1_000_000, 64.0, 2.7105e-8, 584.5),
        # A random UUID: 2^122.
        (2**122, 1_000_000, 122.0, 9.404e-26, 1.68482e20),
        # 10^6 keys, a thousand of them: 1 - exp(-999,000 / 2,000,000) = 39.3 %; one in 1000, hence a second.
        (10**6, 1000, 19.9316, 0.393166, 3.1688e-8),
        # 40 bits.
        (2**40, 1, 40.0, 0.0, 34.8422),
        (2, 1, 1.0, 0.0, 6.3376e-11),
        (1, 1, 0.0, 0.0, 3.1688e-11),
        # 62^8 = 218,340,105,584,896.
        (62**8, 10_000, 47.6336, 2.2898e-7, 0.691878),
    ],
)
def test_the_arithmetic_is_that_done_by_hand(
    key_space: int, expected_keys: int, bits: float, odds: float, years: float
) -> None:
    strength = rules.strength(key_space, expected_keys)
    assert (strength.key_space, strength.expected_keys) == (key_space, expected_keys)
    assert strength.bits == pytest.approx(bits, rel=1e-4)
    assert strength.collision_odds == pytest.approx(odds, rel=1e-3)
    assert strength.years_to_guess == pytest.approx(years, rel=1e-3)


def test_the_odds_agree_with_the_birthday_of_two_in_a_room_of_23() -> None:
    assert rules.strength(365, 23).collision_odds == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("key_space", [62**192, 256**255, 10**5000], ids=["62^192", "256^255", "10^5000"])
def test_a_key_space_beyond_floating_point_is_still_arithmetic(key_space: int) -> None:
    strength = rules.strength(key_space, 1_000_000)
    assert strength.bits == pytest.approx(math.log2(key_space))
    assert strength.collision_odds == 0
    assert strength.fault is None
    assert strength.warning is None
    digits = int(math.log10(key_space))
    assert f"e+{digits} possible keys" in strength.explained
    assert strength.explained.endswith("is found after 3.2e+289 years on average")


def test_more_keys_than_there_are_collide_for_certain() -> None:
    assert rules.strength(2, 10**200).collision_odds == 1


@pytest.mark.parametrize(
    ("key_space", "expected_keys", "fault", "warning"),
    [
        (2**40, 1, None, "fewer than 64 bits: "),
        (2**40 - 1, 1, "the keys could be guessed: ", "fewer than 64 bits: "),
        (2**64 - 1, 1, None, None),
        (2**63, 1, None, "fewer than 64 bits: "),
        (2**64, 1, None, None),
        (10**15, 10**12, None, "fewer than 64 bits: "),
        (10**15, 10**12 + 1, "there are not enough different keys for 1,000,000,000,001: ", "fewer than 64 bits: "),
        (2**122, 2**122 // 1000, None, None),
        (2**122, 2**122 // 1000 + 1, "there are not enough different keys for 5,316,", None),
        (10**6, 1, "the keys could be guessed: ", "fewer than 64 bits: "),
    ],
)
def test_weak_keys_are_refused_and_middling_ones_are_warned_of(
    key_space: int, expected_keys: int, fault: str | None, warning: str | None
) -> None:
    strength = rules.strength(key_space, expected_keys)
    for found, expected in ((strength.fault, fault), (strength.warning, warning)):
        if expected is None:
            assert found is None
        else:
            assert found is not None
            assert found.startswith(expected)
            assert strength.explained in found


def test_a_refusal_says_what_is_needed() -> None:
    assert (rules.strength(10**6, 1).fault or "").endswith(". At least 40 bits are needed")
    assert (rules.strength(10**15, 10**13).fault or "").endswith(". At most one key in 1,000 may be issued")


@pytest.mark.parametrize(
    ("key_space", "expected_keys", "explained"),
    [
        (
            10**6,
            1000,
            (
                "1,000,000 possible keys (19.9 bits); odds that two of 1,000 keys collide when drawn: 0.39; "
                "at 1,000 guesses a second one of them is found after 1 seconds on average"
            ),
        ),
        (
            62**8,
            10_000,
            (
                "2.18e+14 possible keys (47.6 bits); odds that two of 10,000 keys collide when drawn: 2.3e-07; "
                "at 1,000 guesses a second one of them is found after 253 days on average"
            ),
        ),
        (
            2**40,
            1,
            (
                "1.10e+12 possible keys (40.0 bits); odds that two of 1 keys collide when drawn: 0; "
                "at 1,000 guesses a second one of them is found after 35 years on average"
            ),
        ),
        (
            2**122,
            1_000_000,
            (
                "5.32e+36 possible keys (122.0 bits); odds that two of 1,000,000 keys collide when drawn: 9.4e-26; "
                "at 1,000 guesses a second one of them is found after 1.7e+20 years on average"
            ),
        ),
    ],
)
def test_the_arithmetic_is_explained_in_one_line(key_space: int, expected_keys: int, explained: str) -> None:
    assert rules.strength(key_space, expected_keys).explained == explained
