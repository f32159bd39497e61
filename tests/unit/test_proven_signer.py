"""A private key is proven before anything is signed with it. Every fault has its own text."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hanaper.signing.key_pair import KeyPair
from hanaper.signing.prove import proven_signer
from hanaper.signing.signer import Signer
from hanaper.signing.verifier import Verifier

DER = serialization.Encoding.DER
PKCS8 = serialization.PrivateFormat.PKCS8


def test_a_good_key_signs(pair: KeyPair) -> None:
    signer = proven_signer(pair.private_der(), pair.public_pem)
    assert signer.kid == pair.kid
    assert Verifier.from_pem(pair.public_pem.encode()).accepts(b"message", signer.sign(b"message"))


@pytest.mark.parametrize("der", [b"", b"garbage", b"\x30\x03\x02\x01\x00", bytes(1200)])
def test_garbage_is_refused(pair: KeyPair, der: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it is not a readable private key$"):
        proven_signer(der, pair.public_pem)


def test_an_encrypted_key_is_refused(pair: KeyPair) -> None:
    der = pair.private_key.private_bytes(DER, PKCS8, serialization.BestAvailableEncryption(b"password"))
    with pytest.raises(ValueError, match=r"^it is not a readable private key$"):
        proven_signer(der, pair.public_pem)


def test_a_key_that_is_cut_off_is_refused(pair: KeyPair) -> None:
    with pytest.raises(ValueError, match=r"^it is not a readable private key$"):
        proven_signer(pair.private_der()[:-1], pair.public_pem)


def test_no_single_flipped_bit_gives_a_signer(pair: KeyPair) -> None:
    """A damaged key never gets as far as a signature that is handed on."""
    der = pair.private_der()
    for position in range(0, len(der), 41):
        damaged = bytearray(der)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(ValueError, match=r"^(it is not|its public|its numbers|it has)"):
            proven_signer(bytes(damaged), pair.public_pem)


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content).to_bytes(1 if len(content) < 256 else 2)
    return bytes([tag]) + (b"" if len(content) < 128 else bytes([0x80 | len(size)])) + size + content


def _encoded(numbers: rsa.RSAPrivateNumbers, **others: int) -> bytes:
    """A key as PKCS#8 (RFC 5208, RFC 8017 A.1.2), whatever its numbers: no library writes wrong ones."""
    public = numbers.public_numbers
    parts = {"version": 0, "n": public.n, "e": public.e}
    parts |= {name: getattr(numbers, name) for name in ("d", "p", "q", "dmp1", "dmq1", "iqmp")}
    integers = [_der(2, value.to_bytes(value.bit_length() // 8 + 1)) for value in (parts | others).values()]
    algorithm = _der(0x30, bytes.fromhex("06092a864886f70d010101"), b"\x05\x00")
    return _der(0x30, _der(2, b"\x00"), algorithm, _der(4, _der(0x30, *integers)))


def test_this_encoding_is_the_right_one(pair: KeyPair) -> None:
    assert _encoded(pair.private_key.private_numbers()) == pair.private_der()


@pytest.mark.parametrize("name", ["p", "q", "d", "dmp1", "dmq1", "iqmp"])
@pytest.mark.parametrize("change", [1, 2, -2])
def test_a_number_that_does_not_belong_to_the_others_is_refused(pair: KeyPair, name: str, change: int) -> None:
    """Signing would not notice all of them: it does without d, and gives the key away with a wrong factor."""
    numbers = pair.private_key.private_numbers()
    with pytest.raises(ValueError, match=r"^(its numbers do not belong together|it is not a readable private key)$"):
        proven_signer(_encoded(numbers, **{name: getattr(numbers, name) + change}), pair.public_pem)


def test_factors_that_are_none_are_refused(pair: KeyPair) -> None:
    numbers = pair.private_key.private_numbers()
    n, d = numbers.public_numbers.n, numbers.d
    for p, q in ((n, 1), (1, n), (0, 0), (n * n, 1)):
        der = _encoded(numbers, p=p, q=q, dmp1=d % (p - 1 or 1), dmq1=d % (q - 1 or 1), iqmp=1)
        with pytest.raises(
            ValueError, match=r"^(its numbers do not belong together|it is not a readable private key)$"
        ):
            proven_signer(der, pair.public_pem)


def test_a_key_of_another_kind_is_refused(pair: KeyPair) -> None:
    der = ec.generate_private_key(ec.SECP256R1()).private_bytes(DER, PKCS8, serialization.NoEncryption())
    with pytest.raises(ValueError, match=r"^it is not an RSA key$"):
        proven_signer(der, pair.public_pem)


def test_a_short_key_is_refused(short_pair: KeyPair) -> None:
    with pytest.raises(ValueError, match=r"^it has 1024 bits, fewer than 2048$"):
        proven_signer(short_pair.private_der(), short_pair.public_pem)


def test_a_small_exponent_is_refused(exponent_3_pair: KeyPair) -> None:
    with pytest.raises(ValueError, match=r"^its public exponent is not 65537$"):
        proven_signer(exponent_3_pair.private_der(), exponent_3_pair.public_pem)


def test_the_public_half_of_another_key_is_refused(pair: KeyPair, other_pair: KeyPair) -> None:
    with pytest.raises(ValueError, match=r"^its public half is not the published one$"):
        proven_signer(pair.private_der(), other_pair.public_pem)


def test_a_signer_whose_signatures_do_not_verify_is_refused(pair: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Signer, "_raw", lambda _signer, _message: bytes(256))
    with pytest.raises(ValueError, match=r"^a signature it made does not verify$"):
        proven_signer(pair.private_der(), pair.public_pem)
