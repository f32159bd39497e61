"""Reading a private key back, and proving it before anything is signed with it."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hanaper.settings import MINIMUM_KEY_BITS
from hanaper.signing.key_pair import PUBLIC_EXPONENT, KeyPair
from hanaper.signing.signer import PrivateKey, Signer, SigningFailed

_PROOF = b"hanaper proves that this private key and its public half belong together"


def proven_signer(private_der: bytes, published_pem: str) -> Signer:
    """Read a private key and prove it.

    Its public half is compared with the published one, its numbers are checked against that, and a signature is made
    and verified. Whether the factors are prime is not asked again, which would take OpenSSL 40 to 300 ms: their product
    is the published modulus, which was made of two primes, so there are no others.

    Args:
        private_der: unencrypted PKCS#8 DER.
        published_pem: the public half as it was published.

    Raises:
        ValueError: what is wrong with the key. The text holds nothing secret.
    """
    try:
        private_key = serialization.load_der_private_key(
            private_der, password=None, unsafe_skip_rsa_key_validation=True
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("it is not a readable private key") from error
    if not isinstance(private_key, rsa.RSAPrivateKey):
        raise ValueError("it is not an RSA key")
    if private_key.key_size < MINIMUM_KEY_BITS:
        raise ValueError(f"it has {private_key.key_size} bits, fewer than {MINIMUM_KEY_BITS}")
    if private_key.public_key().public_numbers().e != PUBLIC_EXPONENT:
        raise ValueError(f"its public exponent is not {PUBLIC_EXPONENT}")
    pair = KeyPair.of(private_key)
    if pair.public_pem != published_pem:
        raise ValueError("its public half is not the published one")
    if not _consistent(private_key.private_numbers()):
        raise ValueError("its numbers do not belong together")
    return proven(pair)


def proven(key: PrivateKey) -> Signer:
    """Prove a private key by a signature that its published half accepts.

    Raises:
        ValueError: it does not, or the key is too short.
    """
    signer = Signer(key)
    try:
        signer.sign(_PROOF)
    except SigningFailed as error:
        raise ValueError("a signature it made does not verify") from error
    return signer


def _consistent(key: rsa.RSAPrivateNumbers) -> bool:
    """Whether the private numbers are those of the modulus (RFC 8017 3.2)."""
    n, e = key.public_numbers.n, key.public_numbers.e
    return (
        1 < key.p < n
        and key.p * key.q == n
        and all(
            e * exponent % (prime - 1) == 1 and key.d % (prime - 1) == exponent
            for prime, exponent in ((key.p, key.dmp1), (key.q, key.dmq1))
        )
        and key.iqmp * key.q % key.p == 1
    )
