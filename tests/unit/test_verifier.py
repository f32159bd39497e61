import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from hanaper.protocol.envelope import Envelope
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.signer import Signer
from hanaper.signing.verifier import Verifier

PEM = serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def private_pem(pair: KeyPair) -> bytes:
    return pair.private_key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def test_it_accepts_what_the_private_half_signed_and_nothing_else(pair: KeyPair, other_pair: KeyPair) -> None:
    signature = Signer(pair).sign(b"message")
    verifier = Verifier.from_pem(pair.public_pem.encode())
    assert verifier.accepts(b"message", signature)
    assert not verifier.accepts(b"massage", signature)
    assert not verifier.accepts(b"", signature)
    assert not verifier.accepts(b"message", b"")
    assert not verifier.accepts(b"message", Signer(other_pair).sign(b"message"))


def test_of_an_envelope_the_base64_text_is_checked(pair: KeyPair) -> None:
    verifier = Verifier.from_pem(pair.public_pem.encode())
    right = Signer(pair).sign(b"eyJjb2RlIjoxMDB9")
    wrong = Signer(pair).sign(b'{"code":100}')
    assert verifier.accepts_envelope(Envelope(b'{"code":100}', "global", right))
    assert not verifier.accepts_envelope(Envelope(b'{"code":100}', "global", wrong))


@pytest.mark.parametrize(
    "pem",
    [b"", b"garbage", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\xff\xfe", b"\0" * 1000],
    ids=["empty", "text", "hollow PEM", "not ASCII", "zeros"],
)
def test_what_is_no_public_key_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it is not a PEM public key$"):
        Verifier.from_pem(pem)


def test_a_private_key_is_refused_and_not_quoted(pair: KeyPair) -> None:
    with pytest.raises(ValueError, match=r"^it is not a PEM public key$"):
        Verifier.from_pem(private_pem(pair))


@pytest.mark.parametrize(
    "pem",
    [
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(PEM, SPKI),
        ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(PEM, SPKI),
    ],
    ids=["ECDSA", "Ed25519"],
)
def test_a_key_of_another_kind_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it is not an RSA key$"):
        Verifier.from_pem(pem)


def test_a_short_key_is_refused(short_pair: KeyPair) -> None:
    with pytest.raises(ValueError, match=r"^it has 1024 bits, fewer than 2048$"):
        Verifier.from_pem(short_pair.public_pem.encode())
