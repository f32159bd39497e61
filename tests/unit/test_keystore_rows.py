"""Rows of private keys: bound to their owner, version and algorithm, and proven when they are opened."""

from datetime import UTC, datetime
from typing import cast

import pytest

from hanaper.keystore.encryption import Encryption
from hanaper.keystore.keys import Keystore
from hanaper.keystore.models import SigningKey
from hanaper.keystore.wrapping import KeyEncryptionKey
from hanaper.refusal import Misconfigured
from hanaper.signing.key_pair import KeyPair
from hanaper.storage.session import Session

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEK = KeyEncryptionKey(bytes(range(32)))


class NoDatabase:
    """What a row is added to, when only the row counts."""

    def add(self, row: object) -> None:
        pass

    def flush(self) -> None:
        pass


@pytest.fixture
def keystore() -> Keystore:
    return Keystore(Encryption(KEK, "key-file"))


def row_of(keystore: Keystore, pair: KeyPair, product_id: int | None) -> SigningKey:
    return keystore.add(cast("Session", NoDatabase()), pair, product_id=product_id, now=NOW)


@pytest.mark.parametrize("product_id", [None, 7])
def test_a_stored_key_opens_and_signs(keystore: Keystore, pair: KeyPair, product_id: int | None) -> None:
    row = row_of(keystore, pair, product_id)
    assert (row.product_id, row.version, row.kid, row.bits) == (product_id, 1, pair.kid, 2048)
    assert (row.algorithm, row.state, row.kek_id, row.created_at) == ("RSA-SHA256", "active", KEK.kek_id, NOW)
    signer = keystore.open(row)
    assert signer.kid == pair.kid
    assert len(signer.sign(b"message")) == 256


def test_the_private_key_does_not_stand_in_the_row(keystore: Keystore, pair: KeyPair) -> None:
    row = row_of(keystore, pair, None)
    der = pair.private_der()
    assert all(der[start : start + 16] not in (row.private_ciphertext or b"") for start in range(len(der) - 16))
    assert "PRIVATE" not in row.public_pem


@pytest.mark.parametrize(
    ("field", "value"),
    [("product_id", 8), ("product_id", None), ("version", 2), ("algorithm", "RSA-SHA512"), ("kid", "0" * 16)],
)
def test_a_row_that_was_changed_does_not_open(keystore: Keystore, pair: KeyPair, field: str, value: object) -> None:
    row = row_of(keystore, pair, 7)
    setattr(row, field, value)
    with pytest.raises(Misconfigured, match=r"is damaged, it does not decrypt: restore the database from a backup$"):
        keystore.open(row)


def test_a_ciphertext_that_was_moved_to_another_row_does_not_open(
    keystore: Keystore, pair: KeyPair, other_pair: KeyPair
) -> None:
    mine, theirs = row_of(keystore, pair, 7), row_of(keystore, other_pair, 8)
    mine.private_ciphertext, theirs.private_ciphertext = theirs.private_ciphertext, mine.private_ciphertext
    for row, owner in ((mine, 7), (theirs, 8)):
        with pytest.raises(Misconfigured) as caught:
            keystore.open(row)
        assert str(caught.value) == (
            f"signing key {row.kid} (the key of product {owner}) in the database is damaged, it does not decrypt: "
            "restore the database from a backup"
        )


def test_a_public_key_that_was_exchanged_is_noticed(keystore: Keystore, pair: KeyPair, other_pair: KeyPair) -> None:
    row = row_of(keystore, pair, None)
    row.public_pem = other_pair.public_pem
    with pytest.raises(Misconfigured, match=r"\(the global key\) .* its public half is not the published one:"):
        keystore.open(row)


def test_another_key_encryption_key_is_named_with_the_cure(keystore: Keystore, pair: KeyPair) -> None:
    row = row_of(keystore, pair, None)
    with pytest.raises(Misconfigured) as caught:
        Keystore(Encryption(KeyEncryptionKey(bytes(32)), "other-file")).open(row)
    assert str(caught.value) == (
        f"the key encryption key other-file is not the one signing key {pair.kid} (the global key) was encrypted with: "
        "put the right file back (each database has its own)"
    )
