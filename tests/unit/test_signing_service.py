import asyncio
import base64
import json
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hanaper.protocol import codes, envelope
from hanaper.protocol.codes import Code, SignedBy
from hanaper.protocol.payload import Payload
from hanaper.signing.answer import SignedAnswer
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.keyring import Keyring
from hanaper.signing.service import SigningService
from hanaper.signing.signer import Signer, SigningFailed
from hanaper.signing.verifier import Verifier

GLOBAL_ID, PRODUCT_ID = 1, 2


class CountingSigner(Signer):
    """Counts the signatures it really makes."""

    def __init__(self, pair: KeyPair) -> None:
        super().__init__(pair)
        self.made = 0
        self.broken = False

    def _raw(self, message: bytes) -> bytes:
        self.made += 1
        return bytes(256) if self.broken else super()._raw(message)


class World:
    """A signing service with a clock that stands still."""

    def __init__(self, global_pair: KeyPair, product_pair: KeyPair) -> None:
        self.now = datetime(2024, 2, 27, 3, 10, 15, 999_999, tzinfo=UTC)
        self.global_signer = CountingSigner(global_pair)
        self.product_signer = CountingSigner(product_pair)
        self.verifiers = {
            signer.kid: Verifier.from_pem(signer.public_pem.encode())
            for signer in (self.global_signer, self.product_signer)
        }
        self.keyring = Keyring(GLOBAL_ID, {GLOBAL_ID: self.global_signer}, self.fetch)
        self.signing = SigningService(self.keyring, lambda: self.now)

    def fetch(self, key_id: int) -> Signer:
        assert key_id == PRODUCT_ID
        return self.product_signer

    def checked(self, answer: SignedAnswer) -> dict[str, Any]:
        """The outer object of an answer, when its signature is that of the key it names."""
        received = envelope.decode(answer.body)
        assert received.signature == answer.signature
        assert self.verifiers[answer.kid].accepts_envelope(received)
        outer: dict[str, Any] = json.loads(answer.body)
        assert json.loads(base64.b64decode(outer["response_base64"])) == outer["response"]
        return outer


@pytest.fixture
def world(pair: KeyPair, other_pair: KeyPair) -> World:
    return World(pair, other_pair)


@pytest.mark.parametrize("code", codes.BY_NUMBER.values(), ids=lambda code: str(code.number))
def test_the_code_table_says_which_key_signs(world: World, code: Code) -> None:
    answer = world.signing.answer(code, {}, product_key_id=PRODUCT_ID)
    outer = world.checked(answer)
    assert outer["private_key_used"] == code.signed_by.value
    product = code.signed_by is SignedBy.PRODUCT
    assert answer.key_id == (PRODUCT_ID if product else GLOBAL_ID)
    assert answer.kid == (world.product_signer if product else world.global_signer).kid
    assert (world.product_signer.made, world.global_signer.made) == ((1, 0) if product else (0, 1))
    assert (answer.code, answer.http_status) == (code.number, code.http_status)
    assert outer["response"] == {"code": code.on_wire, "message": code.message, "timestamp": 1709003415}


def test_without_a_product_key_the_global_key_signs_and_the_label_says_so(world: World) -> None:
    answer = world.signing.answer(codes.GENERATED_LICENSE_KEYS, {"licenseKeys": ["k"]})
    assert world.checked(answer)["private_key_used"] == "global"
    assert (answer.key_id, answer.kid) == (GLOBAL_ID, world.global_signer.kid)


def test_the_content_stands_between_message_and_timestamp_in_its_order(world: World) -> None:
    answer = world.signing.answer(codes.ACTIVE_LICENSE_FOUND, {"product": 1, "licenseKey": {"b": 1, "a": {}}})
    assert envelope.decode(answer.body).payload_bytes == (
        b'{"code":500,"message":"Active license key found","product":1,"licenseKey":{"b":1,"a":[]},'
        b'"timestamp":1709003415}'
    )


def test_the_timestamp_is_the_clock_in_whole_seconds(world: World) -> None:
    answer = world.signing.answer(codes.ALL_GENERATORS, {})
    assert answer.timestamp == 1709003415
    assert type(answer.timestamp) is int
    world.now += timedelta(microseconds=1)
    assert world.signing.answer(codes.ALL_GENERATORS, {}).timestamp == 1709003416


def test_a_refusal_of_the_same_second_is_signed_once(world: World) -> None:
    answers = [world.signing.answer(codes.INVALID_API_KEY, {}) for _ in range(5)]
    assert world.global_signer.made == 1
    assert len({answer.body for answer in answers}) == 1
    world.checked(answers[-1])


def test_other_bytes_are_signed_anew(world: World) -> None:
    world.signing.answer(codes.INVALID_API_KEY, {})
    world.signing.answer(codes.INACTIVE_API_KEY, {})
    world.signing.answer(codes.INVALID_API_KEY, {"errors": []})
    world.now += timedelta(seconds=1)
    world.checked(world.signing.answer(codes.INVALID_API_KEY, {}))
    assert world.global_signer.made == 4


def test_a_remembered_signature_belongs_to_its_key(world: World, other_pair: KeyPair) -> None:
    world.signing.answer(codes.INVALID_API_KEY, {})
    fresh = CountingSigner(other_pair)
    turned = Keyring(PRODUCT_ID, {GLOBAL_ID: world.global_signer, PRODUCT_ID: fresh}, world.fetch)
    world.signing._keyring = turned  # noqa: SLF001 -- the one way to have another global key in the same process
    answer = world.signing.answer(codes.INVALID_API_KEY, {})
    assert answer.kid == fresh.kid
    assert fresh.made == 1
    world.checked(answer)


def test_an_answer_of_a_product_that_says_nothing_but_its_code_is_signed_once_a_second(world: World) -> None:
    answers = [world.signing.answer(codes.VALID_LICENSE_KEY, {}, product_key_id=PRODUCT_ID) for _ in range(5)]
    assert world.product_signer.made == 1
    assert len({answer.body for answer in answers}) == 1
    world.now += timedelta(seconds=1)
    later = world.signing.answer(codes.VALID_LICENSE_KEY, {}, product_key_id=PRODUCT_ID)
    assert world.product_signer.made == 2
    assert world.checked(later)["response"]["timestamp"] == answers[0].timestamp + 1
    # The same words by another key are another answer.
    world.checked(world.signing.answer(codes.VALID_LICENSE_KEY, {}))
    assert (world.product_signer.made, world.global_signer.made) == (2, 1)


def test_other_answers_of_a_product_are_never_remembered(world: World) -> None:
    for _ in range(3):
        world.signing.answer(codes.GENERATED_LICENSE_KEYS, {"licenseKeys": ["k"]}, product_key_id=PRODUCT_ID)
    assert world.product_signer.made == 3


def test_a_big_answer_is_not_remembered(world: World) -> None:
    for _ in range(2):
        world.checked(world.signing.answer(codes.ALL_GENERATORS, {"products": ["x" * 1000] * 2}))
    assert world.global_signer.made == 2


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(world: World) -> None:
    def refuse(number: int) -> int:
        before = world.global_signer.made
        world.signing.answer(codes.INCORRECT_DATA_LICENSE_CREATE, {"errors": [number]})
        return world.global_signer.made - before

    assert [refuse(number) for number in range(256)] == [1] * 256
    assert refuse(0) == 0
    assert refuse(256) == 1
    assert refuse(1) == 0
    assert refuse(0) == 1
    assert len(world.signing._signatures._remembered) == 256  # noqa: SLF001 -- memory is what this is about


def test_a_signature_that_does_not_verify_is_neither_released_nor_remembered(world: World) -> None:
    world.global_signer.broken = True
    with pytest.raises(SigningFailed):
        world.signing.answer(codes.INVALID_API_KEY, {})
    world.global_signer.broken = False
    world.checked(world.signing.answer(codes.INVALID_API_KEY, {}))


def test_threads_do_not_get_in_each_others_way(world: World) -> None:
    def refuse(number: int) -> None:
        answer = world.signing.answer(codes.INCORRECT_DATA_LICENSE_CREATE, {"errors": [number % 10]})
        assert world.checked(answer)["response"]["errors"] == [number % 10]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(refuse, range(200)))
    assert 10 <= world.global_signer.made <= 80


def test_what_cannot_be_encoded_is_not_signed(world: World) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        world.signing.answer(codes.INVALID_API_KEY, {"errors": chr(0xD800)})
    assert world.global_signer.made == 0


def test_a_key_is_made_ready_once(world: World) -> None:
    assert not world.keyring.holds(PRODUCT_ID)
    for key_id in (PRODUCT_ID, PRODUCT_ID, None):
        asyncio.run(world.signing.ready(key_id))
    assert world.keyring.holds(PRODUCT_ID)


# --- a key in a device ---


class Device:
    """A key whose signatures are made when the test says so."""

    def __init__(self, pair: KeyPair) -> None:
        self.pair = pair
        self.kid, self.public_pem = pair.kid, pair.public_pem
        self.asked: list[tuple[bytes, Future[bytes]]] = []

    def ask(self, digest: bytes) -> Future[bytes]:
        self.asked.append((digest, Future()))
        return self.asked[-1][1]

    def sign_digest(self, digest: bytes) -> bytes:
        return self.pair.sign_digest(digest)

    def sign(self, *, badly: bool = False) -> None:
        for digest, future in self.asked:
            if not future.done():
                future.set_result(bytes(256) if badly else self.pair.sign_digest(digest))


class Distant:
    """A signing service whose global key is in a device; that of the product is here."""

    def __init__(self, world: World, pair: KeyPair) -> None:
        self.world = world
        self.device = Device(pair)
        keyring = Keyring(GLOBAL_ID, {PRODUCT_ID: world.product_signer, GLOBAL_ID: Signer(self.device)}, world.fetch)
        self.signing = SigningService(keyring, lambda: world.now)

    def ask(self, code: Code = codes.UNKNOWN_ENDPOINT, content: Payload | None = None) -> asyncio.Task[SignedAnswer]:
        return asyncio.create_task(self.signing.answer_meanwhile(code, content or {}))

    async def asks(self, number: int) -> None:
        """Wait until the device has been asked so often, and would have been asked more often."""
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(self.device.asked) == number


@pytest.fixture
def distant(world: World, pair: KeyPair) -> Distant:
    return Distant(world, pair)


def test_those_who_want_the_same_meanwhile_wait_for_one_signature(distant: Distant) -> None:
    async def run() -> None:
        many = [distant.ask() for _ in range(5)]
        other = distant.ask(codes.METHOD_NOT_ALLOWED)
        await distant.asks(2)
        # Who asked first has gone away.
        many[0].cancel()
        await distant.asks(2)
        distant.device.sign()
        answers = await asyncio.gather(*many[1:])
        assert len({answer.body for answer in answers}) == 1
        assert (await other).code == 1701
        for answer in answers:
            distant.world.checked(answer)
        # Remembered, also by threads.
        assert (await distant.ask()).body == answers[0].body
        assert distant.signing.answer(codes.UNKNOWN_ENDPOINT, {}).body == answers[0].body
        await distant.asks(2)

    asyncio.run(run())


def test_what_has_content_of_its_own_is_signed_each_time(distant: Distant) -> None:
    async def run() -> None:
        with_product = distant.signing.answer_meanwhile(
            codes.GENERATED_LICENSE_KEYS, {"licenseKeys": ["a"]}, product_key_id=PRODUCT_ID
        )
        distant.world.checked(await with_product)  # Its key is here.
        await distant.asks(0)

    asyncio.run(run())
    assert distant.world.product_signer.made == 1


def test_a_product_key_in_a_device_signs_each_answer_of_its_own(world: World, pair: KeyPair) -> None:
    device = Device(pair)
    keyring = Keyring(GLOBAL_ID, {GLOBAL_ID: world.global_signer, PRODUCT_ID: Signer(device)}, world.fetch)
    signing = SigningService(keyring, lambda: world.now)

    async def run() -> None:
        content: Payload = {"licenseKeys": ["a"]}
        both = [
            asyncio.create_task(
                signing.answer_meanwhile(codes.GENERATED_LICENSE_KEYS, content, product_key_id=PRODUCT_ID)
            )
            for _ in range(2)
        ]
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(device.asked) == 2
        device.sign()
        first, second = await asyncio.gather(*both)
        assert first.signature == second.signature
        assert Verifier.from_pem(pair.public_pem.encode()).accepts_envelope(envelope.decode(first.body))

    asyncio.run(run())


def test_a_bad_signature_of_a_device_is_given_to_nobody_and_not_remembered(distant: Distant) -> None:
    async def run() -> None:
        many = [distant.ask() for _ in range(3)]
        await distant.asks(1)
        distant.device.sign(badly=True)
        for each in many:
            with pytest.raises(SigningFailed):
                await each
        again = distant.ask()
        await distant.asks(2)
        distant.device.sign()
        distant.world.checked(await again)

    asyncio.run(run())


def test_whether_a_device_works_is_seen_by_a_signature_of_nothing(distant: Distant, world: World) -> None:
    async def run() -> None:
        await world.signing.works()
        assert (world.global_signer.made, world.product_signer.made) == (0, 0)
        works = asyncio.create_task(distant.signing.works())
        await distant.asks(1)
        assert not works.done()
        distant.device.sign()
        await works
        works = asyncio.create_task(distant.signing.works())
        await distant.asks(2)
        distant.device.sign(badly=True)
        with pytest.raises(SigningFailed):
            await works

    asyncio.run(run())
