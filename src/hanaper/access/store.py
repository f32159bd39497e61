"""Queries about callers."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hanaper.access.models import ApiKey, BlockedEntry


class AlreadyThere(Exception):
    """The row exists."""


def find_api_key(session: Session, digest: bytes) -> ApiKey | None:
    """The API key of a digest."""
    return session.scalars(select(ApiKey).where(ApiKey.digest == digest)).one_or_none()


def digests(session: Session) -> Iterable[bytes]:
    """The digests of all API keys, also of those that are not active."""
    return session.scalars(select(ApiKey.digest))


def api_key(session: Session, api_key_id: int) -> ApiKey | None:
    """An API key by id."""
    return session.get(ApiKey, api_key_id)


def api_keys(session: Session) -> list[ApiKey]:
    """All API keys, in order of id."""
    return list(session.scalars(select(ApiKey).order_by(ApiKey.id)))


def add(session: Session, row: ApiKey | BlockedEntry) -> None:
    """Store a row.

    Raises:
        AlreadyThere: an equal one is stored.
    """
    try:
        session.add(row)
        session.flush()
    except IntegrityError as error:
        raise AlreadyThere from error


def block_list(session: Session) -> list[BlockedEntry]:
    """All entries of the block list, in order of id."""
    return list(session.scalars(select(BlockedEntry).order_by(BlockedEntry.id)))


def unblock(session: Session, entry_id: int) -> bool:
    """Take an entry off the block list; False when there is none."""
    row = session.get(BlockedEntry, entry_id)
    if row is None:
        return False
    session.delete(row)
    return True
