"""A vendor's server beside a plain model, whatever is asked of it, over real HTTP (reliability.md T17).

API keys and generators come, change and end; license keys are generated, assigned, activated, verified and deactivated;
requests are repeated; time passes; the server is started anew. Each answer is the one the model expects, and verifies.
What states license keys can be in is tested in depth by tests/integration/test_license_states.py.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text
from tests.conftest import Installation
from tests.support.api import Answer, Api, serving
from tests.support.registry import SetClock
from tests.support.slow import first
from tests.support.vendor_model import EVERYTHING, LAX, STRICT, ApiKey, Generator, Model, Request
from tests.support.world import add_product

from hanaper.access import manage
from hanaper.app import create_app, open_services
from hanaper.checking.check import check
from hanaper.idempotency.purge import Purger
from hanaper.issuing import caps, generators
from hanaper.issuing.formats import Recipe
from hanaper.products.models import Product
from hanaper.storage.session import Session
from hanaper.web.services import Services

EXAMPLES = first(1, [8, int(os.environ.get("HANAPER_TEST_MODEL_EXAMPLES", "200"))])
STEPS = int(os.environ.get("HANAPER_TEST_MODEL_STEPS", "50"))
BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMES = {LAX: "lax-product", STRICT: "strict-product"}
TABLES = (
    *("idempotency_records", "activations", "license_keys", "staged_batches", "batches", "generator_caps"),
    *("generators", "api_keys"),
)
UNKNOWN = 999

PICKS = st.integers(0, 7)
ENDPOINTS = ["verify", "activate", "activate", "deactivate", "assign-license-key", "assign-license-key"]
IDENTIFIERS = ["a", "b", "c"]
KEYS = [None, None, "k1", "k2", "k3", "k4"]
"""Idempotency keys; None: a request without one."""


def _ask_for_nothing(row: Product) -> None:
    row.require_non_expired = 0


def _ask_for_what_has_not_expired(row: Product) -> None:
    row.require_non_expired = 1


class Stage:
    """An installation with two products, and a server that can be started anew.

    Attributes:
        products: id and public key of each.
    """

    def __init__(self, installation: Installation) -> None:
        self.clock = SetClock(BEGIN)
        self.products: dict[str, tuple[int, str]] = {}
        self._installation = installation
        self._running = ExitStack()
        self._begin()
        rules = {LAX: _ask_for_nothing, STRICT: _ask_for_what_has_not_expired}
        for product in (LAX, STRICT):
            self.products[product] = add_product(self.services, NAMES[product], rules[product])
        self._connect()

    services: Services
    desks: dict[str, Api]

    def restart(self) -> None:
        """End the server, and start another one on the same database."""
        self.close()
        self._begin()
        self._connect()

    def close(self) -> None:
        self._running.close()

    def empty(self) -> None:
        """Begin again with nothing but the products."""

        def work(session: Session) -> None:
            for table in TABLES:
                session.execute(text(f"DELETE FROM {table}"))  # noqa: S608 -- one of those above

        self.write(work)

    def write(self, work: Callable[[Session], Any]) -> Any:
        return self.services.storage.write(work)

    def _begin(self) -> None:
        self._running = ExitStack()
        self.services = open_services(self._installation.settings, self.clock)
        self._url = self._running.enter_context(serving(create_app(self.services)))

    def _connect(self) -> None:
        global_pem = self._installation.installed.global_public_key.read_text()

        def now() -> float:
            return self.clock.now.timestamp()

        self.desks = {
            name: Api(self._url, global_pem=global_pem, product_pem=pem, now=now)
            for name, (_, pem) in self.products.items()
        }
        for desk in self.desks.values():
            self._running.enter_context(desk.http)


@dataclass
class Asked:
    """A request as it was sent."""

    who: int
    endpoint: str
    fields: dict[str, Any]
    key: str | None
    product: str


class Vendor(RuleBasedStateMachine):
    """Asks, and expects what the model says."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.model = Model(BEGIN)
        self.asked: list[Asked] = []
        stage.clock.now = BEGIN
        stage.empty()

    # What an operator does.

    @initialize()
    def begin(self) -> None:
        self.add_api_key(EVERYTHING, None, None)
        for product in (LAX, STRICT):
            self.add_generator(product, 1, 30, None)
        for pick in (0, 1):
            self.generate(0, pick, 2, None)
            self.ask_of_a_license(0, "assign-license-key", 2 * pick, "a", None)

    @precondition(lambda self: len(self.model.api_keys) < 6)  # more of them would be asked less often
    @rule(
        ability=st.sampled_from([EVERYTHING, EVERYTHING, "generate", "verify"]),
        product=st.sampled_from([None, LAX, STRICT]),
        days=st.sampled_from([None, 1, 30]),
    )
    def add_api_key(self, ability: str, product: str | None, days: int | None) -> None:
        ends = None if days is None else self.model.now + timedelta(days=days)
        product_ids = None if product is None else [self.stage.products[product][0]]
        terms = manage.Terms("Model", [ability], product_ids=product_ids, expires_at=ends)
        pepper = self.stage.services.pepper
        secret = self.stage.write(
            lambda session: manage.create(session, "live", terms, pepper=pepper, now=self.model.now)[1]
        )
        self.model.api_keys.append(ApiKey(secret, ability, product, ends))

    @rule(pick=PICKS)
    def revoke_an_api_key(self, pick: int) -> None:
        if len(self.model.api_keys) > 1:
            # Not the first: somebody has to go on.
            number = 1 + pick % (len(self.model.api_keys) - 1)
            ids = self.stage.services.storage.read(
                lambda session: list(session.scalars(text("SELECT id FROM api_keys ORDER BY id")))
            )
            self.stage.write(lambda session: manage.revoke(session, ids[number], now=self.model.now))
            self.model.api_keys[number].revoked = True

    @precondition(lambda self: len(self.model.generators) < 6)
    @rule(
        product=st.sampled_from([LAX, STRICT]),
        limit=st.integers(0, 2),
        validity=st.sampled_from([0, 1, 30]),
        cap=st.sampled_from([None, 3, 1000]),
    )
    def add_generator(self, product: str, limit: int, validity: int, cap: int | None) -> None:
        new = generators.NewGenerator(
            self.stage.products[product][0], Recipe("uuid"), activation_limit=limit, validity=validity, cap=cap
        )
        id_ = self.stage.write(lambda session: generators.create(session, new, now=self.model.now)[0].id)
        self.model.generators.append(Generator(id_, product, limit, validity, cap=cap))

    @rule(pick=PICKS, active=st.booleans())
    def switch_a_generator(self, pick: int, active: bool) -> None:  # noqa: FBT001 -- drawn
        generator = self.model.generators[pick % len(self.model.generators)]
        self.stage.write(
            lambda session: generators.switch(session, generator.id, active=active, now=self.model.now).status
        )
        generator.active = active

    @rule(pick=PICKS, room=st.sampled_from([None, 0, 1, 4]))
    def set_a_cap(self, pick: int, room: int | None) -> None:
        generator = self.model.generators[pick % len(self.model.generators)]
        cap = None if room is None else max(1, generator.made + room)
        self.stage.write(lambda session: caps.set_cap(session, generator.id, cap, now=self.model.now).id)
        generator.cap = cap

    @rule()
    def start_anew(self) -> None:
        self.stage.restart()

    @rule(forward=st.sampled_from([timedelta(seconds=1), timedelta(days=1), timedelta(days=1, seconds=1)]))
    def time_goes_on(self, forward: timedelta) -> None:
        self.model.now += forward
        self.stage.clock.now = self.model.now

    @rule()
    def old_records_are_purged(self) -> None:
        # The database's own clock counts their days.
        long_ago = datetime.now(UTC) - timedelta(days=7, seconds=1)
        age = "UPDATE idempotency_records SET created_at = :moment"
        moment: Any = long_ago
        if self.stage.services.storage.database.file is not None:
            moment = f"{long_ago:%Y-%m-%d %H:%M:%S.%f}"
        self.stage.write(lambda session: session.execute(text(age), {"moment": moment}))
        assert Purger(self.stage.services.storage).purge() == len(self.model.remembered)
        self.model.remembered.clear()

    # What a client does.

    @rule(who=PICKS, pick=PICKS, quantity=st.sampled_from([0, 1, 1, 2, 3, 1001]), key=st.sampled_from(KEYS))
    def generate(self, who: int, pick: int, quantity: int, key: str | None) -> None:
        known = pick < len(self.model.generators)
        generator = self.model.generators[pick] if known else Generator(UNKNOWN, LAX, 0, 0)
        fields = {"generator_id": generator.id, "quantity": quantity}
        self._ask(Asked(who % len(self.model.api_keys), "generate", fields, key, generator.product))

    @rule(
        who=PICKS,
        endpoint=st.sampled_from(ENDPOINTS),
        pick=PICKS,
        identifier=st.sampled_from(IDENTIFIERS),
        key=st.sampled_from(KEYS),
    )
    def ask_of_a_license(self, who: int, endpoint: str, pick: int, identifier: str, key: str | None) -> None:
        license_key = [*self.model.licenses, "unknown"][pick % (len(self.model.licenses) + 1)]
        license_ = self.model.licenses.get(license_key)
        fields = {"license_key": license_key, "identifier": identifier}
        product = LAX if license_ is None else license_.product
        self._ask(Asked(who % len(self.model.api_keys), endpoint, fields, key, product))

    @precondition(lambda self: self.asked)
    @rule(pick=PICKS)
    def ask_again(self, pick: int) -> None:
        self._ask(self.asked[-1 - pick % len(self.asked)])

    @rule(who=st.sampled_from(["", "hnp_live_unknown", "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"]))
    def somebody_else_asks(self, who: str) -> None:
        answer = self._post(LAX, "generate", {"api_key": who, "generator_id": 1, "quantity": 1}, None)
        assert answer.code == 100

    def _ask(self, asked: Asked) -> None:
        self.asked = [*self.asked[-20:], asked]
        model = self.model
        sent = {"api_key": model.api_keys[asked.who].secret, **asked.fields}
        answer = self._post(asked.product, asked.endpoint, sent, asked.key)
        name = (asked.who, asked.endpoint, asked.key or "")
        before = model.remembered.get(name)
        is_repeated = answer.http.headers.get("idempotent-replayed") == "true"
        if before is None or model.refused(asked.who, asked.endpoint) is not None:
            assert not is_repeated
            assert answer.code == model.expected(asked.who, asked.endpoint, asked.fields)
            new = answer.payload.get("licenseKeys", [])
            assert answer.code != 815 or len(set(new) - model.licenses.keys()) == asked.fields["quantity"]
            done = model.carried_out(asked.fields, answer.code, new)
            if done and asked.key is not None:
                model.remembered[name] = Request(asked.endpoint, asked.fields, answer.http.content)
        elif before.fields == asked.fields:
            assert is_repeated
            assert answer.http.content == before.body
        else:
            assert not is_repeated
            assert (answer.status, answer.code) == (409, 901)
            assert list(answer.errors) == ["idempotency_key"]

    def _post(self, product: str, endpoint: str, fields: dict[str, Any], key: str | None) -> Answer:
        headers = None if key is None else {"Idempotency-Key": key}
        return self.stage.desks[product].post(f"/api/v1/{endpoint}", fields, headers=headers)

    # What always holds.

    @invariant()
    def what_is_stored_is_what_the_model_knows(self) -> None:
        def read(session: Session) -> tuple[Any, ...]:
            used: dict[str, set[str]] = {}
            for key, identifier in session.execute(
                text(
                    "SELECT license_key, identifier FROM activations JOIN license_keys "
                    "ON license_keys.id = license_key_id WHERE activations.status = 'active'"
                )
            ):
                used.setdefault(key, set()).add(identifier)
            rows = session.execute(text("SELECT license_key, status FROM license_keys"))
            counted = session.execute(text("SELECT generator_id, cap, issued FROM generator_caps ORDER BY 1"))
            records = session.scalars(text("SELECT count(*) FROM idempotency_records")).one()
            batches = session.scalars(text("SELECT count(*) FROM batches")).one()
            return dict(map(tuple, rows)), used, [tuple(row) for row in counted], records, batches

        licenses = self.model.licenses
        assert self.stage.services.storage.read(read) == (
            {key: "available" if each.assigned_at is None else "assigned" for key, each in licenses.items()},
            {key: each.active_on for key, each in licenses.items() if each.active_on},
            [(each.id, each.cap, each.made) for each in self.model.generators if each.cap is not None],
            len(self.model.remembered),
            self.model.batches,
        )

    def teardown(self) -> None:
        report = check(self.stage.services.storage, None, now=self.model.now)
        assert report.is_clean, report


@pytest.fixture
def stage(installation: Installation) -> Iterator[Stage]:
    stage = Stage(installation)
    yield stage
    stage.close()


def run(stage: Stage, examples: int, steps: int) -> None:
    class VendorHere(Vendor):
        def __init__(self) -> None:
            super().__init__(stage)

    # Always the same examples, so that a change is not blamed for what another one did; more of them by the variable.
    run_state_machine_as_test(
        VendorHere,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("examples", EXAMPLES)
def test_whatever_is_asked_the_answer_is_the_one_of_the_model(stage: Stage, examples: int) -> None:
    run(stage, examples, STEPS)
