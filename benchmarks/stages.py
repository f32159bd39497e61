"""Where the microseconds of one request go: its stages, one after the other, on one core and with nobody else about."""

import time
from base64 import b64encode
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from benchmarks.stock import KINDS, Stock
from hanaper.clock import utc_now
from hanaper.issuing.batch_store import NewBatch, record
from hanaper.issuing.draw import Draw
from hanaper.licenses.key_formats import UuidFormat
from hanaper.protocol import codes, payload
from hanaper.refusal import Fault
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.keyring import Keyring
from hanaper.signing.service import SigningService
from hanaper.signing.signer import Signer
from hanaper.signing.verifier import Verifier
from hanaper.storage.bulk import run_bulk
from hanaper.storage.configuration import current_version
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.transactions import Storage
from hanaper.web.body import parse_urlencoded

QUANTITY = 10
_ROUND_S = 0.1
_ROUNDS = 5
_STORED = 960
GROUPS = (1, 16, 32)


def measure(stock: Stock, bits: int = 2048) -> dict[str, object]:
    """Time every stage.

    Returns:
        The quantity, and microseconds by stage: the best of five rounds.
    """
    found = {name: _microseconds(stage) for name, stage in _stages(bits).items()}
    for kind in KINDS:
        for group in GROUPS:
            with stock.copy(kind) as place:
                found[f"store and commit, {kind}, {group} requests at once, each"] = _store(place.storage, group)
    return {"quantity": QUANTITY, "bits": bits, "microseconds": found}


def _store(storage: Storage, group: int) -> float:
    """Microseconds of one request's share in a group commit, by the clock."""
    version = storage.read(current_version)
    groups = [[_batch(version) for _ in range(group)] for _ in range(_STORED // group)]
    _run(storage, groups[0])
    best = float("inf")
    for start in range(1, len(groups), max(1, len(groups) // _ROUNDS)):
        some = groups[start : start + max(1, len(groups) // _ROUNDS)]
        began = time.perf_counter()
        for batches in some:
            _run(storage, batches)
        best = min(best, (time.perf_counter() - began) / (len(some) * group) * 1e6)
    return best


def _run(storage: Storage, batches: list[NewBatch]) -> None:
    for outcome, error in run_bulk(storage.engine, record, batches):
        if outcome is None:
            raise Fault(f"a batch was not stored ({type(error).__name__})") from error


def _batch(version: int) -> NewBatch:
    license_keys: list[payload.JsonValue] = list(Draw(UuidFormat(), QUANTITY).keys)
    return NewBatch(
        version=version,
        scope=EVERYTHING,
        request_id="0" * 32,
        api_key_id=1,
        product_id=1,
        generator_id=1,
        quantity=QUANTITY,
        signing_key_id=1,
        signed_at=1_700_000_000,
        signature=bytes(256),
        payload=payload.encode({"licenseKeys": license_keys}),
        activation_limit=0,
        validity=0,
        created_at=utc_now(),
    )


def _stages(bits: int) -> dict[str, Callable[[], object]]:
    pair = KeyPair.generate(bits)
    signer = Signer(pair)
    service = SigningService(Keyring(1, {1: signer}, lambda _: signer), utc_now)
    license_keys = Draw(UuidFormat("", ""), QUANTITY).keys
    content: dict[str, payload.JsonValue] = {
        "code": 815,
        "message": "Generated license keys",
        "licenseKeys": license_keys,
        "timestamp": 1_700_000_000,
    }
    message = b64encode(payload.encode(content))
    scheme, digest = padding.PKCS1v15(), SHA256()
    signature = pair.private_key.sign(message, scheme, digest)
    verifier = Verifier(pair.private_key.public_key())
    body = b"api_key=2964c3c9-0b5d-4d89-b3ac-4668f30bc492&generator_id=1&quantity=%d" % QUANTITY
    return {
        "read the form": lambda: parse_urlencoded(body),
        "draw the license keys": lambda: Draw(UuidFormat("", ""), QUANTITY).keys,
        "payload bytes": lambda: payload.encode(content),
        "sign": lambda: pair.private_key.sign(message, scheme, digest),
        "verify the signature": lambda: verifier.accepts(message, signature),
        "payload, signature, check and envelope together": lambda: service.answer(
            codes.GENERATED_LICENSE_KEYS, {"licenseKeys": license_keys}, product_key_id=1
        ),
    }


def _microseconds(stage: Callable[[], object]) -> float:
    best = float("inf")
    stage()
    for _ in range(_ROUNDS):
        calls = 0
        began = now = time.perf_counter()
        while now < began + _ROUND_S:
            stage()
            calls += 1
            now = time.perf_counter()
        best = min(best, (now - began) / calls * 1e6)
    return best
