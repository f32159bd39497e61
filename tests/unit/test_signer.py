import asyncio
import hashlib
from concurrent.futures import Future

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from hanaper.refusal import Unavailable
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.signer import Signer, SigningFailed
from hanaper.signing.verifier import Verifier

MESSAGE = b"eyJjb2RlIjo4MTV9"


class Faulty:
    """A private key whose signatures are wrong; only what `Signer` needs of one."""

    bit = 0

    def __init__(self, pair: KeyPair, other: KeyPair | None = None) -> None:
        self.pair = pair
        self.other = other or pair
        self.kid, self.public_pem = pair.kid, pair.public_pem

    def sign_digest(self, digest: bytes) -> bytes:
        return self.spoiled(digest)

    def spoiled(self, digest: bytes) -> bytes:
        raise NotImplementedError


class FlipsABit(Faulty):
    """A processor error."""

    def spoiled(self, digest: bytes) -> bytes:
        signature = bytearray(self.pair.sign_digest(digest))
        signature[self.bit // 8] ^= 1 << self.bit % 8
        return bytes(signature)


class FlipsNothing(Faulty):
    """A good key."""

    def spoiled(self, digest: bytes) -> bytes:
        return self.pair.sign_digest(digest)


class TakesAnotherKey(Faulty):
    """A mixed-up key."""

    def spoiled(self, digest: bytes) -> bytes:
        return self.other.sign_digest(digest)


class CutsShort(Faulty):
    """255 bytes instead of 256."""

    def spoiled(self, digest: bytes) -> bytes:
        return self.pair.sign_digest(digest)[:255]


class SignsSomethingElse(Faulty):
    """A mixed-up buffer."""

    def spoiled(self, digest: bytes) -> bytes:
        return self.pair.sign_digest(hashlib.sha256(digest).digest())


class TakesAnotherDigest(Faulty):
    """SHA-512 where SHA-256 is agreed."""

    def spoiled(self, digest: bytes) -> bytes:
        return self.pair.private_key.sign(digest, padding.PKCS1v15(), hashes.SHA512())


class TakesAnotherPadding(Faulty):
    """PSS where PKCS#1 v1.5 is agreed."""

    def spoiled(self, digest: bytes) -> bytes:
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return self.pair.private_key.sign(digest, pss, Prehashed(hashes.SHA256()))


class Far(Faulty):
    """The same in a device, as far as the signer can tell."""

    def __init__(self, faulty: Faulty) -> None:
        super().__init__(faulty.pair)
        self.faulty = faulty

    def spoiled(self, digest: bytes) -> bytes:
        return self.faulty.sign_digest(digest)

    def ask(self, digest: bytes) -> Future[bytes]:
        made: Future[bytes] = Future()
        made.set_result(self.sign_digest(digest))
        return made


class Dead(Faulty):
    """A device that never answers."""

    begun: Future[bytes]

    def ask(self, _: bytes) -> Future[bytes]:
        self.begun = Future()
        return self.begun


def refuse_everywhere(faulty: Faulty) -> None:
    """Each way to a signature verifies, for keys of either kind."""
    for key in (faulty, Far(faulty)):
        signer = Signer(key)
        assert signer.is_distant is (key is not faulty)
        with pytest.raises(SigningFailed, match=f"^key {faulty.kid} made a signature that does not verify$"):
            signer.sign(MESSAGE)
        with pytest.raises(SigningFailed):
            signer.sign_digest(hashlib.sha256(MESSAGE).digest())
        with pytest.raises(SigningFailed):
            asyncio.run(signer.sign_meanwhile(MESSAGE))


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
    faulty = FlipsABit(pair)
    faulty.bit = bit
    refuse_everywhere(faulty)


def test_a_signature_of_another_key_is_not_released(pair: KeyPair, other_pair: KeyPair) -> None:
    refuse_everywhere(TakesAnotherKey(pair, other_pair))


@pytest.mark.parametrize("faulty", [CutsShort, SignsSomethingElse, TakesAnotherDigest, TakesAnotherPadding])
def test_a_signature_of_another_form_is_not_released(pair: KeyPair, faulty: type[Faulty]) -> None:
    refuse_everywhere(faulty(pair))


def test_every_way_to_a_signature_leads_to_the_same(pair: KeyPair) -> None:
    signer, far = Signer(pair), Signer(Far(FlipsNothing(pair)))
    right = signer.sign(MESSAGE)
    for each in (signer, far):
        assert each.sign(MESSAGE) == each.sign_digest(hashlib.sha256(MESSAGE).digest()) == right
        assert asyncio.run(each.sign_meanwhile(MESSAGE)) == right


def test_a_device_that_never_answers_is_not_waited_for(pair: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hanaper.signing.signer.LONGEST_WAIT_S", 0.01)
    dead = Dead(pair)
    with pytest.raises(Unavailable, match=f"^signing key {pair.kid} has not signed within 0.01 s$"):
        asyncio.run(Signer(dead).sign_meanwhile(MESSAGE))
    assert dead.begun.cancelled(), "it would be signed when nobody wants it any more"


def test_the_refusal_quotes_neither_message_nor_signature(pair: KeyPair) -> None:
    with pytest.raises(SigningFailed) as caught:
        Signer(CutsShort(pair)).sign(MESSAGE)
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
