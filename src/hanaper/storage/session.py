"""The session, for use cases: they take it and hand it on to their stores, and never commit."""

from sqlalchemy.orm import Session

__all__ = ["Session"]
