"""The signing service: a code and a payload in, a signed answer out."""

import asyncio
import base64

from hanaper.clock import Clock
from hanaper.metrics.meter import OFF, Meter
from hanaper.protocol import payload as payload_bytes
from hanaper.protocol.codes import Code, SignedBy
from hanaper.protocol.long_payload import LongPayload
from hanaper.protocol.payload import JsonValue, Payload
from hanaper.signing.answer import BegunAnswer, SignedAnswer
from hanaper.signing.keyring import Keyring
from hanaper.signing.signatures import Signatures

# No answer: base64 has no line end.
_PROBE = b"hanaper asks\nwhether this key signs"


class SigningService:
    """Builds payloads, chooses the key by the code table, signs, and assembles envelopes."""

    def __init__(self, keyring: Keyring, clock: Clock, meter: Meter = OFF) -> None:
        self._keyring = keyring
        self._clock = clock
        self._signatures = Signatures(meter)

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
        if not begun.signer.is_distant:
            return begun.end(self._signature(begun))
        signatures = self._signatures
        sign = signatures.sign_common_meanwhile if begun.is_common else signatures.sign_meanwhile
        return begun.end(await sign(begun.signer, begun.message))

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
        signature = self._signatures.sign_digest(signer, content.finish({"timestamp": timestamp}))
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
        return signer.kid, self._signatures.sign(signer, statement)

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

    def _begin(self, code: Code, content: Payload, product_key_id: int | None) -> BegunAnswer:
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
        return BegunAnswer(code, key_id, label, timestamp, signer, payload, base64.b64encode(payload), is_common)

    def _signature(self, begun: BegunAnswer) -> bytes:
        sign = self._signatures.sign_common if begun.is_common else self._signatures.sign
        return sign(begun.signer, begun.message)
