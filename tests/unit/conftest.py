"""RSA keys, made once: each takes a tenth of a second or more."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from hanaper.signing.key_pair import KeyPair


@pytest.fixture(scope="session")
def pair() -> KeyPair:
    return KeyPair.generate(2048)


@pytest.fixture(scope="session")
def other_pair() -> KeyPair:
    return KeyPair.generate(2048)


@pytest.fixture(scope="session")
def short_pair() -> KeyPair:
    """1024 bits: too short for anything here."""
    return KeyPair.of(rsa.generate_private_key(65537, 1024))  # noqa: S505 -- it has to be refused


@pytest.fixture(scope="session")
def exponent_3_pair() -> KeyPair:
    return KeyPair.of(rsa.generate_private_key(3, 2048))
