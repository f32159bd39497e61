"""Signatures, fresh or made a moment ago, by keys in process and in a device; each one is counted."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from time import perf_counter

from hanaper.metrics.meter import Meter
from hanaper.signing.signer import Signer, SigningFailed

_MOST_REMEMBERED = 256
_LONGEST_REMEMBERED = 2048


class Signatures:
    """Signs, and remembers what is asked for again and again.

    PKCS#1 v1.5 is deterministic, and a refusal only varies by code and second: without a memory, anybody could make the
    server spend a signature on each bad request (reliability.md 0, finding 5). The answer that a license key is valid
    is of the same kind (decision 0012).

    All methods raise:
        SigningFailed: the signature does not verify; nothing may be released.
        Unavailable: the key is in a device that does not answer; nothing may be released.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._remembered: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._being_signed: dict[tuple[str, bytes], asyncio.Task[bytes]] = {}
        self._lock = Lock()

    def sign(self, signer: Signer, message: bytes) -> bytes:
        """Sign what nobody else asks for."""
        return self._counted(signer.sign, message)

    def sign_digest(self, signer: Signer, digest: bytes) -> bytes:
        """Sign what is known by its SHA-256, 32 bytes."""
        return self._counted(signer.sign_digest, digest)

    def sign_common(self, signer: Signer, message: bytes) -> bytes:
        """Sign, or take the signature of the same bytes made a moment ago."""
        name = (signer.kid, message)
        remembered = self._remembered.get(name)
        if remembered is None:
            remembered = self.sign(signer, message)
            self._remember(name, remembered)
        else:
            self._meter.remembered()
        return remembered

    async def sign_meanwhile(self, signer: Signer, message: bytes) -> bytes:
        """The same as `sign` by a key in a device, which keeps the event loop from nothing else."""
        began = perf_counter()
        try:
            signature = await signer.sign_meanwhile(message)
        except SigningFailed:
            self._meter.not_signed()
            raise
        self._meter.signed(perf_counter() - began)
        return signature

    async def sign_common_meanwhile(self, signer: Signer, message: bytes) -> bytes:
        """The same as `sign_common`. Those who want the same bytes meanwhile wait for one signature."""
        name = (signer.kid, message)
        remembered = self._remembered.get(name)
        if remembered is not None:
            self._meter.remembered()
            return remembered
        task = self._being_signed.get(name)
        if task is None:
            task = asyncio.create_task(self.sign_meanwhile(signer, message))
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

    def _counted(self, sign: Callable[[bytes], bytes], message: bytes) -> bytes:
        began = perf_counter()
        try:
            signature = sign(message)
        except SigningFailed:
            self._meter.not_signed()
            raise
        self._meter.signed(perf_counter() - began)
        return signature
