import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hanaper.refusal import Misconfigured
from hanaper.signing.key_pair import PUBLIC_EXPONENT, KeyPair, published_numbers


def test_a_new_pair_has_the_length_asked_for_and_the_usual_exponent(pair: KeyPair) -> None:
    assert pair.bits == 2048
    assert PUBLIC_EXPONENT == 65537
    assert pair.private_key.public_key().public_numbers().e == 65537


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_every_length_that_is_offered_is_generated(monkeypatch: pytest.MonkeyPatch, pair: KeyPair, bits: int) -> None:
    """The library makes keys of any length; here only what it is asked for is looked at, 4096 bits take seconds."""
    asked: list[tuple[int, int]] = []

    def generate(exponent: int, bits: int) -> rsa.RSAPrivateKey:
        asked.append((exponent, bits))
        return pair.private_key

    monkeypatch.setattr(rsa, "generate_private_key", generate)
    KeyPair.generate(bits)
    assert asked == [(65537, bits)]


def test_a_longer_pair_really_is_longer() -> None:
    pair = KeyPair.generate(3072)
    assert pair.bits == 3072
    assert repr(pair) == f"KeyPair(kid='{pair.kid}', bits=3072)"


@pytest.mark.parametrize("bits", [0, 512, 1024, 2047])
def test_fewer_bits_are_refused(bits: int) -> None:
    with pytest.raises(Misconfigured, match=f"an RSA key of {bits} bits is too short: use 2048, 3072 or 4096"):
        KeyPair.generate(bits)


def test_two_pairs_are_different(pair: KeyPair, other_pair: KeyPair) -> None:
    assert pair.kid != other_pair.kid
    assert pair.public_pem != other_pair.public_pem


def test_the_public_half_is_pem_with_a_final_newline(pair: KeyPair) -> None:
    lines = pair.public_pem.split("\n")
    assert lines[0] == "-----BEGIN PUBLIC KEY-----"
    assert lines[-2:] == ["-----END PUBLIC KEY-----", ""]
    assert serialization.load_pem_public_key(pair.public_pem.encode()) == pair.private_key.public_key()


def test_the_kid_is_the_start_of_the_digest_of_the_public_half(pair: KeyPair) -> None:
    public = serialization.load_pem_public_key(pair.public_pem.encode())
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert pair.kid == hashlib.sha256(der).hexdigest()[:16]


def test_the_private_half_is_pkcs8_and_reads_back(pair: KeyPair) -> None:
    read = serialization.load_der_private_key(pair.private_der(), password=None)
    assert isinstance(read, rsa.RSAPrivateKey)
    assert KeyPair.of(read).public_pem == pair.public_pem


@pytest.mark.parametrize("show", [repr, str, "{}".format])
def test_nothing_secret_is_shown(pair: KeyPair, show: type[str]) -> None:
    assert show(pair) == f"KeyPair(kid='{pair.kid}', bits=2048)"


def test_the_numbers_of_a_key_are_published_as_the_key_is(pair: KeyPair) -> None:
    numbers = pair.private_key.public_key().public_numbers()
    assert published_numbers(numbers.n, numbers.e) == (pair.public_pem, pair.kid)
    with pytest.raises(ValueError, match="e must be"):
        published_numbers(numbers.n, 2)
