"""Queries of the keystore."""

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, defer
from sqlalchemy.orm.attributes import set_committed_value

from hanaper.keystore.models import SigningKey, WrappedSecret
from hanaper.refusal import Misconfigured
from hanaper.storage.scope import Scope, within

PENDING, ACTIVE, VERIFY_ONLY, DESTROYED = "pending", "active", "verify_only", "destroyed"


def add(session: Session, key: SigningKey) -> None:
    """Store a key.

    Raises:
        Misconfigured: another active key of the same owner was stored meanwhile.
    """
    try:
        session.add(key)
        session.flush()
    except IntegrityError as error:
        raise Misconfigured(
            "another process made the same signing key at this moment: run the command again"
        ) from error


def count(session: Session) -> int:
    """How many signing keys there are."""
    return session.scalars(select(func.count()).select_from(SigningKey)).one()


def find(session: Session, key_id: int) -> SigningKey | None:
    """A key by id."""
    return session.get(SigningKey, key_id)


def usable(session: Session, *, knows_tokens: bool = True) -> list[SigningKey]:
    """All keys that sign, in order of id.

    Args:
        session: of the transaction.
        knows_tokens: False for a schema from before there were any.
    """
    query = select(SigningKey).where(SigningKey.state == ACTIVE).order_by(SigningKey.id)
    if knows_tokens:
        return list(session.scalars(query))
    rows = list(session.scalars(query.options(defer(SigningKey.token))))
    for row in rows:
        set_committed_value(row, "token", None)
    return rows


def active(session: Session, product_id: int | None) -> SigningKey | None:
    """The key that signs for a product (None: the global key)."""
    return session.scalars(select(SigningKey).where(*_active(product_id))).one_or_none()


def of_owner(session: Session, product_id: int | None) -> list[SigningKey]:
    """All keys a product (None: everything else) has had, in order of version; nobody else changes them meanwhile."""
    mine = select(SigningKey).where(SigningKey.product_id == product_id).order_by(SigningKey.version)
    session.execute(mine.with_for_update())
    # Read anew behind the lock: the first statement does not see a key that whoever held the lock has added.
    return list(session.scalars(mine.execution_options(populate_existing=True)))


def by_kid(session: Session, kid: str) -> SigningKey | None:
    """A key by its public identifier."""
    return session.scalars(select(SigningKey).where(SigningKey.kid == kid)).one_or_none()


def all_keys(session: Session) -> list[SigningKey]:
    """All keys there are, in order of id."""
    return list(session.scalars(select(SigningKey).order_by(SigningKey.id)))


def wrapped_otherwise(session: Session, kek_id: str) -> tuple[list[SigningKey], list[WrappedSecret]]:
    """What another key encryption key than this has encrypted; nobody else changes it meanwhile."""
    # Those in a token have none.
    keys = select(SigningKey).where(SigningKey.kek_id != kek_id, SigningKey.state != DESTROYED).order_by(SigningKey.id)
    secrets = select(WrappedSecret).where(WrappedSecret.kek_id != kek_id).order_by(WrappedSecret.name)
    return list(session.scalars(keys.with_for_update())), list(session.scalars(secrets.with_for_update()))


def kek_ids(session: Session) -> set[str]:
    """The key encryption keys that something is encrypted with."""
    of_keys = select(SigningKey.kek_id).where(SigningKey.state != DESTROYED, SigningKey.token.is_(None)).distinct()
    return {
        *(kek_id for kek_id in session.scalars(of_keys) if kek_id),
        *session.scalars(select(WrappedSecret.kek_id).distinct()),
    }


def active_id(session: Session, product_id: int | None, *, scope: Scope) -> int | None:
    """Id of the key that signs for a product (None: the global key, which is everybody's)."""
    return session.scalars(select(SigningKey.id).where(*_active(product_id), _within(scope, product_id))).one_or_none()


def active_kid(session: Session, product_id: int | None) -> str | None:
    """Public identifier of the key that signs for a product (None: the global key)."""
    return session.scalars(select(SigningKey.kid).where(*_active(product_id))).one_or_none()


def public_pem(session: Session, product_id: int | None, *, scope: Scope) -> str | None:
    """The published half of the key that signs for a product (None: the global key, which is everybody's)."""
    query = select(SigningKey.public_pem).where(*_active(product_id), _within(scope, product_id))
    return session.scalars(query).one_or_none()


def pem_of(session: Session, kid: str) -> str | None:
    """The public half of a key by its public identifier."""
    return session.scalars(select(SigningKey.public_pem).where(SigningKey.kid == kid)).one_or_none()


def secret(session: Session, name: str) -> WrappedSecret | None:
    """A secret of the installation."""
    return session.get(WrappedSecret, name)


def add_secret(session: Session, row: WrappedSecret) -> None:
    """Store a secret of the installation."""
    session.add(row)
    session.flush()


def _within(scope: Scope, product_id: int | None) -> ColumnElement[bool]:
    return true() if product_id is None else within(scope, SigningKey.product_id)


def _active(product_id: int | None) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    # `== None` is IS NULL in SQL.
    return SigningKey.product_id == product_id, SigningKey.state == ACTIVE
