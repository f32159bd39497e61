"""Queries about outgoing calls."""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from hanaper.outbound.models import OutgoingCall

WAITING = "waiting"


def queue(session: Session, url: str, fields: Mapping[str, str], *, now: datetime) -> None:
    """Have a form posted, once the transaction is committed.

    Args:
        url: as somebody named it; it is looked at when the call is made.
        fields: the form.
    """
    body = urlencode(fields)
    row = OutgoingCall(url=url, body=body, state=WAITING, attempts=0, due_at=now, created_at=now, updated_at=now)
    session.add(row)
