"""License keys through many lives: any use case after any other, beside a plain model (reliability.md T17).

The model knows nothing of `licenses/rules.py`: what a state allows is written down here a second time. Only the table
of moves is looked at, to see that nothing stored ever changes otherwise.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy import update as sql_update
from tests.support.slow import first
from tests.support.world import add_generator, add_product, execute

from hanaper.access.authenticate import OPERATOR, Caller
from hanaper.activation.activate import Place, activate
from hanaper.activation.deactivate import deactivate
from hanaper.activation.details import details
from hanaper.activation.verify import verify
from hanaper.assignment.assign import Owner, assign, assign_and_activate
from hanaper.assignment.random_assign import Wish, random_assign
from hanaper.issuing.formats import Recipe
from hanaper.issuing.models import Generator
from hanaper.licenses import rules
from hanaper.licenses.delete import delete
from hanaper.licenses.models import Activation, LicenseKey
from hanaper.licenses.rules import State
from hanaper.licenses.update import BadChange, Changes, NotFound, update
from hanaper.products import store as products
from hanaper.products.models import Product
from hanaper.refusal import Refusal
from hanaper.registration.register import Terms, register
from hanaper.settings import ExpiryRule
from hanaper.storage.scope import EVERYTHING, Scope
from hanaper.storage.session import Session
from hanaper.web.services import Services

pytestmark = pytest.mark.long

EXAMPLES = first(1, [10, int(os.environ.get("HANAPER_TEST_STATE_EXAMPLES", "40"))])
STEPS = 30
WALKS = first(1, [12, int(os.environ.get("HANAPER_TEST_STATE_WALKS", "20"))])
STEPS_OF_A_WALK = 60

BEGIN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
LAX, STRICT = 1, 2  # the products: only the second asks for licenses that have not expired
ONLY_LAX = Caller(1, Scope(frozenset({LAX})))
UNKNOWN = "unknown"
GENERATED = (3, 365)  # the limit and the validity of what is generated
TARGETS = {
    "available": "available",
    "reserved": "reserved",
    "assigned": "assigned",
    "blocked": "suspended",
    "suspended": "suspended",
    "revoked": "revoked",
}
COLUMNS = {
    "available": ("available", None),
    "reserved": ("reserved", None),
    "assigned": ("assigned", None),
    "suspended": ("blocked", "suspended"),
    "revoked": ("blocked", "revoked"),
}
Names: TypeAlias = tuple[str | None, str | None]


@dataclass
class Known:
    """What the model knows of a license key. An identifier has the moment of its activation; None: it has ended."""

    product: int
    state: str
    limit: int
    validity: int
    owner: Names = (None, None)
    assigned_at: datetime | None = None
    deleted: bool = False
    activations: dict[str, datetime | None] = field(default_factory=dict)

    @property
    def active(self) -> set[str]:
        return {identifier for identifier, moment in self.activations.items() if moment is not None}

    def end_activations(self) -> None:
        self.activations = dict.fromkeys(self.activations)


@dataclass(frozen=True)
class Seen:
    """What is stored of a license key."""

    product: int
    columns: tuple[str, str | None]
    limit: int
    validity: int
    owner: Names
    assigned_at: datetime | None
    deleted: bool
    activations: tuple[tuple[str, datetime | None], ...]

    @property
    def state(self) -> State:
        return rules.stored_state(*self.columns)

    @property
    def active(self) -> int:
        return sum(moment is not None for _, moment in self.activations)


# Most of it happens to the same few, so that they live long lives.
PICKS = [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 9]
LATER_PICKS = [2, 3, 4, 5, 9]
TEXTS = [f"N{number}" for number in range(8)]
IDENTIFIERS = ["a", "a", "b", "b", "c", "d", ""]
LIMITS = [0, 1, 2, 3]
VALIDITIES = [0, 1, 2, 30, rules.LONGEST_VALIDITY_DAYS]
OWNERS: list[Names] = [(None, None), ("A", "a@example.com"), (None, "b@example.com")]
CALLERS = [*[OPERATOR] * 7, ONLY_LAX]
EXPIRIES: list[ExpiryRule] = ["product", "product", "always", "never"]
WORDS = [*TARGETS, "assigned", "assigned", "assigned", "suspended", "nonsense"]
PRODUCTS = [LAX, STRICT]
DAYS_AGO = [None, 0, 1, 2, 400]
OPEN = [True, True, True, False]
NEW_PRODUCTS = [None, None, None, LAX, STRICT, 99]
FORWARDS = [INSTANT, timedelta(days=1), timedelta(days=1) + INSTANT, timedelta(days=30)]
LATE = [timedelta(0), INSTANT]

picks, later_picks = st.sampled_from(PICKS), st.sampled_from(LATER_PICKS)
texts, identifiers = st.sampled_from(TEXTS), st.sampled_from(IDENTIFIERS)
limits, validities, owners = st.sampled_from(LIMITS), st.sampled_from(VALIDITIES), st.sampled_from(OWNERS)
callers, expiries, words = st.sampled_from(CALLERS), st.sampled_from(EXPIRIES), st.sampled_from(WORDS)
products_, days_ago = st.sampled_from(PRODUCTS), st.sampled_from(DAYS_AGO)


class Lives(RuleBasedStateMachine):
    """Calls use cases, and expects of each what the model says."""

    def __init__(self, services: Services, met: set[tuple[str, object]]) -> None:
        super().__init__()
        self.services = services
        self.met = met
        self.now = BEGIN
        self.known: dict[str, Known] = {}
        self.seen: dict[str, Seen] = {}
        self.open = {LAX: True, STRICT: True}
        self.loop = asyncio.Runner()

        def empty(session: Session) -> None:
            for model in (Activation, LicenseKey):
                session.execute(sql_delete(model))

        services.storage.write(empty)
        for product in (LAX, STRICT):
            self._set_product(product, is_open=True)

    def teardown(self) -> None:
        self.loop.close()

    # What the model says.

    def named(self, pick: int) -> str:
        """One of the license keys there are or were; now and then one that never was."""
        return UNKNOWN if pick == 9 or not self.known else list(self.known)[pick % len(self.known)]

    def existing(self, text: str, caller: Caller) -> Known | None:
        known = self.known.get(text)
        if known is None or known.deleted or (caller is ONLY_LAX and known.product != LAX):
            return None
        return known

    def expired(self, known: Known, expiry: ExpiryRule) -> bool:
        if known.validity == 0 or known.assigned_at is None or expiry == "never":
            return False
        counts = expiry == "always" or known.product == STRICT
        # In seconds, without the calendar: it ends where the calendar does.
        return counts and (self.now - known.assigned_at).total_seconds() > known.validity * 86_400

    def is_open(self, known: Known) -> bool:
        return self.open[known.product]

    def family(self, known: Known | None, identifier: str, expiry: ExpiryRule) -> int | None:
        """The checks that verification and activation have in common (protocol.md 4.3); None: passed."""
        if known is None:
            return 210
        if not self.is_open(known):
            return 203
        if known.state in {"suspended", "revoked"}:
            return 204
        if known.state != "assigned":
            return 201
        if not identifier:
            return 215
        return 205 if self.expired(known, expiry) else None

    def verdict(self, text: str, identifier: str, caller: Caller, expiry: ExpiryRule) -> int:
        known = self.existing(text, caller)
        refused = self.family(known, identifier, expiry)
        if refused is not None:
            return refused
        assert known is not None
        return 200 if identifier in known.active else 202

    def give(self, known: Known, owner: Names) -> None:
        assert known.assigned_at is None
        known.state, known.owner, known.assigned_at = "assigned", owner, self.now

    def moved(self, known: Known, target: str) -> None:
        if target == known.state:
            return
        known.state = target
        if target == "assigned" and known.assigned_at is None:
            known.assigned_at = self.now
        if target in {"available", "reserved"} and known.assigned_at is not None:
            known.owner, known.assigned_at = (None, None), None
        if target in {"available", "reserved", "revoked"}:
            known.end_activations()

    # What is called.

    def write(self, work: Callable[[Session], Any]) -> Any:
        return self.services.storage.write(work)

    @initialize(validity=validities, limit=limits, product=products_)
    def begin(self, validity: int, limit: int, product: int) -> None:
        self.create(["N0"], "assigned", limit, validity, product, (None, None), None)
        self.create(["N1"], "assigned", limit, validity, STRICT, (None, None), None)
        self.create(["N2"], "available", limit, validity, LAX, (None, None), None)
        self.create(["N3"], "reserved", limit, validity, LAX, (None, None), None)

    @rule(
        some=st.lists(texts, min_size=1, max_size=3),
        word=st.sampled_from(list(TARGETS)),
        limit=limits,
        validity=validities,
        product=products_,
        owner=owners,
        ago=days_ago,
    )
    def create(
        self, some: list[str], word: str, limit: int, validity: int, product: int, owner: Names, ago: int | None
    ) -> None:
        state = rules.named_state(word)
        assert state is not None
        began = None if ago is None else self.now - timedelta(days=ago)
        terms = Terms(limit, validity, state, *owner, began)
        told = self.write(lambda session: register(session, some, product, terms, scope=EVERYTHING, now=self.now))
        new = set(some) - self.known.keys()
        assert told == (len(new), len(some) - len(new))
        for text in dict.fromkeys(some):
            if text in new:
                known = Known(product, TARGETS[word], limit, validity, owner)
                if known.state == "assigned":
                    known.assigned_at = began or self.now
                elif known.state in {"suspended", "revoked"}:
                    known.assigned_at = began
                self.known[text] = known

    @rule(pick=picks, owner=owners, caller=callers)
    def assign(self, pick: int, owner: Names, caller: Caller) -> None:
        text = self.named(pick)
        told = self.write(lambda session: assign(session, text, Owner(*owner), caller=caller, now=self.now))
        known = self.existing(text, caller)
        expected = known is not None and self.is_open(known) and known.state in {"available", "reserved"}
        assert told is expected
        self.met.add(("assign", told))
        if expected:
            assert known is not None
            self.give(known, owner)

    @rule(pick=picks, owner=owners, identifier=identifiers, caller=callers)
    def assign_and_activate(self, pick: int, owner: Names, identifier: str, caller: Caller) -> None:
        text = self.named(pick)
        outcome = self.write(
            lambda session: assign_and_activate(
                session, text, Owner(*owner), Place(identifier), caller=caller, now=self.now
            )
        )
        known = self.existing(text, caller)
        if known is None:
            expected = 801
        elif not self.is_open(known):
            expected = 203
        elif known.state in {"suspended", "revoked"}:
            expected = 204
        elif known.state == "assigned":
            expected = 801
        elif not identifier:
            expected = 215
        else:
            expected = 300
            assert known.active == set()
            self.give(known, owner)
            known.activations[identifier] = self.now
        assert outcome.code.number == expected
        self.met.add(("assign and activate", expected))

    @rule(product=products_, quantity=st.integers(1, 3), generate=st.booleans(), owner=owners, caller=callers)
    def random_assign(self, product: int, quantity: int, generate: bool, owner: Names, caller: Caller) -> None:  # noqa: FBT001 -- drawn
        available = {
            text
            for text, known in self.known.items()
            if (known.product, known.state, known.deleted) == (product, "available", False)
        }
        wish = Wish(product, quantity, generate)
        refused, rows = None, []
        try:
            rows = self.write(
                lambda session: random_assign(session, wish, Owner(*owner), caller=caller, now=self.now).rows
            )
        except Refusal as refusal:
            refused = refusal
        self.met.add(("random assign", 803 if refused is None else refused.code.number))
        if refused is not None:
            if not self.open[product] or (caller is ONLY_LAX and product != LAX):
                assert refused.code.number == 805
            else:
                assert refused.code.number == 802
                assert not generate
                assert refused.payload == {"available_quantity": len(available)}
                assert len(available) < quantity
            return
        assert self.open[product]
        assert len({row.license_key for row in rows}) == quantity
        for row in rows:
            if row.license_key in self.known:
                assert row.license_key in available
            else:
                assert generate
                assert quantity > len(available)
                self.known[row.license_key] = Known(product, "available", *GENERATED)
            self.give(self.known[row.license_key], owner)

    @rule(pick=picks, some=st.lists(identifiers, min_size=1, max_size=4), caller=callers, expiry=expiries)
    def activate(self, pick: int, some: list[str], caller: Caller, expiry: ExpiryRule) -> None:
        self.use(self.named(pick), some, caller, expiry)

    def use(self, text: str, some: list[str], caller: Caller, expiry: ExpiryRule) -> None:
        for identifier in some:
            self._activate(text, identifier, caller, expiry)
            self.what_is_stored_is_what_the_model_knows()

    def _activate(self, text: str, identifier: str, caller: Caller, expiry: ExpiryRule) -> None:
        outcome = self.write(
            lambda session: activate(session, text, Place(identifier), caller=caller, expiry=expiry, now=self.now)
        )
        known = self.existing(text, caller)
        expected = self.family(known, identifier, expiry)
        if expected is None:
            assert known is not None
            if identifier in known.active:
                expected = 301
            elif known.limit and len(known.active) >= known.limit:
                expected = 302
            else:
                expected = 300
                known.activations[identifier] = self.now
        assert outcome.code.number == expected
        self.met.add(("activate", expected))

    @rule(pick=picks, identifier=identifiers | st.none(), caller=callers)
    def deactivate(self, pick: int, identifier: str | None, caller: Caller) -> None:
        text = self.named(pick)
        if identifier is None:
            # One that is active, where there is one.
            identifier = min(self.known[text].active, default="a") if text in self.known else "a"
        outcome = self.write(lambda session: deactivate(session, text, identifier, caller=caller, now=self.now))
        known = self.existing(text, caller)
        if known is None:
            expected = 210
        elif not identifier:
            expected = 215
        elif identifier not in known.active:
            expected = 401
        else:
            expected = 400
            known.activations[identifier] = None
        assert outcome.code.number == expected
        self.met.add(("deactivate", expected))

    @rule(pick=picks, some=st.lists(words, min_size=1, max_size=4), caller=callers)
    def update_status(self, pick: int, some: list[str], caller: Caller) -> None:
        text = self.named(pick)
        for word in some:
            self.move(text, word, caller)
            self.what_is_stored_is_what_the_model_knows()

    def move(self, text: str, word: str, caller: Caller = OPERATOR) -> None:
        self._update(text, Changes(status=word), caller)

    @rule(
        pick=picks,
        word=st.none() | words,
        limit=st.none() | limits,
        validity=st.none() | validities,
        owner=owners,
        ago=days_ago,
        product=st.sampled_from(NEW_PRODUCTS),
        caller=callers,
    )
    def update_anything(
        self,
        pick: int,
        word: str | None,
        limit: int | None,
        validity: int | None,
        owner: Names,
        ago: int | None,
        product: int | None,
        caller: Caller,
    ) -> None:
        began = None if ago is None else self.now - timedelta(days=ago)
        self._update(self.named(pick), Changes(product, limit, validity, word, *owner, began), caller)

    def _update(self, text: str, changes: Changes, caller: Caller) -> None:
        before = self.existing(text, caller)
        expected, known = self._updated(before, changes, caller)
        refused = None
        try:
            self.write(lambda session: update(session, text, changes, caller=caller, now=self.now))
        except NotFound:
            refused = "not found"
        except BadChange as change:
            refused = change.field
        assert refused == expected
        self.met.add(("update", refused))
        if known is not None:
            if before is not None and before.state != known.state:
                self.met.add((before.state, known.state))
            self.known[text] = known

    def _updated(self, before: Known | None, changes: Changes, caller: Caller) -> tuple[str | None, Known | None]:
        """What is refused, if anything, and what becomes of a license key."""
        if before is None:
            return "not found", None
        known = replace(before, activations=dict(before.activations))
        if changes.product is not None:
            if changes.product not in self.open or (caller is ONLY_LAX and changes.product != LAX):
                return "product_id", None
            assert isinstance(changes.product, int)
            known.product = changes.product
        if changes.status is not None:
            if changes.status not in TARGETS:
                return "status", None
            blocked_again = changes.status == "blocked" and known.state == "revoked"
            if not blocked_again:
                if known.state == "revoked" and changes.status != "revoked":
                    return "status", None
                if (
                    changes.status == "assigned"
                    and known.state in {"available", "reserved"}
                    and not self.is_open(known)
                ):
                    return "product_id", None
                self.moved(known, TARGETS[changes.status])
        known.limit = known.limit if changes.activation_limit is None else changes.activation_limit
        known.validity = known.validity if changes.validity is None else changes.validity
        name, email = known.owner
        known.owner = (changes.owner_name or name, changes.owner_email or email)
        if known.assigned_at is not None and changes.assigned_at is not None:
            known.assigned_at = changes.assigned_at
        return None, known

    @rule(pick=later_picks, caller=callers)
    def delete(self, pick: int, caller: Caller) -> None:
        text = self.named(pick)
        told = self.write(lambda session: delete(session, text, caller=caller, now=self.now))
        known = self.existing(text, caller)
        assert (told is not None) == (known is not None)
        self.met.add(("delete", told is not None))
        if known is not None:
            known.deleted = True
            known.end_activations()

    @rule(product=products_, is_open=st.sampled_from(OPEN))
    def open_or_close_a_product(self, product: int, is_open: bool) -> None:  # noqa: FBT001 -- drawn
        self._set_product(product, is_open=is_open)

    def _set_product(self, product: int, *, is_open: bool) -> None:
        def change(session: Session) -> None:
            row = products.find(session, product, scope=EVERYTHING)
            assert isinstance(row, Product)
            row.status = "active" if is_open else "inactive"
            row.require_non_expired = int(product == STRICT)

        self.write(change)
        self.open[product] = is_open

    @rule(forward=st.sampled_from(FORWARDS))
    def time_goes_on(self, forward: timedelta) -> None:
        self.now += forward

    @rule(pick=picks, late=st.sampled_from(LATE))
    def the_end_of_a_validity_comes(self, pick: int, late: timedelta) -> None:
        known = self.known.get(self.named(pick))
        if known is not None and known.assigned_at is not None and 0 < known.validity <= 365:
            self.now = max(self.now, known.assigned_at + timedelta(days=known.validity) + late)

    @rule(pick=picks, identifier=identifiers, caller=callers, expiry=expiries)
    def verify(self, pick: int, identifier: str, caller: Caller, expiry: ExpiryRule) -> None:
        text = self.named(pick)
        known = self.known.get(text)
        for name in sorted({identifier, "", "a", *(() if known is None else known.activations)}):
            self._verify(text, name, caller, expiry)

    def _verify(self, text: str, identifier: str, caller: Caller, expiry: ExpiryRule) -> None:
        async def verified() -> int:
            outcome = await verify(
                text,
                identifier,
                caller=caller,
                snapshot=await self.services.configuration.snapshot(anew=True),
                storage=self.services.storage,
                expiry=expiry,
                now=self.now,
            )
            return outcome.code.number

        expected = self.verdict(text, identifier, caller, expiry)
        assert self.loop.run(verified()) == expected
        self.met.add(("verify", expected))
        shown = self.services.storage.read(
            lambda session: details(session, text, identifier, caller=caller, expiry=expiry, now=self.now)
        )
        assert shown.code.number == (500 if expected == 200 else expected)

    # What always holds.

    @invariant()
    def what_is_stored_is_what_the_model_knows(self) -> None:
        stored = self.stored()
        assert stored == {
            text: Seen(
                known.product,
                COLUMNS[known.state],
                known.limit,
                known.validity,
                known.owner,
                known.assigned_at,
                known.deleted,
                tuple(sorted(known.activations.items())),
            )
            for text, known in self.known.items()
        }
        for text, now in stored.items():
            self.is_consistent(now)
            before = self.seen.get(text)
            if before is not None:
                self.is_a_move(before, now)
        assert self.seen.keys() <= stored.keys()
        self.seen = stored

    def is_consistent(self, now: Seen) -> None:
        """A single license key, whatever came before."""
        status, reason = now.columns
        assert (status == "blocked") == (reason is not None)
        assert status != "assigned" or now.assigned_at is not None
        assert status not in {"available", "reserved"} or now.assigned_at is None
        if now.deleted or now.state not in {State.ASSIGNED, State.SUSPENDED}:
            assert now.active == 0

    def is_a_move(self, before: Seen, now: Seen) -> None:
        """A license key before and after one step."""
        assert now.state is before.state or now.state in rules.MOVES[before.state]
        if before.state is State.REVOKED:
            assert now.state is State.REVOKED
        if before.deleted:
            assert now == before
        if now.active > before.active:
            assert now.state is State.ASSIGNED
            assert now.limit == 0 or now.active <= now.limit
        if now.state in {State.AVAILABLE, State.RESERVED} and before.state is State.ASSIGNED:
            assert now.assigned_at is None

    def stored(self) -> dict[str, Seen]:
        def read(session: Session) -> dict[str, Seen]:
            used: dict[int, dict[str, datetime | None]] = {}
            for license_key_id, identifier, status, moment in session.execute(
                select(Activation.license_key_id, Activation.identifier, Activation.status, Activation.activated_at)
            ):
                uses = used.setdefault(license_key_id, {})
                assert identifier not in uses
                uses[identifier] = moment if status == "active" else None
            columns = (
                LicenseKey.id,
                LicenseKey.license_key,
                LicenseKey.product_id,
                LicenseKey.status,
                LicenseKey.block_reason,
                LicenseKey.activation_limit,
                LicenseKey.validity,
                LicenseKey.owner_name,
                LicenseKey.owner_email,
                LicenseKey.assigned_at,
                LicenseKey.deleted_at,
            )
            return {
                row.license_key: Seen(
                    row.product_id,
                    (row.status, row.block_reason),
                    row.activation_limit,
                    row.validity,
                    (row.owner_name, row.owner_email),
                    row.assigned_at,
                    row.deleted_at is not None,
                    tuple(sorted(used.get(row.id, {}).items())),
                )
                for row in session.execute(select(*columns))
            }

        return self.services.storage.read(read)


def step(lives: Lives, random: Random) -> None:
    """One use case by chance. Hypothesis is good at the smallest failing case, and poor at coming far."""

    def some(of: list[Any], most: int) -> list[Any]:
        return [random.choice(of) for _ in range(random.randint(1, most))]

    pick, caller, expiry = random.choice(PICKS), random.choice(CALLERS), random.choice(EXPIRIES)
    product, owner, identifier = random.choice(PRODUCTS), random.choice(OWNERS), random.choice(IDENTIFIERS)
    limit, validity, ago = random.choice(LIMITS), random.choice(VALIDITIES), random.choice(DAYS_AGO)
    word = random.choice(WORDS)
    steps: list[Callable[[], None]] = [
        lambda: lives.create(some(TEXTS, 3), random.choice(list(TARGETS)), limit, validity, product, owner, ago),
        lambda: lives.assign(pick, owner, caller),
        lambda: lives.assign_and_activate(pick, owner, identifier, caller),
        lambda: lives.random_assign(product, random.randint(1, 3), random.random() < 0.3, owner, caller),
        lambda: lives.activate(pick, some(IDENTIFIERS, 4), caller, expiry),
        lambda: lives.activate(pick, some(IDENTIFIERS, 4), caller, expiry),
        lambda: lives.deactivate(pick, random.choice([None, identifier]), caller),
        lambda: lives.update_status(pick, some(WORDS, 4), caller),
        lambda: lives.update_status(random.choice([2, 3]), some(WORDS, 4), caller),
        lambda: lives.update_anything(
            pick,
            random.choice([None, word]),
            random.choice([None, limit]),
            random.choice([None, validity]),
            owner,
            ago,
            random.choice(NEW_PRODUCTS),
            caller,
        ),
        lambda: lives.time_goes_on(random.choice(FORWARDS)),
        lambda: lives.the_end_of_a_validity_comes(pick, random.choice(LATE)),
        lambda: lives.verify(pick, identifier, caller, expiry),
        lambda: lives.verify(pick, identifier, caller, expiry),
    ]
    if random.random() < 0.1:
        steps = [
            lambda: lives.delete(random.choice(LATER_PICKS), caller),
            lambda: lives.open_or_close_a_product(product, random.choice(OPEN)),
        ]
    random.choice(steps)()
    lives.what_is_stored_is_what_the_model_knows()


ALL_THAT_CAN_COME = {
    *(("assign", outcome) for outcome in (True, False)),
    *(("delete", outcome) for outcome in (True, False)),
    *(("assign and activate", code) for code in (300, 203, 204, 215, 801)),
    *(("random assign", code) for code in (803, 802, 805)),
    *(("activate", code) for code in (300, 301, 302, 201, 203, 204, 205, 210, 215)),
    *(("deactivate", code) for code in (400, 401, 210, 215)),
    *(("verify", code) for code in (200, 201, 202, 203, 204, 205, 210, 215)),
    *(("update", outcome) for outcome in (None, "not found", "status", "product_id")),
    *((origin, target) for origin in COLUMNS for target in COLUMNS if origin not in {target, "revoked"}),
}
"""What has to be met with at least once, for the test to mean something; the last line are the moves."""


@pytest.fixture
def two_products(services: Services) -> Services:
    """The second has a generator, too, and both of them make license keys on the same terms."""
    strict, _ = add_product(services, "strict")
    assert strict == STRICT
    add_generator(services, STRICT, Recipe("uuid"))
    limit, validity = GENERATED
    execute(services.storage, sql_update(Generator).values(activation_limit=limit, validity=validity))
    return services


@pytest.mark.parametrize("examples", EXAMPLES)
def test_whatever_is_done_the_states_of_license_keys_are_those_of_the_model(
    two_products: Services, examples: int
) -> None:
    class LivesHere(Lives):
        def __init__(self) -> None:
            super().__init__(two_products, set())

    # Always the same examples, so that a change is not blamed for what another one did; more of them by the variable.
    run_state_machine_as_test(
        LivesHere,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            derandomize=True,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def every_move(lives: Lives) -> None:
    """From each state to each word, forbidden moves too."""
    lives.open_or_close_a_product(LAX, is_open=True)
    for origin in TARGETS:
        for word in TARGETS:
            text = f"{origin} to {word}"
            lives.create([text], origin, 1, 30, LAX, ("A", "a@example.com"), None)
            if origin == "assigned":
                lives.use(text, ["a", "b"], OPERATOR, "product")
            lives.move(text, word)
            lives.what_is_stored_is_what_the_model_knows()


def every_refusal(lives: Lives) -> None:
    """What a caller can ask of each license key, with an identifier or without, of a product that is open or not."""
    for is_open in (False, True):
        lives.open_or_close_a_product(LAX, is_open=is_open)
        for pick in range(0, len(lives.known), 3):
            for identifier in ("", "a"):
                lives.verify(pick, identifier, OPERATOR, "product")
                lives.deactivate(pick, identifier, OPERATOR)
                lives.assign_and_activate(pick, (None, None), identifier, OPERATOR)
                lives.activate(pick, [identifier], OPERATOR, "product")


@pytest.mark.parametrize("walks", WALKS)
def test_in_long_lives_too_and_every_move_and_every_refusal_is_met_with(two_products: Services, walks: int) -> None:
    met: set[tuple[str, object]] = set()
    for seed in range(walks):
        random = Random(seed)  # noqa: S311 -- no secret
        lives = Lives(two_products, met)
        try:
            lives.begin(random.choice(VALIDITIES), random.choice(LIMITS), random.choice(PRODUCTS))
            for number in range(STEPS_OF_A_WALK):
                try:
                    step(lives, random)
                except Exception as error:
                    error.add_note(f"walk {seed}, step {number}")
                    raise
            if seed == 0:
                every_move(lives)
                every_refusal(lives)
        finally:
            lives.teardown()
    assert met == ALL_THAT_CAN_COME
