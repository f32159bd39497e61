"""A vendor's server beside a plain model, whatever is asked of it, over real HTTP (reliability.md T17).

API keys, products and generators come, change and end; license keys are generated, stored, assigned, activated,
verified, changed and deleted; requests are repeated; time passes; the server is started anew. Each answer is the one
the model expects, and verifies. What an operator changes is changed as commands do it, past the server, and the next
request knows. What states license keys can be in is tested in depth by tests/integration/test_license_states.py.
"""

import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text
from tests.conftest import Installation
from tests.support.api import Answer, Api, Encoding, serving
from tests.support.registry import SetClock
from tests.support.slow import first
from tests.support.vendor_model import EVERYTHING, LAX, STRICT, ApiKey, Generator, Model, Request
from tests.support.world import add_product

from hanaper.access import authenticate, manage
from hanaper.app import create_app, open_services
from hanaper.checking.check import check
from hanaper.idempotency import rules as idempotency
from hanaper.idempotency import store as records
from hanaper.idempotency.purge import Purger
from hanaper.issuing import batch_store, cap_store, caps, generators
from hanaper.issuing.formats import Recipe
from hanaper.issuing.models import GeneratorCap
from hanaper.licenses import rules as licenses
from hanaper.licenses.models import Activation, LicenseKey, LicenseKeyMeta
from hanaper.products.models import Product
from hanaper.storage import scope
from hanaper.storage.session import Session
from hanaper.web.services import Services

pytestmark = pytest.mark.long

EXAMPLES, STEPS = 12, 50
MORE_EXAMPLES = int(os.environ.get("HANAPER_TEST_MODEL_EXAMPLES", "200"))
MORE_STEPS = int(os.environ.get("HANAPER_TEST_MODEL_STEPS", "50"))
BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = {LAX: "lax-product", STRICT: "strict-product"}
TABLES = (
    *("idempotency_records", "activations", "license_key_meta", "license_keys", "staged_batches", "batches"),
    *("generator_caps", "generators", "api_keys"),
)
UNKNOWN = 10**9
RANDOM = "random-assign-license-keys"

PICKS = st.integers(0, 7)
CALLERS = st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5])
"""Mostly the one who may do everything."""
LICENSES = st.sampled_from([0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 9])
"""Mostly the same few, so that they live long lives."""
ENDPOINTS = st.sampled_from(
    [
        *("verify", "activate", "deactivate", "verify", "activate", "deactivate", "verify", "activate"),
        *("assign-license-key", "assign-and-activate-license-key", "assign-license-key", "delete-license-key"),
    ]
)
IDENTIFIERS = st.sampled_from(["a", "a", "b", "b", "c", ""])
KEYS = st.sampled_from([None, None, "k1", "k2", "k3", "k4"])
"""Idempotency keys; None: a request without one."""
PRODUCTS = st.sampled_from([LAX, STRICT])
LIMITS = st.integers(0, 2)
VALIDITIES = st.sampled_from([0, 1, 1, 30])
STATUSES = st.sampled_from(
    ["assigned", "available", "blocked", "assigned", "reserved", "assigned", "assigned", "revoked"]
)
CHANGES = st.one_of(
    st.fixed_dictionaries({"status": STATUSES}),
    st.fixed_dictionaries({"validity": VALIDITIES}),
    st.fixed_dictionaries({"activation_limit": LIMITS}),
)
TERMS = st.fixed_dictionaries({}, optional={"activation_limit": LIMITS, "validity_days": VALIDITIES})
FORMS = [
    (Recipe("uuid", prefix="U-"), r"U-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    (Recipe("chunk-system", number_of_chunks=3, chunk_length=5, suffix="-C"), r"([0-9A-F]{5}-){3}C"),
]


def _ask_for_nothing(row: Product) -> None:
    row.require_non_expired = 0


def _ask_for_what_has_not_expired(row: Product) -> None:
    row.require_non_expired = 1


class Stage:
    """An installation with two products, and a server that can be started anew.

    Attributes:
        office: where commands of an operator are run: connections of their own, as another process has.
        product_ids: of each.
        desks: clients, each expecting the signatures of one product.
    """

    def __init__(self, installation: Installation) -> None:
        self.clock = SetClock(BEGIN)
        self.office: Services = open_services(installation.settings, self.clock, serving=False)
        self.product_ids: dict[str, int] = {}
        self.desks: dict[str, Api] = {}
        self._pems: dict[str, str] = {}
        self._global_pem = installation.installed.global_public_key.read_text()
        self._installation = installation
        self._running = ExitStack()
        rules = {LAX: _ask_for_nothing, STRICT: _ask_for_what_has_not_expired}
        for product in (LAX, STRICT):
            added = add_product(self.office, NAMES[product], rules[product])
            self.product_ids[product], self._pems[product] = added
        self.start()

    def start(self) -> None:
        """Start a server, after the end of the one there was."""
        self._running.close()
        services = open_services(self._installation.settings, self.clock)
        url = self._running.enter_context(serving(create_app(services)))

        def now() -> float:
            return self.clock.now.timestamp()

        for product, pem in self._pems.items():
            desk = Api(url, global_pem=self._global_pem, product_pem=pem, now=now)
            self._running.enter_context(desk.http)
            self.desks[product] = desk

    def close(self) -> None:
        self._running.close()
        self.office.storage.close()

    def empty(self) -> None:
        """Begin again with nothing but the products."""

        def work(session: Session) -> None:
            for table in TABLES:
                session.execute(text(f"DELETE FROM {table}"))  # noqa: S608 -- one of those above
            # But for the first row, which says where the log begins.
            session.execute(text("DELETE FROM audit_events WHERE batch_id IS NOT NULL"))
            for id_ in self.product_ids.values():
                session.get_one(Product, id_).status = "active"

        self.write(work)

    def write(self, work: Callable[[Session], Any]) -> Any:
        return self.office.storage.write(work)


@dataclass(frozen=True)
class Asked:
    """A request as it was sent.

    Attributes:
        who: number of the API key.
        key: the idempotency key.
        in_body: whether that is a field, not a header.
    """

    who: int
    endpoint: str
    fields: dict[str, Any]
    key: str | None
    in_body: bool = False
    encoding: Encoding = "form"


class Vendor(RuleBasedStateMachine):
    """Asks, and expects what the model says."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.model = Model(BEGIN, stage.product_ids)
        self.asked: list[Asked] = []
        self.sent_since_start = 0
        stage.clock.now = BEGIN
        stage.empty()

    # What an operator does. The exchange of signing keys belongs here as soon as there is one: `Stage.desks` know which
    # ones clients trust.

    @initialize()
    def begin(self) -> None:
        self.add_api_key(EVERYTHING, None, None)
        for pick, product in enumerate((LAX, STRICT)):
            self.add_generator(product, 1, 30, pick, None)
            self.generate(0, pick, 2, {}, None)
            self.ask_of_a_license(0, "assign-license-key", 2 * pick, "a", None)

    @precondition(lambda self: len(self.model.api_keys) < 6)  # more of them would be asked less often
    @rule(
        ability=st.sampled_from([EVERYTHING, EVERYTHING, "generate", "verify"]),
        product=st.sampled_from([None, LAX, STRICT]),
        days=st.sampled_from([None, 1, 30]),
    )
    def add_api_key(self, ability: str, product: str | None, days: int | None) -> None:
        ends = None if days is None else self.model.now + timedelta(days=days)
        product_ids = None if product is None else [self.stage.product_ids[product]]
        terms = manage.Terms("Model", [ability], product_ids=product_ids, expires_at=ends)
        pepper = self.stage.office.pepper
        secret = self.stage.write(
            lambda session: manage.create(session, "live", terms, pepper=pepper, now=self.model.now)[1]
        )
        self.model.api_keys.append(ApiKey(secret, ability, product, ends))
        for generator in self.model.generators[:2]:
            self._ask(len(self.model.api_keys) - 1, "generate", {"generator_id": generator.id, "quantity": 1}, None)

    @rule(pick=PICKS)
    def revoke_an_api_key(self, pick: int) -> None:
        if len(self.model.api_keys) > 1:
            # Not the first: somebody has to go on.
            number = 1 + pick % (len(self.model.api_keys) - 1)
            ids = self.stage.office.storage.read(
                lambda session: list(session.scalars(text("SELECT id FROM api_keys ORDER BY id")))
            )
            self.stage.write(lambda session: manage.revoke(session, ids[number], now=self.model.now))
            self.model.api_keys[number].revoked = True
            self._ask(number, "generate", {"generator_id": self.model.generators[0].id, "quantity": 1}, None)

    @precondition(lambda self: len(self.model.generators) < 6)
    @rule(
        product=PRODUCTS,
        limit=LIMITS,
        validity=VALIDITIES,
        kind=st.sampled_from([0, 1]),
        cap=st.sampled_from([None, 3, 1000]),
    )
    def add_generator(self, product: str, limit: int, validity: int, kind: int, cap: int | None) -> None:
        recipe, form = FORMS[kind]
        new = generators.NewGenerator(
            self.stage.product_ids[product], recipe, activation_limit=limit, validity=validity, cap=cap
        )
        id_ = self.stage.write(
            lambda session: generators.create(session, new, scope=scope.EVERYTHING, now=self.model.now)[0].id
        )
        self.model.generators.append(Generator(id_, product, limit, validity, form, cap=cap))

    @rule(pick=PICKS, active=st.sampled_from([True, True, False]))
    def switch_a_generator(self, pick: int, active: bool) -> None:  # noqa: FBT001 -- drawn
        generator = self.model.generators[pick % len(self.model.generators)]
        self.stage.write(
            lambda session: (
                generators.switch(
                    session, generator.id, scope=scope.EVERYTHING, active=active, now=self.model.now
                ).status
            )
        )
        generator.active = active

    @rule(product=PRODUCTS, is_open=st.sampled_from([True, True, True, True, False]))
    def open_a_product(self, product: str, is_open: bool) -> None:  # noqa: FBT001 -- drawn
        def work(session: Session) -> None:
            row = session.get_one(Product, self.stage.product_ids[product])
            row.status = "active" if is_open else "inactive"

        self.stage.write(work)
        self.model.is_open[product] = is_open

    @rule(pick=PICKS, room=st.sampled_from([None, 0, 1, 4]))
    def set_a_cap(self, pick: int, room: int | None) -> None:
        generator = self.model.generators[pick % len(self.model.generators)]
        cap = None if room is None else max(1, generator.made + room)
        self.stage.write(
            lambda session: caps.set_cap(session, generator.id, cap, scope=scope.EVERYTHING, now=self.model.now).id
        )
        generator.cap = cap

    @precondition(lambda self: self.sent_since_start >= 10)  # it takes as long as a few dozen requests
    @rule()
    def start_anew(self) -> None:
        self.stage.start()
        self.sent_since_start = 0

    @rule(forward=st.sampled_from([timedelta(seconds=1), DAY, DAY + timedelta(seconds=1), 30 * DAY]))
    def time_goes_on(self, forward: timedelta) -> None:
        self._set_time(self.model.now + forward)

    def _set_time(self, moment: datetime) -> None:
        self.model.now = self.stage.clock.now = moment

    @rule(age=st.sampled_from([7 * DAY - timedelta(minutes=1), 7 * DAY + timedelta(seconds=1)]))
    def old_records_are_purged(self, age: timedelta) -> None:
        # The database's own clock counts their days.
        moment: Any = datetime.now(UTC) - age
        if self.stage.office.storage.database.file is not None:
            moment = f"{moment:%Y-%m-%d %H:%M:%S.%f}"
        statement = text("UPDATE idempotency_records SET created_at = :moment")
        self.stage.write(lambda session: session.execute(statement, {"moment": moment}))
        if age > 7 * DAY:
            assert Purger(self.stage.office.storage).purge() == len(self.model.remembered)
            self.model.remembered.clear()
        else:
            assert Purger(self.stage.office.storage).purge() == 0

    # What a client does.

    @rule(who=CALLERS, pick=PICKS, quantity=st.sampled_from([0, 1, 1, 2, 3, 1001]), terms=TERMS, key=KEYS)
    def generate(self, who: int, pick: int, quantity: int, terms: dict[str, int], key: str | None) -> None:
        made = self.model.generators
        fields = {"generator_id": made[pick % len(made)].id if pick < 6 else UNKNOWN, "quantity": quantity, **terms}
        self._ask(who, "generate", fields, key)

    @rule(who=CALLERS, product=PRODUCTS, more=st.sampled_from([0, 0, 1, 2]), generate=st.sampled_from([0, 1]), key=KEYS)
    def assign_at_random(self, who: int, product: str, more: int, generate: int, key: str | None) -> None:
        # All there are, and some more: of several the server may choose any, and the same steps would have other ends.
        quantity = max(1, len(self.model.available(product)) + more)
        fields = {"product_id": self.stage.product_ids[product], "quantity": quantity, "generate": generate}
        self._ask(who, RANDOM, {**fields, "owner_email": "owner@example.com"}, key)

    @rule(
        who=CALLERS,
        product=PRODUCTS,
        some=st.lists(st.sampled_from(["M0", "M1", "M2", "M3"]), min_size=1, max_size=3),
        status=st.sampled_from(["available", "reserved", "blocked"]),
        limit=LIMITS,
        key=KEYS,
    )
    def store_license_keys(
        self, who: int, product: str, some: list[str], status: str, limit: int, key: str | None
    ) -> None:
        terms = {"activation_limit": limit, "validity": 1, "status": status}
        fields = {"license_keys": json.dumps(some), "product_id": self.stage.product_ids[product], **terms}
        self._ask(who, "create-license-keys", fields, key)

    @rule(who=CALLERS, endpoint=ENDPOINTS, pick=LICENSES, identifier=IDENTIFIERS, key=KEYS)
    def ask_of_a_license(self, who: int, endpoint: str, pick: int, identifier: str, key: str | None) -> None:
        fields = {"license_key": self._license_key(pick), "identifier": identifier}
        if endpoint == "assign-and-activate-license-key":
            fields["owner_email"] = "owner@example.com"
        self._ask(who, endpoint, fields, key)

    @rule(pick=LICENSES)
    def use_up_a_license(self, pick: int) -> None:
        """Activate it until it is full, and one more."""
        license_key = self._license_key(pick)
        for endpoint, identifier in [("activate", "a"), ("activate", "b"), ("activate", "c"), ("verify", "a")]:
            self._ask(0, endpoint, {"license_key": license_key, "identifier": identifier}, None)

    @precondition(lambda self: self._mortal())
    @rule(pick=PICKS)
    def outlive_a_license(self, pick: int) -> None:
        """Verify it at its last moment, and a second later."""
        mortal = self._mortal()
        license_key, end = mortal[pick % len(mortal)]
        for moment in (end, end + timedelta(seconds=1)):
            self._set_time(moment)
            for endpoint in ("verify", "activate"):
                self._ask(0, endpoint, {"license_key": license_key, "identifier": "a"}, None)

    @rule(pick=PICKS)
    def use_up_a_generator(self, pick: int) -> None:
        """Generate what its cap leaves, and one more, where that is not too much."""
        generator = self.model.generators[pick % len(self.model.generators)]
        room = 9 if generator.cap is None else generator.cap - generator.made
        for quantity in (room + 1, room, 1) if room < 9 else ():
            self._ask(0, "generate", {"generator_id": generator.id, "quantity": quantity}, None)

    @rule(who=CALLERS, pick=LICENSES, changes=CHANGES, key=KEYS)
    def change_a_license(self, who: int, pick: int, changes: dict[str, Any], key: str | None) -> None:
        self._ask(who, "update-license-key", {"license_key": self._license_key(pick), **changes}, key)

    @rule(
        who=CALLERS,
        what=st.sampled_from(["create", "create", "update", "delete"]),
        pick=LICENSES,
        identifier=st.sampled_from(["", "", "a"]),
        name=st.sampled_from(["seats", "note"]),
        value=st.sampled_from(["1", "ü/<'"]),
        key=KEYS,
    )
    def change_metadata(
        self, who: int, what: str, pick: int, identifier: str, name: str, value: str, key: str | None
    ) -> None:
        fields = {"license_key": self._license_key(pick), "identifier": identifier, "key": name, "value": value}
        self._ask(who, f"{what}-license-key-meta", fields, key)

    @precondition(lambda self: self._repeatable())
    @rule(
        pick=PICKS,
        encoding=st.sampled_from(["form", "multipart", "json"]),
        in_body=st.booleans(),
        changes=st.sampled_from([{}, {}, {}, {"identifier": "z"}]),
    )
    def ask_again(self, pick: int, encoding: Encoding, in_body: bool, changes: dict[str, str]) -> None:  # noqa: FBT001 -- drawn
        repeatable = self._repeatable()
        asked = repeatable[-1 - pick % len(repeatable)]
        fields = {**asked.fields, **changes}
        self._send(replace(asked, fields=fields, encoding=encoding, in_body=in_body))

    @rule(who=st.sampled_from(["", "hnp_live_unknown", "2964c3c9-0b5d-4d89-b3ac-4668f30bc492"]))
    def somebody_else_asks(self, who: str) -> None:
        fields = {"api_key": who, "generator_id": 1, "quantity": 1}
        assert self.stage.desks[LAX].post("/api/v1/generate", fields).code == 100

    def _repeatable(self) -> list[Asked]:
        """Requests under an idempotency key. Without a record at random would be that: see above."""
        return [
            asked
            for asked in self.asked
            if asked.key is not None
            and (asked.endpoint != RANDOM or (asked.who, asked.endpoint, asked.key) in self.model.remembered)
        ]

    def _mortal(self) -> list[tuple[str, datetime]]:
        """License keys that are going to expire, and when."""
        used = {key: each.end for key, each in self.model.licenses.items() if each.state == "assigned"}
        return [(key, end) for key, end in used.items() if end is not None and end > self.model.now]

    def _license_key(self, pick: int) -> str:
        """One of those there are; now and then one that never was."""
        known = list(self.model.licenses)
        return "unknown" if pick == 9 else known[pick % len(known)]

    def _ask(self, who: int, endpoint: str, fields: dict[str, Any], key: str | None) -> None:
        asked = Asked(who % len(self.model.api_keys), endpoint, fields, key)
        self.asked = [*self.asked[-20:], asked]
        self._send(asked)

    def _send(self, asked: Asked) -> None:
        self.sent_since_start += 1
        model, fields = self.model, asked.fields
        answer = self._post(asked)
        name = (asked.who, asked.endpoint, asked.key or "")
        before = model.remembered.get(name)
        is_repeated = answer.http.headers.get("idempotent-replayed") == "true"
        if before is None or model.refused(asked.who, asked.endpoint) is not None:
            assert not is_repeated
            assert answer.code == model.expected(asked.who, asked.endpoint, fields)
            keys = self._given(answer, fields)
            done = model.carried_out(fields, answer.code, keys)
            if done and asked.key is not None:
                model.remembered[name] = Request(fields, answer.http.content)
        elif before.fields == fields:
            assert is_repeated
            assert answer.http.content == before.body
        else:
            assert not is_repeated
            assert (answer.status, answer.code) == (409, 901)
            assert list(answer.errors) == ["idempotency_key"]

    def _post(self, asked: Asked) -> Answer:
        fields = {"api_key": self.model.api_keys[asked.who].secret, **asked.fields}
        headers = {}
        if asked.key is not None and asked.in_body:
            fields["idempotency_key"] = asked.key
        elif asked.key is not None:
            headers["Idempotency-Key"] = asked.key
        desk = self.stage.desks[self.model.product_of(asked.fields)]
        return desk.post(f"/api/v1/{asked.endpoint}", fields, encoding=asked.encoding, headers=headers)

    def _given(self, answer: Answer, fields: dict[str, Any]) -> list[str]:
        """The license keys in an answer, after a look whether they are what there should be."""
        model, payload = self.model, answer.payload
        match answer.code:
            case 815:
                given: list[str] = payload["licenseKeys"]
                (form,) = {each.form for each in model.generators if each.id == fields["generator_id"]}
                assert all(re.fullmatch(form, key) for key in given)
                assert len(set(given) - model.licenses.keys()) == len(given) == fields["quantity"]
            case 803:
                given = [row["license_key"] for row in payload["license_keys"]]
                available = model.available(model.product_of(fields))
                assert len(set(given)) == len(given) == fields["quantity"]
                assert len(available.intersection(given)) == min(len(available), len(given))
                assert not model.licenses.keys() & set(given) - available
            case 900:
                given = []
                new, sent = len(model.not_stored(fields)), len(json.loads(fields["license_keys"]))
                assert (payload["created"], payload["duplicate"]) == (new, sent - new)
            case 802:
                given = []
                assert payload["available_quantity"] == len(model.available(model.product_of(fields)))
            case _:
                given = []
        return given

    # What always holds.

    @invariant()
    def what_is_stored_is_what_the_model_knows(self) -> None:
        licenses = self.model.licenses.items()
        assert self.stage.office.storage.read(_stored) == (
            {
                key: (
                    *("blocked" if each.state in {"suspended", "revoked"} else each.state, each.assigned_at),
                    *(each.activation_limit, each.validity, each.deleted),
                )
                for key, each in licenses
            },
            {(key, identifier) for key, each in licenses for identifier in each.active_on},
            {(key, name): value for key, each in licenses for name, value in each.meta.items()},
            {each.id: (each.cap, each.made) for each in self.model.generators if each.cap is not None},
            len(self.model.remembered),
            self.model.batches,
        )

    def teardown(self) -> None:
        report = check(self.stage.office.storage, self.stage.office.keystore, now=self.model.now)
        assert report.is_clean, report


def _stored(session: Session) -> tuple[Any, ...]:
    rows = {row.id: row for row in session.scalars(select(LicenseKey))}
    active = session.scalars(select(Activation).where(Activation.status == "active"))
    return (
        {
            row.license_key: (
                row.status,
                row.assigned_at,
                row.activation_limit,
                row.validity,
                row.deleted_at is not None,
            )
            for row in rows.values()
        },
        {(rows[each.license_key_id].license_key, each.identifier) for each in active},
        {
            (rows[each.license_key_id].license_key, each.key): each.value
            for each in session.scalars(select(LicenseKeyMeta))
        },
        {each.generator_id: (each.cap, each.issued) for each in session.scalars(select(GeneratorCap))},
        session.scalars(text("SELECT count(*) FROM idempotency_records")).one(),
        session.scalars(text("SELECT count(*) FROM batches")).one(),
    )


@pytest.fixture
def stage(installation: Installation) -> Iterator[Stage]:
    stage = Stage(installation)
    yield stage
    stage.close()


def run(
    stage: Stage, examples: int, steps: int, *, always_the_same: bool = True, phases: Collection[Phase] = tuple(Phase)
) -> None:
    """Any of a number of lives, each with a number of steps; the shortest program that fails is printed."""

    class VendorHere(Vendor):
        def __init__(self) -> None:
            super().__init__(stage)

    run_state_machine_as_test(
        VendorHere,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=always_the_same,
            phases=phases,
            database=None,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_whatever_is_asked_the_answer_is_the_one_of_the_model(stage: Stage) -> None:
    # Always the same, so that a change is not blamed for what another one did.
    run(stage, EXAMPLES, STEPS)


@pytest.mark.slow
def test_whatever_else_is_asked(stage: Stage) -> None:
    run(stage, MORE_EXAMPLES, MORE_STEPS, always_the_same=False)


# Servers with one fault each, which are found within the number of examples above. Each fault is planted in this
# process, where the server's thread runs.

Plant = Callable[[pytest.MonkeyPatch], None]


def _one_activation_too_many(patch: pytest.MonkeyPatch) -> None:
    reached = licenses.limit_reached
    patch.setattr(licenses, "limit_reached", lambda limit, activations: reached(limit, activations - 1))


def _nothing_expires(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "is_expired", lambda *_: False)


def _an_hour_too_short(patch: pytest.MonkeyPatch) -> None:
    is_expired = licenses.is_expired
    hour = timedelta(hours=1)
    patch.setattr(licenses, "is_expired", lambda begin, days, now: is_expired(begin, days, now + hour))


def _done_again(patch: pytest.MonkeyPatch) -> None:
    scope_of = idempotency.scope_of
    numbers = count()
    patch.setattr(idempotency, "scope_of", lambda who, name, key: scope_of(who, name, f"{key}{next(numbers)}"))


def _any_request_is_the_same(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(idempotency, "fingerprint_of", lambda _: bytes(32))


def _one_endpoint_for_all(patch: pytest.MonkeyPatch) -> None:
    scope_of = idempotency.scope_of
    patch.setattr(idempotency, "scope_of", lambda who, _, key: scope_of(who, "any", key))


def _kept_too_short(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(records, "KEPT_DAYS", 6)


def _kept_too_long(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(records, "KEPT_DAYS", 8)


def _revoked_keys_work(patch: pytest.MonkeyPatch) -> None:
    load = authenticate._load  # noqa: SLF001 -- where the server knows of it

    def active(session: Session, digest: bytes) -> Any:
        found = load(session, digest)
        return None if found is None else replace(found, status="active")

    patch.setattr(authenticate, "_load", active)


def _keys_of_a_product_are_for_all(patch: pytest.MonkeyPatch) -> None:
    load = authenticate._load  # noqa: SLF001 -- as above

    def unlimited(session: Session, digest: bytes) -> Any:
        found = load(session, digest)
        return None if found is None else replace(found, caller=replace(found.caller, scope=scope.EVERYTHING))

    patch.setattr(authenticate, "_load", unlimited)


def _cap_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batch_store, "_counted", lambda *_: True)


def _cap_overlooked_by_random_assignment(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cap_store, "count_on", lambda *_, **__: None)


def _forgets_at_its_start(patch: pytest.MonkeyPatch) -> None:
    really_open = open_services

    def forgetful(*given: Any, **more: Any) -> Services:
        services = really_open(*given, **more)
        if not more:
            services.storage.write(lambda session: session.execute(text("DELETE FROM idempotency_records")))
        return services

    patch.setitem(globals(), "open_services", forgetful)


PLANTS: list[Plant] = [
    _cap_not_counted,
    _nothing_expires,
    _forgets_at_its_start,
    _one_activation_too_many,
    _an_hour_too_short,
    _done_again,
    _any_request_is_the_same,
    _one_endpoint_for_all,
    _kept_too_short,
    _kept_too_long,
    _revoked_keys_work,
    _keys_of_a_product_are_for_all,
    _cap_overlooked_by_random_assignment,
]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("plant", first(3, PLANTS), ids=lambda plant: plant.__name__.strip("_"))
def test_a_fault_is_found(plant: Plant, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="state = VendorHere"):
        run(stage, EXAMPLES, STEPS, phases=[Phase.generate])
