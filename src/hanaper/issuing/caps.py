"""Caps: the most license keys a generator may ever make.

The count is a row of its own (decision 0018): a generator without a cap has none, and its requests meet at no row.
Every way to make license keys counts them in the transaction that stores them, by one conditional statement.
"""

from datetime import datetime

from hanaper.audit.record import about
from hanaper.issuing import cap_store, store
from hanaper.issuing.models import Generator, GeneratorCap
from hanaper.refusal import Invalid
from hanaper.storage.scope import Scope
from hanaper.storage.session import Session

LARGEST_CAP = 2**53
"""Every JSON reader knows this number exactly."""


def cap_fault(cap: int | None) -> str | None:
    """Why a cap is none; None where it is one."""
    if cap is None or 1 <= cap <= LARGEST_CAP:
        return None
    return f"a cap is from 1 to {LARGEST_CAP}"


def set_cap(session: Session, reference: int | str, cap: int | None, *, scope: Scope, now: datetime) -> Generator:
    """Set the cap of a generator, or (None) take it away.

    What the generator has made counts, also what has been deleted since. Nobody can make license keys while it is
    being counted for the first time, which goes through all license keys there are.

    Raises:
        Invalid: there is no such generator, the cap is none, or the generator has made more already.
    """
    found = store.find(session, reference, scope=scope)
    if found is None:
        raise Invalid(f"there is no generator {reference!r}: see `hanaper generator list`")
    fault = cap_fault(cap)
    if fault is not None:
        raise Invalid(fault)
    generator, product = found
    about(session, generator=generator.id, product=product.id)
    generator.updated_at = now
    row = cap_store.cap_of(session, generator.id, scope=scope, for_update=True)
    if cap is None:
        cap_store.remove(session, generator.id, scope=scope)
        return generator
    issued = cap_store.count_made(session, generator.id, scope=scope) if row is None else row.issued
    if cap < issued:
        raise Invalid(f"generator {generator.id} has made {issued} license keys already: a cap of {cap} is too low")
    if row is None:
        cap_store.add(session, GeneratorCap(cap=cap, issued=issued), generator, scope=scope)
    else:
        row.cap = cap
        session.flush()
    return generator
