"""What an API key looks like."""

import hashlib
import hmac
import re
import string
import zlib
from typing import Literal
from uuid import uuid4

import pytest

from hanaper.access import key_format
from hanaper.refusal import Invalid

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
SAMPLE = "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"
OWN = "hnp_live_" + "0" * 43 + "2kfvVB"


def checksum(body: str) -> str:
    """CRC-32 in six base62 digits, most significant first: written down a second time."""
    value = zlib.crc32(body.encode())
    return "".join(BASE62[value // 62**place % 62] for place in reversed(range(6)))


@pytest.mark.parametrize("kind", ["live", "test"])
def test_a_new_key_has_its_shape(kind: Literal["live", "test"]) -> None:
    key = key_format.new(kind)
    assert re.fullmatch(rf"hnp_{kind}_[0-9A-Za-z]{{49}}", key)
    assert len(key) == 58
    assert key[-6:] == checksum(key[:-6])
    assert key_format.normal(key) == key


def test_new_keys_are_different_and_use_every_character() -> None:
    keys = [key_format.new("live") for _ in range(500)]
    assert len(set(keys)) == 500
    assert set("".join(key[9:52] for key in keys)) == set(BASE62)


def test_a_key_of_a_frozen_shape_is_still_a_key() -> None:
    """Keys are printed on paper: this one must be valid for ever."""
    assert key_format.normal(OWN) is not None


def test_no_single_wrong_character_gives_a_key() -> None:
    key = key_format.new("live")
    for position in range(4, len(key)):
        for character in BASE62 + "_-":
            if character != key[position]:
                wrong = key[:position] + character + key[position + 1 :]
                assert key_format.normal(wrong) is None, wrong


def test_no_two_neighbors_that_changed_places_give_a_key() -> None:
    key = key_format.new("live")
    for position in range(4, len(key) - 1):
        wrong = key[:position] + key[position + 1] + key[position] + key[position + 2 :]
        assert wrong == key or key_format.normal(wrong) is None, wrong


def test_with_a_wrong_prefix_it_is_some_other_key() -> None:
    """What does not begin with hnp_ may be an imported key; the database has to say that there is none."""
    key = key_format.new("live")
    assert key_format.normal("hnq" + key[3:]) == "hnq" + key[3:] != key


@pytest.mark.parametrize(
    "presented",
    [
        "hnp_",
        "hnp_live_",
        "hnp_live_" + "0" * 49,
        "hnp_demo_" + "0" * 43 + checksum("hnp_demo_" + "0" * 43),
        "hnp_live_" + "0" * 42 + checksum("hnp_live_" + "0" * 42),
        "hnp_live_" + "0" * 44 + checksum("hnp_live_" + "0" * 44),
        "hnp_live_" + "-" * 43 + checksum("hnp_live_" + "-" * 43),
        "x" * 256,
        "key with a line feed\n",
        "key\twith a tab",
        "key\0",
        "key\x7f",
        "ключ",
        "clé",
        "\N{FULLWIDTH DIGIT ONE}" * 32,
        chr(0xD800),
    ],
    ids=ascii,
)
def test_what_cannot_be_a_key_has_no_normal_form(presented: str) -> None:
    assert key_format.normal(presented) is None


@pytest.mark.parametrize("presented", ["km_live_abc", "x" * 255, "a key with blanks", "HNP_live_x", "~!@#$%^&*()"])
def test_any_other_text_is_its_own_normal_form(presented: str) -> None:
    assert key_format.normal(presented) == presented


@pytest.mark.parametrize("presented", [SAMPLE, SAMPLE.upper(), SAMPLE.title()])
def test_the_case_of_a_uuid_does_not_count(presented: str) -> None:
    assert key_format.normal(presented) == SAMPLE


def test_the_case_of_other_keys_counts() -> None:
    assert key_format.normal("KM_LIVE_ABC") != key_format.normal("km_live_abc")


def test_a_random_uuid_is_imported_in_lower_case() -> None:
    uuid = str(uuid4())
    assert key_format.imported(uuid.upper()) == uuid


def test_a_long_random_text_is_imported_as_it_is() -> None:
    secret = "km_live_" + "k7Qw2Zx9Rt4Yp1Lm6Nb3"[::-1] + "Aa0"
    assert len(secret) < 32
    with pytest.raises(Invalid):
        key_format.imported(secret)
    assert key_format.imported(secret + "Fv8!") == secret + "Fv8!"


NOT_TO_IMPORT = "this is not a key to import"
SAMPLE_TEXT = "this is the sample key of the reference system's public documentation"
OTHER_UUID = "of UUIDs only random ones"
GUESSABLE = "this key can be guessed"


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (SAMPLE, SAMPLE_TEXT),
        (SAMPLE.upper(), SAMPLE_TEXT),
        ("c232ab00-9414-11ec-b3c8-9f6bdeced846", OTHER_UUID),
        ("00000000-0000-0000-0000-000000000000", OTHER_UUID),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", OTHER_UUID),
        ("2964c3c9-0b5d-4d89-73ac-4668f30bc492", OTHER_UUID),
        (OWN, NOT_TO_IMPORT),
        (OWN[:-1], NOT_TO_IMPORT),
        ("clé" * 20, NOT_TO_IMPORT),
        ("x" * 256, NOT_TO_IMPORT),
        ("abc\n" * 10, NOT_TO_IMPORT),
        ("", GUESSABLE + ": 0 characters, at most 0 bits"),
        ("secret", GUESSABLE + ": 6 characters, at most 14 bits"),
        ("abcdefghijklmnopqrstuvwxyz01234", GUESSABLE + ": 31 characters, at most 154 bits"),
        ("x" * 255, GUESSABLE + ": 255 characters, at most 0 bits"),
        ("01" * 40, GUESSABLE + ": 80 characters, at most 80 bits"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_key_that_is_known_or_can_be_guessed_is_not_imported(secret: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        key_format.imported(secret)
    assert str(caught.value).startswith(reason)
    assert not secret or secret not in str(caught.value)


def test_exactly_enough_bits_are_enough() -> None:
    assert key_format.imported("01" * 50) == "01" * 50
    with pytest.raises(Invalid, match="99 characters, at most 99 bits"):
        key_format.imported("01" * 49 + "0")


def test_a_digest_is_hmac_sha_256_under_the_pepper() -> None:
    pepper, key = bytes(range(32)), key_format.new("live")
    digest = key_format.digest(pepper, key)
    assert digest == hmac.new(pepper, key.encode(), hashlib.sha256).digest()
    assert len(digest) == 32
    assert digest != key_format.digest(bytes(32), key)


def test_a_digest_is_frozen() -> None:
    """Digests are stored: another one would lock every caller out."""
    assert (
        key_format.digest(b"p" * 32, "abc").hex() == "c1bfc511ee5992c4462369624f67e8a20040ad9fac32caa57e7626f62a871caf"
    )


@pytest.mark.parametrize("kind", ["live", "test"])
def test_a_hint_shows_four_characters_of_a_key_and_its_public_prefix(kind: Literal["live", "test"]) -> None:
    key = key_format.new(kind)
    assert key_format.hint(key) == f"hnp_{kind}_…{key[-4:]}"


@pytest.mark.parametrize("key", [SAMPLE, "x7" * 16, "km_live_" + "Ab3$" * 20])
def test_a_hint_of_another_key_shows_its_last_four_characters_only(key: str) -> None:
    assert key_format.hint(key) == "…" + key[-4:]
