"""Queries of the check: reading only, a page at a time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    LargeBinary,
    String,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import defer

from hanaper.checking.faults import FAULTS, Fault
from hanaper.issuing.models import Batch
from hanaper.keystore.models import SigningKey
from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.storage.base import Base
from hanaper.storage.configuration import ConfigurationVersion
from hanaper.storage.session import Session

PAGE = 10_000
_ROWS_PER_RANGE = 100_000
_LOWEST = -(2**63)
# What the driver says may quote a row, so it is not repeated.
_DAMAGED = {
    "malformed": "the file is damaged",
    "not a database": "the file is no database",
    "decode": "a text is not UTF-8",
}


class Unreadable(Exception):
    """The file of the database is damaged, so that a part of it cannot be read."""


@contextmanager
def damage() -> Iterator[None]:
    """Tell a damaged file from a database that does not answer.

    Raises:
        Unreadable: it is damaged.
    """
    try:
        yield
    except DatabaseError as error:
        said = str(error.orig)
        for words, meaning in _DAMAGED.items():
            if words in said:
                raise Unreadable(meaning) from error
        raise


def file_damage(session: Session) -> Iterator[str]:
    """What SQLite says of its own file, at most a hundred lines. PostgreSQL has nothing of the kind."""
    if not _is_sqlite(session):
        return
    yield from (str(line) for line in session.scalars(text("PRAGMA integrity_check")) if line != "ok")
    looked_at = {model.__tablename__ for model in FAULTS}
    for table, row_id, parent, _ in session.execute(text("PRAGMA foreign_key_check")):
        if table not in looked_at:
            yield f"row {row_id} of {table} refers to a row of {parent} that is not there"


def count(session: Session, model: type[Base]) -> int:
    """How many rows a table has."""
    return session.scalars(select(func.count()).select_from(model)).one()


def faults_of(session: Session, model: type[Any]) -> Iterator[tuple[int, Sequence[tuple[int, Fault]]]]:
    """Go through a table by itself; yields how many more rows have been looked at, with what is wrong with them."""
    faults = FAULTS[model]
    flags = [case((fault.condition, 1), else_=0) for fault in faults]
    after = _LOWEST
    while True:
        part = select(model.id).where(model.id > after).order_by(model.id).limit(_ROWS_PER_RANGE).subquery()
        rows, last = session.execute(select(func.count(), func.max(part.c.id)).select_from(part)).one()
        if not rows:
            return
        wrong = select(model.id, *flags).where(
            model.id > after, model.id <= last, or_(*[fault.condition for fault in faults])
        )
        found = session.execute(wrong.order_by(model.id).limit(_ROWS_PER_RANGE))
        yield rows, [(row[0], fault) for row in found for fault, flag in zip(faults, row[1:], strict=True) if flag]
        after = last


def repeated(session: Session, model: type[Any], columns: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Rows whose values some row before them has; yields both ids. By sorting: an index may be what is damaged."""
    table = model.__table__
    # An expression, not the column: the database would take the index.
    values = [_no_index(table.c[name]).label(f"value_{number}") for number, name in enumerate(columns)]
    inner = select(table.c.id, *values).subquery()
    named = [inner.c[value.name] for value in values]
    first = func.min(inner.c.id).over(partition_by=named).label("first")
    outer = select(inner.c.id, first).where(*[value.is_not(None) for value in named]).subquery()
    query = select(outer.c.id, outer.c.first).where(outer.c.id != outer.c.first)
    for row in session.execute(query.execution_options(yield_per=PAGE)):
        yield row[0], row[1]


def signing_keys(session: Session) -> Sequence[SigningKey]:
    """All signing keys, in order of id: one or two for each product."""
    query = select(SigningKey).options(defer(SigningKey.created_at), defer(SigningKey.retired_at))
    return session.scalars(query.order_by(SigningKey.id)).all()


def configuration_rows(session: Session) -> Sequence[int]:
    """Ids of the rows of the version of the configuration, of which there has to be one, number 1."""
    return session.scalars(select(ConfigurationVersion.id)).all()


def staged_batches(session: Session, long_ago: datetime) -> Mapping[int, bool]:
    """Batches that are still being stored, by id, and whether nothing has touched them since long ago."""
    query = select(StagedBatch.batch_id, case((StagedBatch.touched_at < long_ago, 1), else_=0))
    return {row[0]: bool(row[1]) for row in session.execute(query)}


@dataclass(frozen=True, slots=True)
class BatchRow:
    """What is needed of a batch."""

    id: int
    product_id: int
    quantity: int
    signing_key_id: int
    signed_at: int
    signature: bytes


def batches(session: Session) -> Iterator[BatchRow]:
    """All batches, in order of id."""
    columns = (Batch.id, Batch.product_id, Batch.quantity, Batch.signing_key_id, Batch.signed_at)
    query = select(*columns, cast(Batch.signature, LargeBinary)).order_by(Batch.id).limit(PAGE)
    after = _LOWEST
    while page := session.execute(query.where(Batch.id > after)).all():
        for row in page:
            yield BatchRow(*row)
        after = page[-1].id


def license_keys_by_batch(session: Session) -> Iterator[Sequence[tuple[int, int, str | None]]]:
    """Batch, id and text of all license keys of batches, also deleted ones, a page at a time, by batch and id."""
    place = tuple_(LicenseKey.batch_id, LicenseKey.id)
    query = select(LicenseKey.batch_id, LicenseKey.id, _text(session)).where(LicenseKey.batch_id.is_not(None))
    query = query.order_by(LicenseKey.batch_id, LicenseKey.id).limit(PAGE)
    after = (_LOWEST, _LOWEST)
    while page := session.execute(query.where(place > after)).all():
        yield [(row[0], row[1], _decoded(row[2])) for row in page]
        after = (page[-1][0], page[-1][1])


def license_keys_without_batch(session: Session) -> Iterator[Sequence[tuple[int, str | None]]]:
    """Id and text of all other license keys, also deleted ones, a page at a time, in order of id."""
    query = select(LicenseKey.id, _text(session)).where(LicenseKey.batch_id.is_(None))
    query = query.order_by(LicenseKey.id).limit(PAGE)
    after = _LOWEST
    while page := session.execute(query.where(LicenseKey.id > after)).all():
        yield [(row[0], _decoded(row[1])) for row in page]
        after = page[-1].id


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _no_index(column: ColumnElement[Any]) -> ColumnElement[Any]:
    if isinstance(column.type, Integer):
        return column + 0
    return column if isinstance(column.type, LargeBinary) else column.concat(literal("", String))


def _text(session: Session) -> ColumnElement[Any]:
    # A flipped bit may leave what is no UTF-8 any more; SQLite's driver would end the whole query.
    return cast(LicenseKey.license_key, LargeBinary) if _is_sqlite(session) else LicenseKey.license_key.expression


def _decoded(stored: str | bytes) -> str | None:
    """The text; None where it is none."""
    if isinstance(stored, str):
        return stored
    try:
        return bytes(stored).decode("utf-8")
    except UnicodeDecodeError:
        return None
