"""Writing down an effect, in its own transaction: no effect without its row, no row without its effect."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from hanaper.audit import rules, store
from hanaper.audit.models import LONGEST_ADDRESS, AuditEvent
from hanaper.storage import schema
from hanaper.storage.session import Session

FIRST_SCHEMA = "0006"
"""The first schema with an audit log. Its columns are as they were then: rows are written to older schemas, too."""

_NOTED = "hanaper audit"
_LICENSE_KEY = "license_key"


@dataclass(frozen=True, slots=True)
class By:
    """Who does something, and by what request.

    Attributes:
        api_key_id: None for the command line.
        address: where the request comes from; empty where that cannot be told.
        request_id: empty where there is none.
    """

    api_key_id: int | None = None
    address: str = ""
    request_id: str = ""


COMMAND_LINE = By()


def is_kept(revision: str) -> bool:
    """Whether a database of this schema has an audit log."""
    return schema.is_since(revision, FIRST_SCHEMA)


def about(
    session: Session,
    *,
    licenses: Iterable[int] = (),
    license_key: str | None = None,
    **ids: int | str | None,
) -> None:
    """Note what a transaction is about; `record` tells it. A use case that knows an id says so where it learns it.

    Args:
        licenses: ids of license keys, which add up.
        license_key: the text of one; only its keyed hash is written.
        **ids: others, by what they are of: product, generator, api_key, signing_key and the like.
    """
    noted = session.info.setdefault(_NOTED, {})
    noted.setdefault("licenses", []).extend(licenses)
    noted.update(ids)
    if license_key is not None:
        noted[_LICENSE_KEY] = license_key


def record(
    session: Session,
    action: str,
    *,
    now: datetime,
    by: By = COMMAND_LINE,
    pepper: bytes | None = None,
    code: int | None = None,
    batch_id: int | None = None,
) -> None:
    """Write down what this transaction does.

    Args:
        action: the name of the endpoint or of the command.
        now: the time of day.
        by: who does it.
        pepper: the installation's secret; None where no license key can have been noted.
        code: of the answer.
        batch_id: that it makes.
    """
    noted = dict(session.info.pop(_NOTED, {}))
    license_key = noted.pop(_LICENSE_KEY, None)
    if not noted.get("licenses"):
        noted.pop("licenses", None)
    digest = None if license_key is None or pepper is None else rules.license_digest(pepper, license_key)
    event = AuditEvent(
        at=now,
        api_key_id=by.api_key_id,
        address=by.address[:LONGEST_ADDRESS],
        action=action,
        objects=rules.told(noted),
        batch_id=batch_id,
        license_digest=digest,
        code=code,
        request_id=by.request_id,
    )
    store.add(session, event)
