"""A private key is proven before anything is signed with it. Every fault has its own text."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

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
    """The numbers of a key are checked against each other: a damaged one never gets as far as a signature."""
    der = pair.private_der()
    for position in range(0, len(der), 41):
        damaged = bytearray(der)
        damaged[position] ^= 1 << position % 8
        with pytest.raises(ValueError, match=r"^(it is not|its public|it has|a signature)"):
            proven_signer(bytes(damaged), pair.public_pem)


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
