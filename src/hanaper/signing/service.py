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


class SigningService:
    """Builds payloads, chooses the key by the code table, signs, and assembles envelopes."""

    def __init__(self, keyring: Keyring, clock: Clock, meter: Meter = OFF) -> None:
        self._keyring = keyring
        self._clock = clock
        self._meter = meter
        self._remembered: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
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
        """
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
        message = base64.b64encode(payload)
        # What only varies by code and second is asked for again and again: refusals, and above all 200.
        common = label is SignedBy.GLOBAL or not content
        signature = self._sign_once(signer, message) if common else self._measured(signer.sign, message)
        return SignedAnswer(
            body=seal(payload, message, label.value, signature),
            http_status=code.http_status,
            code=code.number,
            key_id=key_id,
            kid=signer.kid,
            timestamp=timestamp,
            signature=signature,
            payload=payload,
        )

    def finish(self, code: Code, content: LongPayload, *, product_key_id: int | None = None) -> SignedAnswer:
        """Sign a long answer, as `answer` does.

        Args:
            code: the row of the code table; `content` was begun with its number and message.
            content: to be ended by the timestamp.
            product_key_id: id of the product's key.

        Raises:
            SigningFailed: the signature does not verify; nothing may be released.
            Misconfigured: the product's key cannot be loaded.
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
        """
        assert b"\n" in statement, "an answer could be signed by this"  # noqa: S101 -- a bug, not an input
        signer = self._keyring.global_signer
        return signer.kid, self._measured(signer.sign, statement)

    async def ready(self, key_id: int | None) -> None:
        """Have a key loaded and proven, without keeping the event loop from anything else.

        Raises:
            Misconfigured: it cannot be loaded.
        """
        if key_id is not None and not self._keyring.holds(key_id):
            await asyncio.to_thread(self._keyring.signer, key_id)

    def _key(self, code: Code, product_key_id: int | None) -> tuple[int, SignedBy]:
        if code.signed_by is SignedBy.PRODUCT and product_key_id is not None:
            return product_key_id, SignedBy.PRODUCT
        return self._keyring.global_key_id, SignedBy.GLOBAL

    def _sign_once(self, signer: Signer, message: bytes) -> bytes:
        """Sign, or take the signature of the same bytes made a moment ago.

        PKCS#1 v1.5 is deterministic, and a refusal only varies by code and second: without this, anybody could make
        the server spend a signature on each bad request (reliability.md 0, finding 5). The answer that a license key is
        valid is of the same kind (decision 0012).
        """
        name = (signer.kid, message)
        remembered = self._remembered.get(name)
        if remembered is None:
            remembered = self._measured(signer.sign, message)
            if len(message) <= _LONGEST_REMEMBERED:
                with self._lock:
                    self._remembered[name] = remembered
                    while len(self._remembered) > _MOST_REMEMBERED:
                        self._remembered.popitem(last=False)
        else:
            self._meter.remembered()
        return remembered

    def _measured(self, sign: Callable[[bytes], bytes], message: bytes) -> bytes:
        began = perf_counter()
        try:
            signature = sign(message)
        except SigningFailed:
            self._meter.not_signed()
            raise
        self._meter.signed(perf_counter() - began)
        return signature
