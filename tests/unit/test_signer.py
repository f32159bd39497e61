import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from hanaper.signing.key_pair import KeyPair
from hanaper.signing.signer import Signer, SigningFailed
from hanaper.signing.verifier import Verifier

MESSAGE = b"eyJjb2RlIjo4MTV9"


class FlipsABit(Signer):
    """A processor error."""

    bit = 0

    def _raw(self, message: bytes) -> bytes:
        signature = bytearray(super()._raw(message))
        signature[self.bit // 8] ^= 1 << self.bit % 8
        return bytes(signature)


class TakesAnotherKey(Signer):
    """A mixed-up key."""

    def __init__(self, pair: KeyPair, other: KeyPair) -> None:
        super().__init__(pair)
        self._other = other

    def _raw(self, message: bytes) -> bytes:
        return Signer(self._other).sign(message)


class CutsShort(Signer):
    """255 bytes instead of 256."""

    def _raw(self, message: bytes) -> bytes:
        return super()._raw(message)[:255]


class SignsSomethingElse(Signer):
    """A mixed-up buffer."""

    def _raw(self, message: bytes) -> bytes:
        return super()._raw(message + b"\n")


class TakesAnotherDigest(Signer):
    """SHA-512 where SHA-256 is agreed."""

    def _raw(self, message: bytes) -> bytes:
        return self._pair.private_key.sign(message, padding.PKCS1v15(), hashes.SHA512())


class TakesAnotherPadding(Signer):
    """PSS where PKCS#1 v1.5 is agreed."""

    def _raw(self, message: bytes) -> bytes:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return self._pair.private_key.sign(message, pss, hashes.SHA256())


def test_a_signature_is_pkcs1_v1_5_with_sha_256(pair: KeyPair) -> None:
    signature = Signer(pair).sign(MESSAGE)
    assert len(signature) == 256
    pair.private_key.public_key().verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())


def test_the_same_message_has_always_the_same_signature(pair: KeyPair) -> None:
    signer = Signer(pair)
    assert signer.sign(MESSAGE) == signer.sign(MESSAGE)
    assert signer.sign(MESSAGE) != signer.sign(MESSAGE + b"\n")


@pytest.mark.parametrize("message", [b"", b"\0", b"x" * 1_000_000], ids=["empty", "NUL", "a megabyte"])
def test_any_message_can_be_signed(pair: KeyPair, message: bytes) -> None:
    assert Verifier.from_pem(pair.public_pem.encode()).accepts(message, Signer(pair).sign(message))


@pytest.mark.parametrize("bit", [0, 7, 1024, 2047])
def test_a_signature_with_a_flipped_bit_is_not_released(pair: KeyPair, bit: int) -> None:
    signer = FlipsABit(pair)
    signer.bit = bit
    with pytest.raises(SigningFailed, match=f"key {pair.kid} made a signature that does not verify"):
        signer.sign(MESSAGE)


def test_a_signature_of_another_key_is_not_released(pair: KeyPair, other_pair: KeyPair) -> None:
    with pytest.raises(SigningFailed):
        TakesAnotherKey(pair, other_pair).sign(MESSAGE)


@pytest.mark.parametrize("faulty", [CutsShort, SignsSomethingElse, TakesAnotherDigest, TakesAnotherPadding])
def test_a_signature_of_another_form_is_not_released(pair: KeyPair, faulty: type[Signer]) -> None:
    with pytest.raises(SigningFailed):
        faulty(pair).sign(MESSAGE)


def test_the_refusal_quotes_neither_message_nor_signature(pair: KeyPair) -> None:
    with pytest.raises(SigningFailed) as caught:
        CutsShort(pair).sign(MESSAGE)
    assert str(caught.value) == f"key {pair.kid} made a signature that does not verify"


def test_a_signer_names_its_key(pair: KeyPair) -> None:
    assert Signer(pair).kid == pair.kid
    assert Signer(pair).public_pem == pair.public_pem


def test_nothing_secret_is_shown(pair: KeyPair) -> None:
    numbers = pair.private_key.private_numbers()
    shown = f"{Signer(pair)!r} {Signer(pair)} {vars(Signer(pair))}"
    for secret in (numbers.d, numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp):
        assert str(secret) not in shown
        assert f"{secret:x}" not in shown
    assert "PRIVATE" not in shown
    assert "BEGIN" not in shown
