"""Drawing license keys at random, where others are at it, too."""

from collections.abc import Sequence

import pytest
from sqlalchemy import update

from hanaper.access.authenticate import OPERATOR
from hanaper.assignment.assign import Owner
from hanaper.assignment.random_assign import Contended, Wish, random_assign
from hanaper.clock import utc_now
from hanaper.licenses import store
from hanaper.licenses.models import LicenseKey
from hanaper.licenses.rules import State
from hanaper.refusal import Refusal
from hanaper.registration.register import Terms, register
from hanaper.storage.scope import EVERYTHING, Scope
from hanaper.storage.session import Session
from hanaper.web.services import Services

KEYS = ["K1", "K2", "K3"]


def pool(services: Services) -> None:
    terms = Terms(activation_limit=0, validity=0, state=State.AVAILABLE)
    services.storage.write(lambda session: register(session, KEYS, 1, terms, scope=EVERYTHING, now=utc_now()))


def draw(session: Session, quantity: int) -> list[str]:
    wish = Wish(product=1, quantity=quantity)
    return [row.license_key for row in random_assign(session, wish, Owner("A"), caller=OPERATOR, now=utc_now()).rows]


def owners(services: Services) -> list[str | None]:
    return services.storage.read(
        lambda session: [row.owner_name for row in store.rows(session, [1, 2, 3], scope=EVERYTHING)]
    )


def test_what_turns_out_to_be_anothers_is_not_handed_out(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if rows were not locked while they are drawn."""
    pool(services)

    def drawn_late(
        session: Session, product_id: int, quantity: int, *, scope: Scope, generator_id: int | None
    ) -> Sequence[LicenseKey]:
        del generator_id
        rows = store.page(session, store.Filter(product_id=product_id), scope=scope, number=1, size=quantity)
        taken = (
            update(LicenseKey).where(LicenseKey.license_key == "K2").values(status="assigned", assigned_at=utc_now())
        )
        session.execute(taken.execution_options(synchronize_session=False))
        return rows

    monkeypatch.setattr(store, "draw_available", drawn_late)
    with pytest.raises(store.KeysCollide):
        services.storage.write(lambda session: draw(session, 3))
    assert owners(services) == [None, None, None]


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_what_others_hold_is_no_reason_to_refuse_but_to_try_again(services: Services) -> None:
    pool(services)
    with services.storage.engine.connect() as connection, Session(connection) as other:
        assert len(store.draw_available(other, 1, 2, scope=EVERYTHING)) == 2
        with pytest.raises(Contended):
            services.storage.write(lambda session: draw(session, 2))
        # One is free, and to be had at once.
        assert services.storage.write(lambda session: draw(session, 1)) == ["K3"]
        # More than there are at all is refused, whoever holds them.
        with pytest.raises(Refusal) as refused:
            services.storage.write(lambda session: draw(session, 3))
        assert (refused.value.code.number, refused.value.payload) == (802, {"available_quantity": 2})
    assert services.storage.write(lambda session: draw(session, 2)) == ["K1", "K2"]
    assert owners(services) == ["A", "A", "A"]
