"""Signing keys in a PKCS#11 token (SoftHSM2): made, found, proven, lost and found again."""

import asyncio
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from pkcs11.constants import Attribute, ObjectClass
from pkcs11.exceptions import DeviceError
from tests.support.tokens import PIN, SoftToken

from hanaper.keystore.encryption import Encryption
from hanaper.keystore.keys import Keystore
from hanaper.keystore.wrapping import KeyEncryptionKey
from hanaper.metrics.meter import Meter
from hanaper.refusal import Misconfigured, OutcomeUnknown, TokenAway, Unavailable
from hanaper.settings import Settings
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.prove import proven
from hanaper.signing.signer import Signer, SigningFailed
from hanaper.signing.verifier import Verifier
from hanaper.storage.failures import translated
from hanaper.token import key as token_key
from hanaper.token import token as of_token
from hanaper.token.configured import configured
from hanaper.token.key import TokenKey
from hanaper.token.module import Module
from hanaper.token.session import HeldSession
from hanaper.token.token import Token

MESSAGE = b"eyJjb2RlIjo4MTV9"
DIGEST = hashlib.sha256(MESSAGE).digest()


@pytest.fixture
def token(soft_token: SoftToken) -> Token:
    """As a process has it that has just started, with nothing held against it."""
    return fresh(soft_token)


def fresh(soft_token: SoftToken, *, pin_file: Path | None = None, label: str | None = None) -> Token:
    module = of_token._modules.setdefault(soft_token.module, Module(soft_token.module))  # noqa: SLF001 -- one library
    return Token(module, label or soft_token.label, pin_file or soft_token.pin_file)


@pytest.fixture(scope="module")
def made(soft_token: SoftToken) -> TokenKey:
    return fresh(soft_token).generate(2048)


def objects(token: Token, kid: str) -> list[dict[Attribute, Any]]:
    """What the token has under a `kid`."""
    asked = [Attribute.CLASS, Attribute.LABEL]
    private = [Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.SIGN, Attribute.DECRYPT, Attribute.UNWRAP]

    def look(held: HeldSession) -> list[dict[Attribute, Any]]:
        found = []
        for each in list(held.session.get_objects({Attribute.ID: bytes.fromhex(kid)})):
            of_private = private if each[Attribute.CLASS] == ObjectClass.PRIVATE_KEY else []
            found.append({name: each[name] for name in [*asked, *of_private]})
        return found

    return token._ask(look)  # noqa: SLF001 -- to see what lies there


def keystore(token: Token) -> Keystore:
    return Keystore(Encryption(KeyEncryptionKey(bytes(32)), "none"), token)


# --- keys ---


def test_a_new_key_never_leaves_the_token(token: Token, made: TokenKey) -> None:
    private, public = sorted(objects(token, made.kid), key=lambda each: -int(each[Attribute.CLASS]))
    assert private == {
        Attribute.CLASS: ObjectClass.PRIVATE_KEY,
        Attribute.LABEL: f"hanaper {made.kid}",
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.SIGN: True,
        Attribute.DECRYPT: False,
        Attribute.UNWRAP: False,
    }
    assert public == {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.LABEL: f"hanaper {made.kid}"}
    assert made.kid in token.kids()
    assert "pin" not in repr(made)


def test_its_signatures_are_those_of_any_other_key(made: TokenKey) -> None:
    signer = Signer(made)
    signature = signer.sign(MESSAGE)
    assert Verifier.from_pem(made.public_pem.encode()).accepts(MESSAGE, signature)
    assert signer.sign_digest(DIGEST) == asyncio.run(signer.sign_meanwhile(MESSAGE)) == signature
    assert signer.is_distant


@pytest.mark.parametrize("bits", [3072, 4096])
def test_keys_may_be_longer(token: Token, bits: int) -> None:
    key = token.generate(bits)
    assert len(proven(key).sign(MESSAGE)) == bits // 8
    assert token.destroy(key.kid)


def test_a_key_that_the_token_gives_away_is_not_used(
    token: Token, monkeypatch: pytest.MonkeyPatch, soft_token: SoftToken
) -> None:
    del soft_token
    before = token.kids()
    monkeypatch.setattr("hanaper.token.session.NEVER_OUT", {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True})
    with pytest.raises(Misconfigured, match="makes keys that can be read out of it"):
        token.generate(2048)
    assert token.kids() == before


def test_a_deleted_key_is_gone(token: Token) -> None:
    key = token.generate(2048)
    assert Signer(key).sign(MESSAGE)
    assert token.destroy(key.kid)
    assert objects(token, key.kid) == []
    assert not token.destroy(key.kid)
    with pytest.raises(ValueError, match=r"^it is not there$"):
        token.find(key.kid, key.public_pem, key.bits)
    with pytest.raises(Unavailable, match=f"signing key {key.kid} cannot be had from token 'hanaper-test': it is not"):
        made_anew(token, key).sign_digest(DIGEST)


def test_of_keys_under_one_id_the_published_one_is_taken(token: Token, made: TokenKey) -> None:
    """Somebody else's program has given its key the same id."""
    other = token.generate(2048)
    rename(token, other.kid, made.kid)
    try:
        for key in (made, other):
            found = fresh_of(token).find(made.kid, key.public_pem, 2048)
            assert Verifier.from_pem(key.public_pem.encode()).accepts(MESSAGE, Signer(found).sign(MESSAGE))
    finally:
        rename(token, made.kid, other.kid, label=f"hanaper {other.kid}")
        token.destroy(other.kid)


def fresh_of(token: Token) -> Token:
    """The same token for a process that has not found any key yet."""
    return Token(token._module, token.label, token._pin_file)  # noqa: SLF001 -- as it was made


def rename(token: Token, old: str, new: str, *, label: str = "") -> None:
    """Give the objects under one id (and this label, or the one of that id) another id."""
    wanted = {Attribute.ID: bytes.fromhex(old), Attribute.LABEL: label or f"hanaper {old}"}

    def work(held: HeldSession) -> None:
        session = held.session.token.open(rw=True)
        for each in list(session.get_objects(wanted)):
            each[Attribute.ID] = bytes.fromhex(new)
        session.close()

    token._ask(work)  # noqa: SLF001 -- behind its back


def test_a_key_whose_public_half_is_another_is_refused(token: Token, made: TokenKey) -> None:
    pair = KeyPair.generate(2048)
    with pytest.raises(ValueError, match=r"^its public half is not the published one$"):
        token.find(made.kid, pair.public_pem, 2048)
    mixed_up = TokenKey(token, made.kid, pair.public_pem, 2048)
    with pytest.raises(Unavailable, match="its public half is not the published one"):
        Signer(mixed_up).sign(MESSAGE)


def flipped(held: HeldSession, kid: str, public_pem: str, digest: bytes) -> bytes:
    good = _sign(held, kid, public_pem, digest)
    return bytes([good[0] ^ 1]) + good[1:]


def of_something_else(held: HeldSession, kid: str, public_pem: str, digest: bytes) -> bytes:
    return _sign(held, kid, public_pem, hashlib.sha256(digest).digest())


_sign = HeldSession.sign_digest


@pytest.mark.parametrize("fault", [flipped, of_something_else])
def test_no_bad_signature_of_a_token_is_released(
    made: TokenKey, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., bytes]
) -> None:
    monkeypatch.setattr(HeldSession, "sign_digest", fault)
    signer = Signer(made)
    with pytest.raises(SigningFailed):
        signer.sign(MESSAGE)
    with pytest.raises(SigningFailed):
        signer.sign_digest(DIGEST)
    with pytest.raises(SigningFailed):
        asyncio.run(signer.sign_meanwhile(MESSAGE))
    with pytest.raises(ValueError, match="a signature it made does not verify"):
        proven(made)


# --- threads and processes ---


def test_only_one_thread_is_ever_in_the_library(token: Token, made: TokenKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has been told so, and SoftHSM2 crashes when it is not so."""
    threads_within = set[int]()

    def watched(held: HeldSession, kid: str, public_pem: str, digest: bytes) -> bytes:
        threads_within.add(threading.get_ident())
        return _sign(held, kid, public_pem, digest)

    monkeypatch.setattr(HeldSession, "sign_digest", watched)
    signers = [Signer(made), Signer(made_anew(token, made))]
    messages = [b"%d" % number for number in range(200)]
    with ThreadPoolExecutor(16) as threads:
        signatures = list(threads.map(lambda message: signers[message[-1] % 2].sign(message), messages))
    verifier = Verifier.from_pem(made.public_pem.encode())
    assert all(map(verifier.accepts, messages, signatures))
    assert len(threads_within) == 1


def test_a_forked_process_opens_the_token_itself(made: TokenKey) -> None:
    Signer(made).sign(MESSAGE)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            Signer(made).sign(MESSAGE)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    Signer(made).sign(MESSAGE)


# --- a token that is away ---


def test_a_token_that_was_away_is_found_again(
    soft_token: SoftToken, token: Token, made: TokenKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_token, "BACK_OFF_S", 0)
    signer = Signer(made_anew(token, made))
    signature = signer.sign(MESSAGE)
    with soft_token.taken_away():
        for _ in range(3):
            with pytest.raises(Unavailable, match=r"token 'hanaper-test' cannot be used \("):
                signer.sign(MESSAGE)
    assert signer.sign(MESSAGE) == signature


def test_a_token_that_is_away_is_not_asked_for_a_while(
    soft_token: SoftToken, token: Token, made: TokenKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_token, "BACK_OFF_S", 1e9)
    signer = Signer(made_anew(token, made))
    with soft_token.taken_away(), pytest.raises(Unavailable):
        signer.sign(MESSAGE)
    # It is back, and nobody looks.
    with pytest.raises(Unavailable, match=r"token 'hanaper-test' cannot be used \("):
        signer.sign(MESSAGE)
    assert token._away is not None  # noqa: SLF001 -- the end of the wait
    token._away = (0, "")  # noqa: SLF001 -- it has come
    assert signer.sign(MESSAGE)


def test_one_failure_is_tried_again_with_a_new_session(
    token: Token, made: TokenKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [DeviceError, DeviceError]

    def now_and_then(held: HeldSession, kid: str, public_pem: str, digest: bytes) -> bytes:
        if failures:
            raise failures.pop()
        return _sign(held, kid, public_pem, digest)

    monkeypatch.setattr(HeldSession, "sign_digest", now_and_then)
    monkeypatch.setattr(of_token, "BACK_OFF_S", 0)
    signer = Signer(made_anew(token, made))
    with pytest.raises(Unavailable, match=r"token 'hanaper-test' cannot be used \(DeviceError\)"):
        signer.sign(MESSAGE)
    failures.append(DeviceError)
    assert signer.sign(MESSAGE)


def test_a_token_that_hangs_keeps_nobody(token: Token, made: TokenKey, monkeypatch: pytest.MonkeyPatch) -> None:
    released, hanging = threading.Event(), threading.Semaphore(0)
    signer = Signer(made)
    signer.sign(MESSAGE)

    def hangs(held: HeldSession, kid: str, public_pem: str, digest: bytes) -> bytes:
        hanging.release()
        released.wait(20)
        return _sign(held, kid, public_pem, digest)

    for module in (token_key, of_token):
        monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(HeldSession, "sign_digest", hangs)
    try:
        with pytest.raises(Unavailable, match="has not signed within"):
            signer.sign(MESSAGE)
        assert hanging.acquire(timeout=10)
        while not token._module.thread.hangs:  # noqa: SLF001 -- a moment after it was waited for
            time.sleep(0.01)
        # Whoever comes now is not even put in the queue.
        with pytest.raises(Unavailable, match=r"^token 'hanaper-test' does not answer$"):
            made_anew(token, made).ask(DIGEST)
    finally:
        released.set()
    assert not hanging.acquire(blocking=False)


def made_anew(token: Token, key: TokenKey) -> TokenKey:
    return TokenKey(token, key.kid, key.public_pem, key.bits)


def test_a_token_that_is_away_is_not_held_against_the_database() -> None:
    class Counting(Meter):
        unavailable = Mock()

    with pytest.raises(TokenAway), translated(None, Counting()):
        raise TokenAway("the token is away")
    Counting.unavailable.assert_not_called()
    with pytest.raises(Unavailable), translated(None, Counting()):
        raise Unavailable("the database is away")
    Counting.unavailable.assert_called_once_with("database")


# --- the PIN ---


def put(file: Path, content: bytes, mode: int = 0o600) -> Path:
    file.write_bytes(content)
    file.chmod(mode)
    return file


def test_a_refused_pin_is_never_tried_twice(
    soft_token: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few wrong ones lock a token for good."""
    monkeypatch.setattr(of_token, "BACK_OFF_S", 0)
    other = soft_token.add(f"other-{os.getpid()}")
    pin_file = put(tmp_path / "pin", b"0000-wrong\n")
    token = fresh(other, pin_file=pin_file)
    begin_anew(token)
    with pytest.raises(Misconfigured) as refused:
        token.require()
    assert str(refused.value) == (
        f"token {other.label!r} refuses the PIN of {pin_file} (PinIncorrect): put the right one there"
    )
    for _ in range(3):
        with pytest.raises(Misconfigured, match="it is not tried again before the file changes"):
            token.require()
    put(pin_file, f"{PIN}\n".encode())
    token.require()
    assert PIN not in str(refused.value)


def begin_anew(token: Token) -> None:
    """A new token is seen, and nobody is logged in."""
    module = token._module  # noqa: SLF001 -- as after a loss
    module.thread.submit(module.begin_anew, 5).result(5)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"1234", 0o644, "has mode 0644, others may read it: run `chmod 600"),
        (b"", 0o600, "is not one line of text"),
        (b"12\n34\n", 0o600, "is not one line of text"),
        (b"\xff\xfe", 0o600, "is not one line of text"),
        (None, 0o600, "is missing: put it back, or name another by HANAPER_PKCS11_PIN_FILE"),
    ],
)
def test_a_pin_file_that_cannot_be_used(
    soft_token: SoftToken, tmp_path: Path, content: bytes | None, mode: int, words: str
) -> None:
    pin_file = tmp_path / "pin"
    if content is not None:
        put(pin_file, content, mode)
    token = fresh(soft_token, pin_file=pin_file)
    with pytest.raises(Misconfigured) as refused:
        token.require()
    assert words in str(refused.value)
    assert str(pin_file) in str(refused.value)
    assert "1234" not in str(refused.value)
    assert "\n" not in str(refused.value)


# --- settings ---


def test_a_token_that_is_not_there(soft_token: SoftToken) -> None:
    with pytest.raises(Unavailable, match=r"^token 'none' cannot be used \(there is no token with this label\)"):
        fresh(soft_token, label="none").require()


@pytest.mark.parametrize(
    ("file", "words"),
    [("/nowhere/p11.so", "no such file is there"), (__file__, "cannot be used as a PKCS#11 library")],
)
def test_a_library_that_is_none(soft_token: SoftToken, file: str, words: str) -> None:
    token = Token(Module(Path(file)), "label", soft_token.pin_file)
    with pytest.raises(Misconfigured) as refused:
        token.require()
    assert f"HANAPER_PKCS11_MODULE names {file}" in str(refused.value)
    assert words in str(refused.value)


def test_without_the_library_for_tokens_it_is_told_what_to_install(
    soft_token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.split(".")[0] == "pkcs11":
            monkeypatch.setitem(sys.modules, name, None)
    for name in ("token", "module", "session"):
        monkeypatch.delitem(sys.modules, f"hanaper.token.{name}", raising=False)
    with pytest.raises(Misconfigured, match=r"pip install 'hanaper\[pkcs11\]'"):
        configured(Settings(**soft_token.settings))


def test_without_a_token_nothing_of_it_is_loaded() -> None:
    assert configured(Settings()) is None


def test_whoever_asks_for_the_same_token_gets_the_same(soft_token: SoftToken) -> None:
    settings = Settings(**soft_token.settings)
    assert configured(settings) is configured(settings)


# --- new keys ---


def test_a_key_that_nothing_came_of_is_deleted_again(token: Token) -> None:
    kids: list[str] = []

    def fail(error: type[Exception]) -> None:
        with keystore(token).new_key(2048) as key:
            kids.append(key.kid)
            raise error

    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError)
    assert objects(token, kids[0]) == []
    # Perhaps it is the one that signs by now.
    with pytest.raises(OutcomeUnknown):
        fail(OutcomeUnknown)
    assert len(objects(token, kids[1])) == 2
    token.destroy(kids[1])


def test_a_key_may_be_made_in_the_database_in_spite_of_a_token(token: Token) -> None:
    before = token.kids()
    with keystore(token).new_key(2048, in_database=True) as key:
        assert isinstance(key, KeyPair)
    assert token.kids() == before
