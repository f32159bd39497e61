"""What may be wrong with a row: the tables that are looked at, and the conditions, as SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, exists, inspect, or_

from hanaper.access.models import ApiKey, BlockedEntry
from hanaper.issuing.models import Batch, Generator
from hanaper.keystore.models import SigningKey
from hanaper.licenses import rules
from hanaper.licenses.models import Activation, LicenseKey, LicenseKeyMeta, StagedBatch
from hanaper.outbound.models import OutgoingCall
from hanaper.outbound.store import DONE, FAILED, WAITING
from hanaper.products.models import Product, ProductMeta
from hanaper.storage.base import Base


@dataclass(frozen=True, slots=True)
class Fault:
    """What may be wrong with a row by itself, or beside others.

    Attributes:
        kind: see `report.Finding`.
        text: for people.
        condition: true for rows that have it.
    """

    kind: str
    text: str
    condition: ColumnElement[bool]


def _there(table: FromClause, row_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a row with this id is there."""
    return exists().where(table.c.id == row_id)


def _gone(model: type[Base], row_id: Any) -> ColumnElement[bool]:
    return and_(row_id.is_not(None), ~_there(inspect(model).local_table, row_id))


_ANOTHER_KEY = exists().where(
    SigningKey.id == Batch.signing_key_id, SigningKey.product_id.is_not(None), SigningKey.product_id != Batch.product_id
)
_STAGED = exists().where(StagedBatch.batch_id == Batch.id)
_ANOTHER_GENERATOR = exists().where(Generator.id == Batch.generator_id, Generator.product_id != Batch.product_id)
_UNUSABLE = exists().where(
    LicenseKey.id == Activation.license_key_id,
    or_(
        LicenseKey.deleted_at.is_not(None),
        LicenseKey.status.not_in((rules.ASSIGNED, rules.BLOCKED)),
        and_(LicenseKey.status == rules.BLOCKED, LicenseKey.block_reason == rules.REVOKED),
    ),
)
_IS_BLOCKED = LicenseKey.status == rules.BLOCKED

FAULTS: dict[type[Any], Sequence[Fault]] = {
    Batch: (
        Fault("no_product", "its product is not there", _gone(Product, Batch.product_id)),
        Fault("no_generator", "its generator is not there", _gone(Generator, Batch.generator_id)),
        Fault("no_api_key", "its API key is not there", _gone(ApiKey, Batch.api_key_id)),
        Fault("no_signing_key", "its signing key is not there", _gone(SigningKey, Batch.signing_key_id)),
        Fault("wrong_signing_key", "its signing key is that of another product", _ANOTHER_KEY),
        Fault("wrong_generator", "its generator makes license keys of another product", _ANOTHER_GENERATOR),
        Fault("staged", "it counts as still being stored, so its license keys are there for nobody", _STAGED),
    ),
    LicenseKey: (
        Fault("no_product", "its product is not there", _gone(Product, LicenseKey.product_id)),
        Fault("no_generator", "its generator is not there", _gone(Generator, LicenseKey.generator_id)),
        Fault("status", "there is no such status", LicenseKey.status.not_in(rules.STATUSES)),
        Fault(
            "block_reason",
            "what is blocked has a reason, suspended or revoked, and nothing else has one",
            or_(
                and_(_IS_BLOCKED, LicenseKey.block_reason.is_(None)),
                and_(~_IS_BLOCKED, LicenseKey.block_reason.is_not(None)),
                LicenseKey.block_reason.not_in((rules.SUSPENDED, rules.REVOKED)),
            ),
        ),
        Fault(
            "assigned_at",
            "what is assigned has a moment of its assignment, and what is available or reserved has none",
            or_(
                and_(LicenseKey.status == rules.ASSIGNED, LicenseKey.assigned_at.is_(None)),
                and_(LicenseKey.status.in_(rules.ASSIGNABLE), LicenseKey.assigned_at.is_not(None)),
            ),
        ),
        Fault(
            "source",
            "what a generator made says so and names it, and only that is of a batch",
            or_(
                LicenseKey.source.not_in((rules.FROM_GENERATOR, rules.MANUAL, "contract", rules.IMPORTED)),
                and_(LicenseKey.source == rules.FROM_GENERATOR, LicenseKey.generator_id.is_(None)),
                and_(LicenseKey.source != rules.FROM_GENERATOR, LicenseKey.batch_id.is_not(None)),
            ),
        ),
        Fault(
            "terms",
            "an activation limit or a validity is below nothing",
            or_(LicenseKey.activation_limit < 0, LicenseKey.validity < 0),
        ),
    ),
    Activation: (
        Fault("no_license_key", "its license key is not there", _gone(LicenseKey, Activation.license_key_id)),
        Fault("status", "there is no such status", Activation.status.not_in(("active", "inactive"))),
        Fault(
            "active",
            "it is active, but its license key is deleted, revoked or nobody's",
            and_(Activation.status == "active", _UNUSABLE),
        ),
    ),
    LicenseKeyMeta: (
        Fault("no_license_key", "its license key is not there", _gone(LicenseKey, LicenseKeyMeta.license_key_id)),
    ),
    ProductMeta: (Fault("no_product", "its product is not there", _gone(Product, ProductMeta.product_id)),),
    Generator: (Fault("no_product", "its product is not there", _gone(Product, Generator.product_id)),),
    OutgoingCall: (
        Fault("state", "there is no such state", OutgoingCall.state.not_in((WAITING, DONE, FAILED))),
        Fault("attempts", "it was tried less often than never", OutgoingCall.attempts < 0),
        Fault("url", "it goes nowhere", OutgoingCall.url.not_like("http%://%")),
        Fault("body", "it says nothing", OutgoingCall.body == ""),
    ),
}
"""What is looked at row by row. What `update-license-key` may change is no fault, nor is a limit that was lowered."""

UNIQUE: Sequence[tuple[type[Any], Sequence[str]]] = (
    (LicenseKey, ("license_key",)),
    (Activation, ("license_key_id", "identifier")),
    (LicenseKeyMeta, ("license_key_id", "key")),
    (ProductMeta, ("product_id", "key")),
    (Product, ("uuid",)),
    (Product, ("slug",)),
    (Generator, ("uuid",)),
    (ApiKey, ("digest",)),
    (BlockedEntry, ("kind", "value")),
    (SigningKey, ("kid",)),
)
