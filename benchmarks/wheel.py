"""The other ceiling: what the OpenSSL inside the `cryptography` wheel signs, which is the one hanaper signs with."""

import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

_MESSAGE = b"x" * 500
_START_S = 1.0


def openssl_of_wheel() -> str:
    """Its release."""
    return backend.openssl_version_text()


def wheel_ceiling(bits: int, *, processes: int, seconds: float) -> float:
    """Signatures a second, from as many processes, each signing in a loop. Not verified, not stored, not sent."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        # Starting takes a moment: all begin at the same time after that.
        begin = time.time() + _START_S
        return sum(pool.map(_sign, [_key(bits)] * processes, [begin] * processes, [seconds] * processes))


@cache
def _key(bits: int) -> bytes:
    return rsa.generate_private_key(65537, bits).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _sign(private_der: bytes, begin: float, seconds: float) -> float:
    key = serialization.load_der_private_key(private_der, None)
    assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101 -- narrows the type
    scheme, digest = padding.PKCS1v15(), SHA256()
    key.sign(_MESSAGE, scheme, digest)
    time.sleep(max(0.0, begin - time.time()))
    signatures = 0
    began = now = time.perf_counter()
    while now < began + seconds:
        key.sign(_MESSAGE, scheme, digest)
        signatures += 1
        now = time.perf_counter()
    return signatures / (now - began)
