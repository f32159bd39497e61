import pytest

from hanaper.keystore.wrapping import KEY_BYTES, KeyEncryptionKey

SECRET = b"the private key of somebody"
ROW = "0123456789abcdef|7|1|RSA-SHA256"


@pytest.fixture
def kek() -> KeyEncryptionKey:
    return KeyEncryptionKey(bytes(range(32)))


def test_what_was_wrapped_comes_back(kek: KeyEncryptionKey) -> None:
    wrapped = kek.wrap(SECRET, row=ROW)
    assert kek.unwrap(wrapped, row=ROW) == SECRET
    assert len(wrapped) == 12 + len(SECRET) + 16
    assert SECRET not in wrapped


@pytest.mark.parametrize("secret", [b"", b"\0", bytes(100_000)], ids=["empty", "one byte", "long"])
def test_any_length_can_be_wrapped(kek: KeyEncryptionKey, secret: bytes) -> None:
    assert kek.unwrap(kek.wrap(secret, row=ROW), row=ROW) == secret


def test_a_nonce_is_never_used_twice(kek: KeyEncryptionKey) -> None:
    wrapped = [kek.wrap(SECRET, row=ROW) for _ in range(1000)]
    assert len({item[:12] for item in wrapped}) == 1000


@pytest.mark.parametrize(
    "row",
    ["", "0123456789abcdef|8|1|RSA-SHA256", "0123456789abcdef|7|2|RSA-SHA256", "0123456789abcdeF|7|1|RSA-SHA256"],
)
def test_in_another_row_it_does_not_decrypt(kek: KeyEncryptionKey, row: str) -> None:
    with pytest.raises(ValueError, match=r"^it does not decrypt$"):
        kek.unwrap(kek.wrap(SECRET, row=ROW), row=row)


def test_with_another_key_it_does_not_decrypt(kek: KeyEncryptionKey) -> None:
    with pytest.raises(ValueError, match=r"^it does not decrypt$"):
        KeyEncryptionKey(bytes(32)).unwrap(kek.wrap(SECRET, row=ROW), row=ROW)


def test_no_flipped_bit_decrypts(kek: KeyEncryptionKey) -> None:
    wrapped = kek.wrap(SECRET, row=ROW)
    for position in range(8 * len(wrapped)):
        damaged = bytearray(wrapped)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(ValueError, match=r"^it does not decrypt$"):
            kek.unwrap(bytes(damaged), row=ROW)


def test_no_part_of_it_decrypts(kek: KeyEncryptionKey) -> None:
    wrapped = kek.wrap(SECRET, row=ROW)
    for length in range(len(wrapped)):
        with pytest.raises(ValueError, match=r"^it does not decrypt$"):
            kek.unwrap(wrapped[:length], row=ROW)


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33, 64])
def test_a_key_has_32_bytes(length: int) -> None:
    assert KEY_BYTES == 32
    with pytest.raises(ValueError, match=r"^a key encryption key has 32 bytes$"):
        KeyEncryptionKey(bytes(length))


def test_the_id_of_a_key_never_changes(kek: KeyEncryptionKey) -> None:
    """It is stored beside every ciphertext."""
    assert kek.kek_id == "57d85a4bea740b01"
    assert kek.kek_id != KeyEncryptionKey(bytes(32)).kek_id


def test_nothing_secret_is_shown(kek: KeyEncryptionKey) -> None:
    assert repr(kek) == str(kek) == f"KeyEncryptionKey(kek_id={kek.kek_id!r})"
    assert bytes(range(32)).hex()[:8] not in f"{vars(kek)}"
