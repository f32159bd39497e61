"""The signing service: a code and a payload in, a signed answer out."""

import asyncio
import base64
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import perf_counter

from hanaper.clock import Clock
from hanaper.metrics.meter import OFF, Meter
from hanaper.protocol import payload as payload_bytes
from hanaper.protocol.codes import Code, SignedBy
from hanaper.protocol.envelope import seal
from hanaper.protocol.long_payload import LongPayload
from hanaper.protocol.payload import JsonValue, Payload
from hanaper.signing.keyring import Keyring
from hanaper.signing.signer import Signer, SigningFailed

_MOST_REMEMBERED = 256
_LONGEST_REMEMBERED = 2048
# No answer: base64 has no line end.
_PROBE = b"hanaper asks\nwhether this key signs"


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """What goes out, and what the register records of it.

    Attributes:
        body: the HTTP body, an encoded envelope.
        http_status: of the code.
        code: the number of the code.
        key_id: id of the signing key that was used.
        kid: its public identifier.
        timestamp: Unix seconds, as in the payload.
        signature: the raw signature.
        payload: the exact bytes of `response`; empty for a long answer, which has them in its body alone.
    """

    body: bytes
    http_status: int
    code: int
    key_id: int
    kid: str
    timestamp: int
    signature: bytes
    payload: bytes


@dataclass(slots=True)
class _Begun:
    """An answer that lacks its signature.

    Attributes:
        message: what is signed.
        is_common: others ask for the very same in this second: refusals, and above all 200.
    """

    code: Code
    key_id: int
    label: SignedBy
    timestamp: int
    signer: Signer
    payload: bytes
    message: bytes
    is_common: bool

    def end(self, signature: bytes) -> SignedAnswer:
        """The answer with its signature, which has been verified."""
        return SignedAnswer(
            body=seal(self.payload, self.message, self.label.value, signature),
            http_status=self.code.http_status,
            code=self.code.number,
            key_id=self.key_id,
            kid=self.signer.kid,
            timestamp=self.timestamp,
            signature=signature,
            payload=self.payload,
        )


class SigningService:
    """Builds payloads, chooses the key by the code table, signs, and assembles envelopes."""

    def __init__(self, keyring: Keyring, clock: Clock, meter: Meter = OFF) -> None:
        self._keyring = keyring
        self._clock = clock
        self._meter = meter
        self._remembered: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._being_signed: dict[tuple[str, bytes], asyncio.Task[bytes]] = {}
        self._lock = Lock()

    def answer(self, code: Code, content: Payload, *, product_key_id: int | None = None) -> SignedAnswer:
        """Sign one answer.

        Args:
            code: the row of the code table; it says which key is wanted and the HTTP status.
            content: the payload between `message` and `timestamp`.
            product_key_id: id of the product's key. Without it a code that wants the product's key is signed, and
                labelled, "global": a client picks its public key by the label (protocol.md 1.6).

        Raises:
            SigningFailed: the signature does not verify; nothing may be released.
            Misconfigured: the product's key cannot be loaded.
            Unavailable: the key is in a device that does not answer; nothing may be released.
        """
        begun = self._begin(code, content, product_key_id)
        return begun.end(self._signature(begun))

    async def answer_meanwhile(
        self, code: Code, content: Payload, *, product_key_id: int | None = None
    ) -> SignedAnswer:
        """Sign one answer as `answer` does, on the event loop: a key in a device keeps it from nothing else.

        Raises:
            SigningFailed: the signature does not verify; nothing may be released.
            Misconfigured: the product's key cannot be loaded.
            Unavailable: the key is in a device that does not answer; nothing may be released.
        """
        begun = self._begin(code, content, product_key_id)
        if begun.signer.is_distant:
            return begun.end(await self._signature_meanwhile(begun))
        return begun.end(self._signature(begun))

    def finish(self, code: Code, content: LongPayload, *, product_key_id: int | None = None) -> SignedAnswer:
        """Sign a long answer, as `answer` does.

        Args:
            code: the row of the code table; `content` was begun with its number and message.
            content: to be ended by the timestamp.
            product_key_id: id of the product's key.

        Raises:
            SigningFailed: the signature does not verify; nothing may be released.
            Misconfigured: the product's key cannot be loaded.
            Unavailable: the key is in a device that does not answer; nothing may be released.
        """
        key_id, label = self._key(code, product_key_id)
        timestamp = int(self._clock().timestamp())
        signer = self._keyring.signer(key_id)
        signature = self._measured(signer.sign_digest, content.finish({"timestamp": timestamp}))
        return SignedAnswer(
            body=content.sealed(label.value, signature),
            http_status=code.http_status,
            code=code.number,
            key_id=key_id,
            kid=signer.kid,
            timestamp=timestamp,
            signature=signature,
            payload=b"",
        )

    def attest(self, statement: bytes) -> tuple[str, bytes]:
        """Sign what is no answer with the global key.

        Args:
            statement: bytes that base64 does not have, so that no client can take it for an answer.

        Returns:
            The key's public identifier, and the signature.

        Raises:
            SigningFailed: the signature does not verify; nothing may be released.
            Unavailable: the key is in a device that does not answer.
        """
        assert b"\n" in statement, "an answer could be signed by this"  # noqa: S101 -- a bug, not an input
        signer = self._keyring.global_signer
        return signer.kid, self._measured(signer.sign, statement)

    async def ready(self, key_id: int | None) -> None:
        """Have a key loaded and proven, without keeping the event loop from anything else.

        Raises:
            Misconfigured: it cannot be loaded.
            Unavailable: it is in a device that does not answer.
        """
        if key_id is not None and not self._keyring.holds(key_id):
            await asyncio.to_thread(self._keyring.signer, key_id)

    async def works(self) -> None:
        """Have something signed by a key that lies in a device, if any does, and throw it away.

        Raises:
            SigningFailed: the signature does not verify.
            Unavailable: the device does not answer.
        """
        signer = self._keyring.distant
        if signer is not None:
            await signer.sign_meanwhile(_PROBE)

    def _key(self, code: Code, product_key_id: int | None) -> tuple[int, SignedBy]:
        if code.signed_by is SignedBy.PRODUCT and product_key_id is not None:
            return product_key_id, SignedBy.PRODUCT
        return self._keyring.global_key_id, SignedBy.GLOBAL

    def _begin(self, code: Code, content: Payload, product_key_id: int | None) -> _Begun:
        key_id, label = self._key(code, product_key_id)
        timestamp = int(self._clock().timestamp())
        inner: dict[str, JsonValue] = {
            "code": code.on_wire,
            "message": code.message,
            **content,
            "timestamp": timestamp,
        }
        signer = self._keyring.signer(key_id)
        payload = payload_bytes.encode(inner)
        # What only varies by code and second is asked for again and again.
        is_common = label is SignedBy.GLOBAL or not content
        return _Begun(code, key_id, label, timestamp, signer, payload, base64.b64encode(payload), is_common)

    def _signature(self, begun: _Begun) -> bytes:
        """Sign, or take the signature of the same bytes made a moment ago.

        PKCS#1 v1.5 is deterministic, and a refusal only varies by code and second: without this, anybody could make
        the server spend a signature on each bad request (reliability.md 0, finding 5). The answer that a license key is
        valid is of the same kind (decision 0012).
        """
        signer, message = begun.signer, begun.message
        if not begun.is_common:
            return self._measured(signer.sign, message)
        name = (signer.kid, message)
        remembered = self._remembered.get(name)
        if remembered is None:
            remembered = self._measured(signer.sign, message)
            self._remember(name, remembered)
        else:
            self._meter.remembered()
        return remembered

    async def _signature_meanwhile(self, begun: _Begun) -> bytes:
        """The same from a device. Those who want the same bytes meanwhile wait for one signature."""
        signer, message = begun.signer, begun.message
        if not begun.is_common:
            return await self._measured_meanwhile(signer, message)
        name = (signer.kid, message)
        remembered = self._remembered.get(name)
        if remembered is not None:
            self._meter.remembered()
            return remembered
        task = self._being_signed.get(name)
        if task is None:
            task = asyncio.create_task(self._measured_meanwhile(signer, message))
            self._being_signed[name] = task
            task.add_done_callback(lambda done: self._signed_meanwhile(name, done))
        # Who asked first may go away; the others still wait.
        return await asyncio.shield(task)

    def _signed_meanwhile(self, name: tuple[str, bytes], done: asyncio.Task[bytes]) -> None:
        del self._being_signed[name]
        if not done.cancelled() and done.exception() is None:
            self._remember(name, done.result())

    def _remember(self, name: tuple[str, bytes], signature: bytes) -> None:
        if len(name[1]) <= _LONGEST_REMEMBERED:
            with self._lock:
                self._remembered[name] = signature
                while len(self._remembered) > _MOST_REMEMBERED:
                    self._remembered.popitem(last=False)

    def _measured(self, sign: Callable[[bytes], bytes], message: bytes) -> bytes:
        began = perf_counter()
        try:
            signature = sign(message)
        except SigningFailed:
            self._meter.not_signed()
            raise
        self._meter.signed(perf_counter() - began)
        return signature

    async def _measured_meanwhile(self, signer: Signer, message: bytes) -> bytes:
        began = perf_counter()
        try:
            signature = await signer.sign_meanwhile(message)
        except SigningFailed:
            self._meter.not_signed()
            raise
        self._meter.signed(perf_counter() - began)
        return signature
