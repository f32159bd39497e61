"""The database itself says no, and both kinds say it alike."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert
from sqlalchemy.exc import DataError, IntegrityError, StatementError

from hanaper.access.models import ApiKey, BlockedEntry
from hanaper.issuing.models import Batch, Generator
from hanaper.keystore.models import SigningKey
from hanaper.licenses.models import LicenseKey, LicenseKeyMeta
from hanaper.products.models import Product, ProductMeta
from hanaper.storage.base import Base
from hanaper.storage.session import Session

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MADE = {"created_at": NOON, "updated_at": NOON}
GOOD: dict[type[Base], dict[str, Any]] = {
    Product: {"uuid": "u", "slug": "s", "external_reference": "", "source": "internal", "name": "n", "post_url": "",
              "description": "", "status": "active", "require_non_expired": 0, **MADE},
    ProductMeta: {"product_id": 1, "key": "k", "value": "v", **MADE},
    Generator: {"uuid": "u", "product_id": 1, "name": "n", "method": "uuid", "prefix": "", "suffix": "",
                "function_name": "", "number_of_chunks": 4, "chunk_length": 4, "charset": "01",
                "activation_limit": 0, "validity": 0, "status": 1, **MADE},
    Batch: {"request_id": "r", "api_key_id": None, "product_id": 1, "generator_id": 1, "quantity": 1,
            "signing_key_id": 1, "signed_at": 0, "signature": b"", "created_at": NOON},
    LicenseKey: {"product_id": 1, "generator_id": None, "batch_id": None, "source": "manual", "license_key": "k",
                 "owner_name": None, "owner_email": None, "activation_limit": 0, "validity": 0,
                 "status": "available", **MADE},
    ApiKey: {"name": "n", "kind": "live", "digest": b"d", "hint": "h", "status": "active", "abilities": ["*"],
             "allowed_networks": [], "product_ids": None, **MADE},
    BlockedEntry: {"kind": "address", "value": "v", "reason": "", "created_at": NOON},
    SigningKey: {"product_id": 77, "version": 1, "kid": "k", "algorithm": "RSA-SHA256", "bits": 2048,
                 "public_pem": "p", "private_ciphertext": b"c", "kek_id": "k", "state": "active", "created_at": NOON},
}  # fmt: skip
LENGTHS: list[tuple[type[Base], str, int]] = [
    (Product, "name", 255),
    (Product, "slug", 100),
    (Product, "external_reference", 255),
    (Product, "post_url", 2048),
    (ProductMeta, "key", 255),
    (Generator, "name", 100),
    (Generator, "prefix", 64),
    (Generator, "suffix", 64),
    (Generator, "function_name", 100),
    (Generator, "charset", 256),
    (Batch, "request_id", 32),
    (LicenseKey, "license_key", 255),
    (LicenseKey, "owner_name", 255),
    (LicenseKey, "owner_email", 255),
    (ApiKey, "name", 100),
    (BlockedEntry, "value", 255),
    (BlockedEntry, "reason", 255),
]


def put(session: Session, model: type[Base], **changes: Any) -> int:
    table = table_of(model)
    return int(session.execute(insert(table).values({**GOOD[model], **changes}).returning(table.c.id)).scalar_one())


def refused(session: Session, model: type[Base], **changes: Any) -> None:
    with pytest.raises((IntegrityError, DataError)), session.begin_nested():
        put(session, model, **changes)


def table_of(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table


@pytest.mark.parametrize("character", ["a", "é", "日", "😀"])
def test_text_may_be_as_long_as_its_column_and_no_longer(session: Session, character: str) -> None:
    """Counted in characters, not in bytes."""
    for model, column, most in LENGTHS:
        refused(session, model, **{column: character * (most + 1)})
        with session.begin_nested() as savepoint:
            assert put(session, model, **{column: character * most}) > 0
            savepoint.rollback()


def test_text_that_must_be_there_is_not_empty(session: Session) -> None:
    for model, column in (
        (Product, "name"),
        (Product, "slug"),
        (ProductMeta, "key"),
        (Generator, "name"),
        (Batch, "request_id"),
        (LicenseKey, "license_key"),
        (ApiKey, "name"),
        (BlockedEntry, "value"),
    ):
        refused(session, model, **{column: ""})
        refused(session, model, **{column: None})


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (Product, {"status": "closed"}),
        (Product, {"source": "elsewhere"}),
        (Product, {"require_non_expired": 2}),
        (Generator, {"method": "magic"}),
        (Generator, {"status": 2}),
        (Generator, {"activation_limit": -1}),
        (Generator, {"validity": -1}),
        (Batch, {"quantity": 0}),
        (LicenseKey, {"status": "sold"}),
        (LicenseKey, {"status": "Available"}),
        (LicenseKey, {"source": "magic"}),
        (LicenseKey, {"activation_limit": -1}),
        (LicenseKey, {"validity": -1}),
        (ApiKey, {"kind": "root"}),
        (ApiKey, {"status": "asleep"}),
        (BlockedEntry, {"kind": "country"}),
        (SigningKey, {"state": "lost"}),
        (SigningKey, {"bits": 1024}),
        (ProductMeta, {"product_id": 99}),
        (Generator, {"product_id": 99}),
    ],
)
def test_values_that_mean_nothing_are_refused(session: Session, model: type[Base], changes: dict[str, Any]) -> None:
    refused(session, model, **changes)
    put(session, model)


def test_a_license_key_is_there_once_in_the_whole_system(session: Session) -> None:
    other = put(session, Product, slug="other", uuid="other")
    put(session, LicenseKey, license_key="KEY-1", product_id=1)
    refused(session, LicenseKey, license_key="KEY-1", product_id=1)
    refused(session, LicenseKey, license_key="KEY-1", product_id=other)
    refused(session, LicenseKey, license_key="KEY-1", status="blocked", deleted_at=NOON)


def test_a_deleted_license_key_keeps_its_text_reserved(session: Session) -> None:
    put(session, LicenseKey, license_key="KEY-1", deleted_at=NOON)
    refused(session, LicenseKey, license_key="KEY-1")


def test_license_keys_are_compared_character_by_character(session: Session) -> None:
    for license_key in ("KEY-1", "key-1", "KEY-1 ", " KEY-1", "KÉY", "KE\u0301Y", "ß", "ss", "1", "01"):
        put(session, LicenseKey, license_key=license_key)


def test_other_things_that_are_there_once(session: Session) -> None:
    put(session, Product)
    refused(session, Product, slug="another")
    refused(session, Product, uuid="another")
    put(session, Generator)
    refused(session, Generator)
    put(session, ApiKey)
    refused(session, ApiKey, name="another")
    put(session, BlockedEntry)
    refused(session, BlockedEntry, reason="another")
    put(session, BlockedEntry, kind="identifier")
    put(session, ProductMeta)
    refused(session, ProductMeta, value="another")


def test_one_key_signs_for_a_product_and_one_for_everything_else(session: Session) -> None:
    put(session, SigningKey, product_id=77, kid="a")
    refused(session, SigningKey, product_id=77, kid="b")
    refused(session, SigningKey, product_id=None, kid="b")
    refused(session, SigningKey, product_id=78, kid="a")
    put(session, SigningKey, product_id=77, kid="b", state="verify_only")
    put(session, SigningKey, product_id=None, kid="c", state="pending")


def test_an_id_is_never_given_out_twice(session: Session) -> None:
    for model in GOOD:
        first = put(session, model)
        session.execute(delete(table_of(model)).where(table_of(model).c.id == first))
        assert put(session, model) > first


def test_metadata_belong_to_a_license_key_that_exists(session: Session) -> None:
    license_key = put(session, LicenseKey)
    meta = {"key": "a", "value": "", **MADE}
    session.execute(insert(table_of(LicenseKeyMeta)).values(license_key_id=license_key, **meta))
    with pytest.raises(IntegrityError), session.begin_nested():
        session.execute(insert(table_of(LicenseKeyMeta)).values(license_key_id=license_key + 1, **meta))


@pytest.mark.parametrize(
    "moment",
    [
        NOON,
        NOON.replace(microsecond=123456),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
        datetime(2026, 7, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 7, 1, 1, 30, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
    ],
)
def test_a_moment_comes_back_as_it_went_in_and_in_utc(session: Session, moment: datetime) -> None:
    row_id = put(session, BlockedEntry, expires_at=moment)
    row = session.get(BlockedEntry, row_id)
    assert row is not None
    assert row.expires_at == moment
    assert row.expires_at is not None
    assert row.expires_at.utcoffset() == timedelta(0)


def test_a_moment_without_a_time_zone_is_refused(session: Session) -> None:
    with pytest.raises(StatementError, match="without a time zone"):
        put(session, BlockedEntry, expires_at=datetime(2026, 11, 23))  # noqa: DTZ001 -- that is the fault
