"""Private keys in a real database: opened, fetched when needed, and refused when something is wrong with them."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, select, update
from tests.conftest import SAMPLE_KEY, Installation
from tests.support.api import Api
from tests.support.world import add_api_key, add_generator, add_product, counts, execute

from hanaper.app import open_services
from hanaper.issuing.formats import Recipe
from hanaper.keystore import kek_file, pepper, store
from hanaper.keystore.encryption import Encryption
from hanaper.keystore.keys import Keystore
from hanaper.keystore.models import SigningKey, WrappedSecret
from hanaper.keystore.wrapping import KeyEncryptionKey
from hanaper.protocol import codes
from hanaper.refusal import Misconfigured
from hanaper.settings import Settings
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.verifier import Verifier
from hanaper.storage.base import Base
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

MESSAGE = b"what is signed"


def rows(storage: Storage) -> dict[str, SigningKey]:
    """The global key and the demo product's."""
    found = storage.read(store.usable)
    return {"global" if row.product_id is None else "product": row for row in found}


def test_a_keyring_holds_every_key_that_signs(shared: Services) -> None:
    keyring = shared.keystore.keyring(shared.storage)
    found = rows(shared.storage)
    assert keyring.global_key_id == found["global"].id
    for row in found.values():
        signer = keyring.signer(row.id)
        assert signer.kid == row.kid
        assert Verifier.from_pem(row.public_pem.encode()).accepts(MESSAGE, signer.sign(MESSAGE))
    assert keyring.global_signer is keyring.signer(found["global"].id)


def test_nothing_readable_of_a_private_key_lies_in_the_database(shared: Services) -> None:
    pair = KeyPair.generate(2048)
    row = SigningKey(product_id=5, version=1, kid=pair.kid, algorithm="RSA-SHA256")

    def add(session: Session) -> bytes:
        stored = shared.keystore.add(session, pair, product_id=5, now=shared.clock())
        assert stored.private_ciphertext is not None
        return stored.private_ciphertext

    ciphertext = shared.storage.read(add)
    numbers = pair.private_key.private_numbers()
    for secret in (numbers.p, numbers.q, numbers.d, numbers.dmp1):
        assert secret.to_bytes((secret.bit_length() + 7) // 8, "big")[:16] not in ciphertext
    assert pair.private_der() not in ciphertext
    assert repr(row).count("private") == 0


def test_a_key_that_was_added_later_is_fetched_when_it_is_needed(
    services: Services, installation: Installation
) -> None:
    running = open_services(installation.settings)
    product_id, pem = add_product(services, "later")
    key_id = running.storage.read(lambda session: store.active_id(session, product_id, scope=EVERYTHING))
    assert key_id is not None
    for _ in range(2):
        answer = running.signing.answer(codes.GENERATED_LICENSE_KEYS, {"licenseKeys": []}, product_key_id=key_id)
        message = base64.b64encode(answer.body.partition(b',"response_base64"')[0].removeprefix(b'{"response":'))
        assert Verifier.from_pem(pem.encode()).accepts(message, answer.signature)
    running.storage.close()


def test_a_key_that_is_not_there_is_not_signed_with(shared: Services) -> None:
    with pytest.raises(Misconfigured, match="signing key 4711 is not in the database"):
        shared.signing.answer(codes.GENERATED_LICENSE_KEYS, {"licenseKeys": []}, product_key_id=4711)


def flip(position: int) -> Callable[[bytes], bytes]:
    def change(ciphertext: bytes) -> bytes:
        place = position % len(ciphertext)
        return ciphertext[:place] + bytes([ciphertext[place] ^ 1]) + ciphertext[place + 1 :]

    return change


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nonce": flip(0),
    "first byte": flip(12),
    "middle": flip(600),
    "tag": flip(-1),
    "cut off": lambda ciphertext: ciphertext[:-1],
    "cut down to the nonce": lambda ciphertext: ciphertext[:12],
    "empty": lambda _: b"",
    "longer": lambda ciphertext: ciphertext + b"\0",
    "zeros": lambda ciphertext: bytes(len(ciphertext)),
}


def refused(settings: Settings, storage: Storage, *words: str) -> None:
    """Starting is refused in one line that holds these words and no secret."""
    with pytest.raises(Misconfigured) as caught:
        open_services(settings)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line
    kek = settings.key_encryption_key.read_text().strip() if settings.key_encryption_key.is_file() else "no key"
    assert kek not in line
    for row in storage.read(store.usable):
        ciphertext = row.private_ciphertext or b""
        assert ciphertext[:8].hex() not in line or len(ciphertext) < 8
        assert base64.b64encode(ciphertext)[:12].decode() not in line or len(ciphertext) < 9


@pytest.fixture
def storage(shared: Services) -> Iterator[Storage]:
    """Everything that is damaged in it is mended afterwards."""
    keys, secrets = table_of(SigningKey), table_of(WrappedSecret)

    def remember(session: Session) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return (
            [dict(row) for row in session.execute(select(keys)).mappings()],
            [dict(row) for row in session.execute(select(secrets)).mappings()],
        )

    def mend(session: Session) -> None:
        for row in good_keys:
            session.execute(update(keys).where(keys.c.id == row["id"]).values(**row))
        session.execute(delete(secrets))
        session.execute(insert(secrets), good_secrets)

    good_keys, good_secrets = shared.storage.read(remember)
    yield shared.storage
    shared.storage.write(mend)
    open_services(shared.settings).storage.close()


def table_of(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


def test_a_damaged_private_key_stops_the_start(shared: Services, storage: Storage) -> None:
    for which, row in rows(storage).items():
        owner = "the global key" if which == "global" else f"the key of product {row.product_id}"
        change = update(SigningKey).where(SigningKey.id == row.id)
        for damage in DAMAGES.values():
            execute(storage, change.values(private_ciphertext=damage(row.private_ciphertext or b"")))
            refused(shared.settings, storage, row.kid, owner, "damaged", "restore the database from a backup")
        execute(storage, change.values(private_ciphertext=row.private_ciphertext))
    open_services(shared.settings).storage.close()


def test_a_ciphertext_that_was_moved_to_another_row_stops_the_start(shared: Services, storage: Storage) -> None:
    found = rows(storage)
    moved = found["product"].private_ciphertext
    row = found["global"]
    execute(storage, update(SigningKey).where(SigningKey.id == row.id).values(private_ciphertext=moved))
    refused(shared.settings, storage, row.kid, "the global key", "does not decrypt")


@pytest.mark.parametrize(
    "changes",
    [{"kid": "0" * 16}, {"version": 2}, {"algorithm": "RSA-SHA512"}, {"product_id": 99}],
)
def test_a_row_that_was_changed_around_its_ciphertext_stops_the_start(
    shared: Services, storage: Storage, changes: dict[str, str | int]
) -> None:
    row = rows(storage)["product"]
    execute(storage, update(SigningKey).where(SigningKey.id == row.id).values(**changes))
    refused(shared.settings, storage, "does not decrypt")


def test_a_public_half_that_is_another_s_stops_the_start(shared: Services, storage: Storage) -> None:
    found = rows(storage)
    change = update(SigningKey).where(SigningKey.id == found["product"].id)
    for pem in (found["global"].public_pem, found["product"].public_pem.replace("\n", "\r\n"), "x"):
        execute(storage, change.values(public_pem=pem))
        refused(shared.settings, storage, found["product"].kid, "its public half is not the published one")


def test_a_private_key_that_was_wrapped_wrongly_stops_the_start(shared: Services, storage: Storage) -> None:
    """It decrypts, but what is inside is no key, or not this one."""
    row = rows(storage)["product"]
    kek = kek_file.read(shared.settings.key_encryption_key, named_by_setting=False)
    binding = f"{row.kid}|{row.product_id}|{row.version}|{row.algorithm}"
    other = KeyPair.generate(2048).private_der()
    for secret, word in ((b"nonsense", "not a readable private key"), (b"", "not a"), (other, "public half")):
        wrapped = kek.wrap(secret, row=binding)
        execute(storage, update(SigningKey).where(SigningKey.id == row.id).values(private_ciphertext=wrapped))
        refused(shared.settings, storage, row.kid, word)


def test_without_a_global_key_there_is_no_start(shared: Services, storage: Storage) -> None:
    execute(storage, update(SigningKey).where(SigningKey.product_id.is_(None)).values(state="verify_only"))
    refused(shared.settings, storage, "no global signing key", "hanaper init")


def test_another_key_encryption_key_stops_the_start(shared: Services, storage: Storage, tmp_path: Path) -> None:
    other = tmp_path / "other-key"
    kek_file.create(other)
    settings = shared.settings.model_copy(update={"key_encryption_key_file": other})
    refused(settings, storage, str(other), "is not the one", "put the right file back")


def test_a_key_encryption_key_of_the_right_name_and_the_wrong_bytes_stops_the_start(storage: Storage) -> None:
    """The id in the row says which key is meant; it is no proof."""
    row = rows(storage)["global"]
    impostor = KeyEncryptionKey(bytes(32))
    impostor.kek_id = row.kek_id or ""
    with pytest.raises(Misconfigured, match="does not decrypt"):
        Keystore(Encryption(impostor, "impostor")).keyring(storage)


def test_a_missing_key_encryption_key_stops_the_start(shared: Services, storage: Storage) -> None:
    file = shared.settings.key_encryption_key
    kept = file.rename(file.with_name("kept"))
    refused(shared.settings, storage, str(file), "is missing")
    kept.rename(file)


def test_a_damaged_secret_for_api_keys_stops_the_start(shared: Services, storage: Storage) -> None:
    row = storage.read(lambda session: store.secret(session, pepper.NAME))
    assert row is not None
    for damage in DAMAGES.values():
        execute(storage, update(WrappedSecret).values(ciphertext=damage(row.ciphertext)))
        refused(shared.settings, storage, "the secret for API keys", "damaged")
    execute(storage, update(WrappedSecret).values(ciphertext=rows(storage)["global"].private_ciphertext))
    refused(shared.settings, storage, "the secret for API keys", "damaged")
    execute(storage, update(WrappedSecret).values(ciphertext=row.ciphertext, kek_id="0" * 16))
    refused(shared.settings, storage, "the secret for API keys", "put the right file back")
    execute(storage, delete(WrappedSecret))
    refused(shared.settings, storage, "no secret for API keys", "hanaper init")


def test_a_product_key_that_is_damaged_while_the_server_runs_issues_nothing(api: Api, services: Services) -> None:
    """One that is held already goes on; one that is fetched now is refused, and no other key signs in its place."""
    product_id, _ = add_product(services, "later")
    generator = add_generator(services, product_id, Recipe("uuid"))
    execute(services.storage, update(SigningKey).values(private_ciphertext=b"damaged"))
    fields = {"api_key": SAMPLE_KEY, "generator_id": 1, "quantity": 1}
    assert api.post("/api/v1/generate", fields).code == 815
    before = counts(services.storage)
    answer = api.post("/api/v1/generate", {**fields, "api_key": add_api_key(services), "generator_id": generator})
    assert (answer.code, answer.status, answer.signed_by) == (1706, 500, "global")
    assert counts(services.storage) == before
