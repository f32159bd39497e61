"""Queries about a database that comes from a backup."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from hanaper.issuing.models import Batch
from hanaper.licenses.models import LicenseKey, StagedBatch
from hanaper.outbound import store as calls


@dataclass(frozen=True, slots=True)
class Held:
    """What a database holds, for whoever has to say whether it is the right one.

    Attributes:
        license_keys: how many, deleted ones too.
        batch_id: of the newest batch, and
        batch_at: its moment; both None where there is none.
        waiting_calls: calls that have not been made yet.
    """

    license_keys: int
    batch_id: int | None
    batch_at: datetime | None
    waiting_calls: int


def held(session: Session) -> Held:
    """What the database holds."""
    newest = session.execute(select(Batch.id, Batch.created_at).order_by(Batch.id.desc()).limit(1)).first()
    return Held(
        license_keys=session.scalars(select(func.count()).select_from(LicenseKey)).one(),
        batch_id=None if newest is None else newest[0],
        batch_at=None if newest is None else newest[1],
        waiting_calls=calls.waiting(session),
    )


def staged(session: Session) -> list[int]:
    """Ids of large orders that were being stored."""
    return list(session.scalars(select(StagedBatch.batch_id)))


_RELATIONS = text(
    """
    SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
        )
    """
)


def is_empty(session: Session) -> bool:
    """Whether a database of PostgreSQL holds nothing but what came with it or with extensions."""
    return not session.scalar(_RELATIONS)
