"""Drawing license keys: their shape, and that every character is as likely as any other."""

import os
import random
import re
import string
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import pytest

from hanaper.licenses.key_formats import ChunkFormat, CustomFormat, UuidFormat, uniform_characters

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SIZES = [2, 3, 10, 16, 36, 62, 200, 256]
CHARSET = "".join(chr(0x100 + number) for number in range(256))

# How many characters show a modulo bias beyond doubt. With 3 of them the bias is one byte in 256, hence the many.
SAMPLE = {3: 6_000_000}
USUAL_SAMPLE = 1_000_000


def chi_square(text: str, charset: str) -> float:
    expected = len(text) / len(charset)
    counts = Counter(text)
    assert set(counts) <= set(charset)
    return sum((counts[character] - expected) ** 2 / expected for character in charset)


def threshold(size: int) -> float:
    """What chance exceeds about once in 10^9 tests: six standard deviations, after Wilson and Hilferty."""
    freedom = size - 1
    return freedom * float(1 - 2 / (9 * freedom) + 6 * (2 / (9 * freedom)) ** 0.5) ** 3


def with_modulo_bias(charset: str, quantity: int) -> str:
    """The mistake: the remainder of every byte. Seeded, so that this test cannot fail by chance."""
    to_index = bytes(value % len(charset) for value in range(256))
    raw = random.Random(815).randbytes(quantity)  # noqa: S311 -- a planted fault, not a key
    return "".join([charset[index] for index in raw.translate(to_index)])


@pytest.mark.parametrize("size", SIZES)
def test_every_character_is_drawn_equally_often(size: int) -> None:
    charset = CHARSET[:size]
    text = uniform_characters(charset, SAMPLE.get(size, USUAL_SAMPLE))
    assert chi_square(text, charset) < threshold(size)


@pytest.mark.parametrize("size", [size for size in SIZES if 256 % size])
def test_that_test_would_see_a_modulo_bias(size: int) -> None:
    charset = CHARSET[:size]
    text = with_modulo_bias(charset, SAMPLE.get(size, USUAL_SAMPLE))
    assert chi_square(text, charset) > threshold(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("quantity", [0, 1, 2, 17, 1000])
def test_exactly_as_many_characters_as_asked_for(size: int, quantity: int) -> None:
    text = uniform_characters(CHARSET[:size], quantity)
    assert len(text) == quantity
    assert set(text) <= set(CHARSET[:size])


@pytest.mark.parametrize(("size", "usable"), list(zip(SIZES, [256, 255, 250, 256, 252, 248, 200, 256], strict=True)))
def test_bytes_beyond_the_largest_multiple_are_thrown_away(
    monkeypatch: pytest.MonkeyPatch, size: int, usable: int
) -> None:
    def every_byte_in_turn() -> Iterator[int]:
        while True:
            yield from range(256)

    source = every_byte_in_turn()
    monkeypatch.setattr(os, "urandom", lambda quantity: bytes(next(source) for _ in range(quantity)))
    text = uniform_characters(CHARSET[:size], 2 * usable)
    assert text == "".join(CHARSET[value % size] for value in range(usable)) * 2


def test_bad_luck_only_means_asking_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def unlucky(quantity: int) -> bytes:
        asked.append(quantity)
        return (b"\xff" if len(asked) < 4 else b"\x00") * quantity

    monkeypatch.setattr(os, "urandom", unlucky)
    assert uniform_characters("abc", 5) == "aaaaa"
    assert len(asked) == 4


@pytest.mark.parametrize(("prefix", "suffix"), [("", ""), ("PRO-", ""), ("", "-EU"), ("<%s{}>", "\\1é")])
def test_a_uuid_key_is_a_random_uuid_between_its_affixes(prefix: str, suffix: str) -> None:
    keys = UuidFormat(prefix, suffix).draw(1000)
    assert len(set(keys)) == 1000
    for key in keys:
        assert key.startswith(prefix)
        assert key.endswith(suffix)
        inner = key[len(prefix) : len(key) - len(suffix)]
        assert UUID4.fullmatch(inner)
        assert UUID(inner).version == 4


def test_the_free_digits_of_a_uuid_are_uniform() -> None:
    keys = [key.replace("-", "") for key in UuidFormat().draw(50_000)]
    assert chi_square("".join(key[16] for key in keys), "89ab") < threshold(4)
    for position in (*range(12), *range(13, 16), *range(17, 32)):
        assert chi_square("".join(key[position] for key in keys), "0123456789abcdef") < threshold(16), position


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        (ChunkFormat("0123456789ABCDEF", 4, 4), r"[0-9A-F]{4}(?:-[0-9A-F]{4}){3}"),
        (ChunkFormat("AB", 1, 1), r"[AB]"),
        (ChunkFormat("AB", 1, 40), r"[AB]{40}"),
        (ChunkFormat("AB", 3, 1), r"[AB]-[AB]-[AB]"),
        (ChunkFormat("AB", 2, 5, "ACME-", "-X"), r"ACME-[AB]{5}-[AB]{5}-X"),
        (ChunkFormat("-.", 2, 2, "{}", "%s"), r"\{\}[-.]{2}-[-.]{2}%s"),
        (ChunkFormat("é日\U0001f600", 2, 2), r"[é日\U0001f600]{2}-[é日\U0001f600]{2}"),
    ],
)
def test_a_chunk_key_has_its_chunks_between_its_affixes(form: ChunkFormat, shape: str) -> None:
    keys = form.draw(50)
    assert len(keys) == 50
    for key in keys:
        assert re.fullmatch(shape, key), key


def test_every_place_of_a_chunk_key_is_uniform() -> None:
    keys = [key.replace("-", "") for key in ChunkFormat(string.ascii_uppercase, 2, 3).draw(50_000)]
    for position in range(6):
        assert chi_square("".join(key[position] for key in keys), string.ascii_uppercase) < threshold(26), position


@pytest.mark.parametrize("quantity", [0, 1, 1000])
def test_as_many_keys_as_asked_for(quantity: int) -> None:
    assert len(UuidFormat().draw(quantity)) == quantity
    assert len(ChunkFormat("ABC", 2, 2).draw(quantity)) == quantity
    assert len(CustomFormat(lambda number: ["k"] * number).draw(quantity)) == quantity


@pytest.mark.parametrize(
    ("form", "key_space"),
    [
        (UuidFormat(), 5316911983139663491615228241121378304),
        (ChunkFormat("0123456789ABCDEF", 4, 4), 18_446_744_073_709_551_616),
        (ChunkFormat("AB", 1, 1), 2),
        (ChunkFormat("0123456789", 2, 3, "X", "Y"), 1_000_000),
    ],
)
def test_the_key_space_is_what_can_be_drawn(form: UuidFormat | ChunkFormat, key_space: int) -> None:
    assert form.key_space == key_space


def test_a_small_key_space_is_drawn_from_end_to_end() -> None:
    assert set(ChunkFormat("AB", 3, 1).draw(2000)) == {f"{a}-{b}-{c}" for a in "AB" for b in "AB" for c in "AB"}


def test_a_custom_key_is_what_the_function_made_between_its_affixes() -> None:
    form = CustomFormat(lambda quantity: [f"key {number}" for number in range(quantity)], "<", ">")
    assert form.draw(3) == ["<key 0>", "<key 1>", "<key 2>"]
    assert form.key_space is None


@pytest.mark.parametrize("made", [None, "ab", ("a", "b"), iter(["a", "b"]), {"a", "b"}, [], ["a"], ["a", "b", "c"]])
def test_a_function_that_does_not_return_a_list_of_that_many_is_refused(made: object) -> None:
    with pytest.raises(ValueError, match="the function must return a list of 2 texts"):
        CustomFormat(lambda _: made).draw(2)


@pytest.mark.parametrize("item", [None, 5, b"a", "", "a\n", "\0", "\x7f", chr(0xD800), "\u200b", ["a"]])
def test_a_function_that_returns_something_else_is_refused_without_quoting_it(item: object) -> None:
    with pytest.raises(ValueError, match=r"^the function returned something that makes no license key$"):
        CustomFormat(lambda _: ["good", item]).draw(2)


def test_what_a_function_raises_comes_through() -> None:
    def broken(quantity: int) -> list[str]:
        raise ZeroDivisionError(quantity)

    with pytest.raises(ZeroDivisionError):
        CustomFormat(broken).draw(1)
