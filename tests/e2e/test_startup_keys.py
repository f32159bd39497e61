"""Keys that are missing, damaged, exchanged or too weak: the server does not start, and says which and what to do."""

import base64
import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from sqlalchemy import Row, text
from tests.e2e.conftest import Made
from tests.support.processes import Hanaper, Outcome

from hanaper.keystore import kek_file
from hanaper.signing.key_pair import KeyPair
from hanaper.storage.transactions import Storage


def forms(secret: bytes) -> set[str]:
    """The forms in which a secret could be said."""
    return {base64.b64encode(secret).decode(), secret.hex(), repr(secret)[2:-1]}


def refused(hanaper: Hanaper, *said: str, **environment: str) -> Outcome:
    """The server does not start; its last line says this, and nobody learns a secret."""
    ended = hanaper("serve", "--port", "0", status=78, **environment)
    assert ended.stdout == ""
    assert "serving" not in ended.stderr
    assert ended.last_line.startswith("hanaper: ")
    for part in said:
        assert part in ended.last_line
    file = kek_of(hanaper)
    content = file.read_bytes().strip() if file.is_file() else b""
    if content:
        assert not [form for form in forms(content) if form in ended.stderr]
        with contextlib.suppress(ValueError):
            assert not [form for form in forms(base64.b64decode(content)) if form in ended.stderr]
    return ended


def kek_of(hanaper: Hanaper) -> Path:
    return hanaper.data_dir / "key-encryption-key"


# --- the file of the key encryption key ---


def test_a_missing_key_encryption_key(demo: Hanaper) -> None:
    kek_of(demo).unlink()
    refused(demo, f"{kek_of(demo)} is missing", "put the file back from its backup", "HANAPER_KEY_ENCRYPTION_KEY_FILE")


def test_init_does_not_replace_a_missing_key_encryption_key(demo: Hanaper) -> None:
    kek_of(demo).unlink()
    for arguments in (("init",), ("init", "--demo")):
        ended = demo(*arguments, status=78)
        assert f"{kek_of(demo)} is missing: put the file back from its backup" in ended.last_line
        assert not kek_of(demo).exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda content: content[:20],
        lambda content: content[:-2],
        lambda content: content + content,
        lambda content: b"*" + content[1:],
        lambda _: os.urandom(32),
        lambda _: b"-----BEGIN PRIVATE KEY-----\n",
    ],
    ids=["empty", "cut off", "one character short", "doubled", "not base64", "raw bytes", "PEM"],
)
def test_a_damaged_key_encryption_key(demo: Hanaper, damage: Callable[[bytes], bytes]) -> None:
    content = kek_of(demo).read_bytes()
    kek_of(demo).write_bytes(damage(content))
    ended = refused(
        demo,
        f"{kek_of(demo)} is not 32 bytes in base64, empty or damaged: put the file back from its backup",
    )
    assert content.decode().strip() not in ended.stderr


def test_a_folder_in_place_of_the_key_encryption_key(demo: Hanaper) -> None:
    kek_of(demo).unlink()
    kek_of(demo).mkdir(mode=0o700)
    refused(demo, f"{kek_of(demo)} is not a file: put the secret's file there")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_a_key_encryption_key_that_others_may_read(demo: Hanaper, mode: int) -> None:
    kek_of(demo).chmod(mode)
    refused(demo, f"has mode {mode:04o}, others may read it: run `chmod 600 {kek_of(demo)}`")


def test_a_key_encryption_key_with_one_wrong_character(demo: Hanaper) -> None:
    content = kek_of(demo).read_bytes()
    other = b"A" if content[:1] != b"A" else b"B"
    kek_of(demo).write_bytes(other + content[1:])
    ended = refused(demo, f"the key encryption key {kek_of(demo)} is not the one signing key ", "put the right file")
    assert content.decode().strip() not in ended.stderr


def test_the_key_encryption_key_of_another_installation(demo: Hanaper, made_without_demo: Made) -> None:
    shutil.copy(made_without_demo.folder / "key-encryption-key", kek_of(demo))
    refused(demo, f"{kek_of(demo)} is not the one signing key ", "put the right file back (each database has its own)")
    # No command goes on with it.
    ended = demo("init", status=78)
    assert "is not the one signing key" in ended.last_line


@pytest.mark.parametrize(("mode", "accepted"), [(0o440, True), (0o640, True), (0o444, False), (0o660, False)])
def test_a_named_secret_file_may_be_read_by_its_group_and_by_nobody_else(
    demo: Hanaper, mode: int, *, accepted: bool
) -> None:
    secret = demo.folder / "secret"
    kek_of(demo).rename(secret)
    secret.chmod(mode)
    if accepted:
        demo("public-key", HANAPER_KEY_ENCRYPTION_KEY_FILE=str(secret))
    else:
        said = f"{secret} has mode {mode:04o}, others may read it: run `chmod 600 {secret}`"
        refused(demo, said, HANAPER_KEY_ENCRYPTION_KEY_FILE=str(secret))


# --- the rows of the private keys ---

WEAK = 1024  # bits


class Rows:
    """Reaches into the tables of the keystore, as somebody with write access to the database could."""

    def __init__(self, hanaper: Hanaper) -> None:
        self.run = hanaper.sql
        self._settings = hanaper.settings
        self._kek = kek_file.read(kek_of(hanaper), named_by_setting=False)

    def of(self, product_id: int | None) -> Row[Any]:
        query = text("SELECT * FROM signing_keys WHERE coalesce(product_id, 0) = :owner")
        with Storage.open(self._settings) as storage:
            return storage.read(lambda session: session.execute(query, {"owner": product_id or 0}).one())

    def put(self, row: Row[Any], private_der: bytes) -> None:
        """Give a row another private key, rightly encrypted."""
        binding = f"{row.kid}|{row.product_id or 'global'}|{row.version}|{row.algorithm}"
        self.put_ciphertext(row, self._kek.wrap(private_der, row=binding))

    def put_ciphertext(self, row: Row[Any], ciphertext: bytes) -> None:
        self.run("UPDATE signing_keys SET private_ciphertext = :c WHERE id = :id", c=ciphertext, id=row.id)


@pytest.fixture
def rows(demo: Hanaper) -> Rows:
    return Rows(demo)


def der(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(("product_id", "owner"), [(None, "the global key"), (1, "the key of product 1")])
def test_a_private_key_with_a_flipped_bit(demo: Hanaper, rows: Rows, product_id: int | None, owner: str) -> None:
    row = rows.of(product_id)
    middle = len(row.private_ciphertext) // 2
    flipped = bytearray(row.private_ciphertext)
    flipped[middle] ^= 1
    rows.put_ciphertext(row, bytes(flipped))
    refused(
        demo,
        f"signing key {row.kid} ({owner}) in the database is damaged, it does not decrypt",
        "restore the database from a backup",
    )


@pytest.mark.parametrize("length", [0, 5, 12, 28, 600])
def test_a_private_key_that_was_cut_off(demo: Hanaper, rows: Rows, length: int) -> None:
    row = rows.of(1)
    rows.put_ciphertext(row, row.private_ciphertext[:length])
    refused(demo, f"signing key {row.kid} (the key of product 1) in the database is damaged, it does not decrypt")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: der(ec.generate_private_key(ec.SECP256R1())), "it is not an RSA key"),
        (lambda: der(rsa.generate_private_key(65537, WEAK)), "it has 1024 bits, fewer than 2048"),
        (lambda: der(rsa.generate_private_key(3, 2048)), "its public exponent is not 65537"),
        (lambda: der(rsa.generate_private_key(65537, 2048)), "its public half is not the published one"),
        (lambda: b"no key at all", "it is not a readable private key"),
        (lambda: der(rsa.generate_private_key(65537, 2048))[:-9], "it is not a readable private key"),
    ],
    ids=["elliptic curve", "1024 bits", "exponent 3", "another key", "no key", "cut off"],
)
def test_a_private_key_that_must_not_sign(demo: Hanaper, rows: Rows, make: Callable[[], bytes], said: str) -> None:
    row = rows.of(1)
    private = make()
    rows.put(row, private)
    ended = refused(demo, f"signing key {row.kid} (the key of product 1) in the database is damaged, {said}: restore")
    assert not [form for form in forms(private) if form in ended.stderr]


def test_a_private_key_whose_numbers_contradict_each_other(demo: Hanaper, rows: Rows) -> None:
    row = rows.of(1)
    private = bytearray(KeyPair.generate(2048).private_der())
    private[-20] ^= 1  # within the last number, the inverse of one prime
    rows.put(row, bytes(private))
    refused(demo, f"signing key {row.kid} (the key of product 1) in the database is damaged, it")


def test_a_published_key_of_somebody_else(demo: Hanaper, rows: Rows) -> None:
    row = rows.of(1)
    rows.run("UPDATE signing_keys SET public_pem = :pem WHERE id = :id", pem=rows.of(None).public_pem, id=row.id)
    refused(demo, f"signing key {row.kid} (the key of product 1)", "its public half is not the published one")


def test_private_keys_of_two_rows_exchanged(demo: Hanaper, rows: Rows) -> None:
    one, two = rows.of(None), rows.of(1)
    rows.put_ciphertext(one, two.private_ciphertext)
    rows.put_ciphertext(two, one.private_ciphertext)
    refused(demo, f"signing key {one.kid} (the global key) in the database is damaged, it does not decrypt")


def test_a_key_that_was_given_to_another_product(demo: Hanaper, rows: Rows) -> None:
    row = rows.of(1)
    rows.run("UPDATE signing_keys SET product_id = 2 WHERE id = :id", id=row.id)
    refused(demo, f"signing key {row.kid} (the key of product 2) in the database is damaged, it does not decrypt")


def test_no_global_key(demo: Hanaper, rows: Rows) -> None:
    rows.run("DELETE FROM signing_keys WHERE product_id IS NULL")
    refused(demo, f"sqlite:///{demo.data_dir / 'hanaper.db'} has no global signing key: run `hanaper init`")


# --- the secret for API keys ---


def test_no_secret_for_api_keys(demo: Hanaper, rows: Rows) -> None:
    rows.run("DELETE FROM wrapped_secrets")
    refused(demo, "the database has no secret for API keys")


@pytest.mark.parametrize("damage", ["flipped", "cut off"])
def test_a_damaged_secret_for_api_keys(demo: Hanaper, rows: Rows, damage: str) -> None:
    statement = {
        "flipped": "UPDATE wrapped_secrets SET ciphertext = CAST(zeroblob(60) AS BLOB)",
        "cut off": "UPDATE wrapped_secrets SET ciphertext = substr(ciphertext, 1, 20)",
    }[damage]
    rows.run(statement)
    refused(
        demo,
        "the secret for API keys in the database is damaged, it does not decrypt: restore the database from a backup",
    )


def test_a_secret_for_api_keys_of_another_key_encryption_key(demo: Hanaper, rows: Rows) -> None:
    rows.run("UPDATE wrapped_secrets SET kek_id = '0123456789abcdef'")
    refused(demo, f"{kek_of(demo)} is not the one the secret for API keys was encrypted with")
