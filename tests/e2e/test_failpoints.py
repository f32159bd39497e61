"""What fails at which point: what the client is told, and what it gets when it asks again (reliability.md T3).

Each point of a request's way through the server, by each thing that may happen there.
"""

import logging
import os
import random
from typing import get_args
from uuid import uuid4

import pytest
from tests.support.failpoints import Action, Again, Failpoints, Point, Told, counted, failpoints
from tests.support.processes import Hanaper
from tests.support.store_check import Findings, Unsettled, check, check_settled

from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

Expected = tuple[Told, Again]
CYCLES = int(os.environ.get("HANAPER_TEST_FAILPOINT_CYCLES", "8"))

LOST: Expected = ("nothing", "anew")
"""The connection breaks, nothing is done, and who asks again has it done."""
LOST_BUT_DONE: Expected = ("nothing", "repeated")
FAILED: Expected = ("failed", "anew")
NOT_KNOWN: Expected = ("not known", "anew")
NOT_KNOWN_BUT_DONE: Expected = ("not known", "repeated")
SPOILT_BUT_DONE: Expected = ("nothing true", "repeated")
DONE: Expected = ("license keys", "repeated")
EITHER = (LOST, LOST_BUT_DONE)

BEFORE_THE_COMMIT: dict[Action, Expected] = {"kill": LOST, "raise": FAILED, "sleep": DONE}
TABLE: dict[Point, dict[Action, Expected | tuple[Expected, ...]]] = {
    "after-auth": {**BEFORE_THE_COMMIT},
    "before-sign": {**BEFORE_THE_COMMIT, "spoil": FAILED},
    "after-sign": {**BEFORE_THE_COMMIT, "spoil": FAILED},
    "after-verify": {**BEFORE_THE_COMMIT},
    "tx-open": {**BEFORE_THE_COMMIT},
    "after-quota": {**BEFORE_THE_COMMIT},
    "after-insert": {**BEFORE_THE_COMMIT},
    "before-commit": {**BEFORE_THE_COMMIT},
    "inside-commit": {"kill": EITHER, "raise": NOT_KNOWN_BUT_DONE, "sleep": DONE},
    "after-commit": {"kill": LOST_BUT_DONE, "raise": NOT_KNOWN_BUT_DONE, "sleep": DONE},
    "mid-body": {"kill": LOST_BUT_DONE, "raise": LOST_BUT_DONE, "sleep": DONE, "spoil": SPOILT_BUT_DONE},
}
NOT_SPOILT: dict[Point, str] = {
    "after-auth": "hands on who asks; no bytes of an answer are made of it that could be wrong and signed",
    "after-verify": "nothing looks at the bytes again: a test of its own shows that check-store finds them",
    "tx-open": "hands nothing on",
    "after-quota": "hands on yes or no; a wrong yes is refused by the constraint of the cap's row",
    "after-insert": "hands on ids of batches, of which nothing goes out",
    "before-commit": "hands nothing on; the answer was made and signed before",
    "inside-commit": "hands nothing on; a commit only ends or fails",
    "after-commit": "hands on ids of batches, of which nothing goes out",
}
"""Where no wrong bytes can be returned, or not in this table, and why."""
ON_POSTGRESQL: dict[Point, dict[Action, Expected]] = {
    # It goes on with a commit whose client is gone; and a connection that is terminated before the end of one has none.
    "inside-commit": {"kill": LOST_BUT_DONE, "raise": NOT_KNOWN},
}
ALL: list[tuple[Point, Action]] = [(point, action) for point, actions in TABLE.items() for action in actions]
IN_A_GROUP: frozenset[Point] = frozenset({"tx-open", "after-quota", "after-insert", "before-commit"})
_logger = logging.getLogger(__name__)


def expected(kind: str, point: Point, action: Action) -> tuple[Expected, ...]:
    """What may come of it."""
    row = TABLE[point][action]
    if kind == "postgresql":
        row = ON_POSTGRESQL.get(point, {}).get(action, row)
    return row if isinstance(row[0], tuple) else (row,)


def go_through(hanaper: Hanaper, kind: str, cycles: int, pause_s: float) -> None:
    """Let each thing happen at each point; then nothing is lost, doubled, torn or left over."""
    chance = random.Random(cycles)  # noqa: S311 -- a test wants to be repeated
    differing = []
    with failpoints(hanaper, pause_s) as at:
        for _ in range(cycles):
            for point, action in chance.sample(ALL, len(ALL)):
                (came,) = at.ask_through(point, action)
                if came not in expected(kind, point, action):
                    differing.append((point, action, came))
        assert differing == []
        _settled(hanaper, at)
    _logger.info("%d points and actions, %d times each: all as tabled", len(ALL), cycles)


def _settled(hanaper: Hanaper, at: Failpoints) -> None:
    pem = (hanaper.data_dir / "public-keys" / "product-1.pem").read_bytes()
    with Storage.open(hanaper.settings) as storage:
        assert check(storage, pem, at.acknowledged) == Findings()
        assert check_settled(storage, at.given) == Unsettled()
    assert counted(hanaper) == sum(len(answer.license_keys) for answer in at.acknowledged)
    assert hanaper("check-store", "--json").json["findings"] == []


def test_whatever_fails_wherever_comes_to_what_is_tabled(demo_on_either: Hanaper, database_kind: str) -> None:
    go_through(demo_on_either, database_kind, 1, pause_s=0.3)


def test_every_point_and_every_action_is_tabled() -> None:
    assert set(TABLE) == set(get_args(Point))
    for point, actions in TABLE.items():
        assert {*actions, *(["spoil"] if point in NOT_SPOILT else [])} == set(get_args(Action))
        assert not (point in NOT_SPOILT and "spoil" in actions)


def beside(kind: str, point: Point, action: Action) -> set[Expected]:
    """What may come to those who ask at the same time, in the same group and process or not."""
    return {DONE, *expected(kind, point, action), *(EITHER if action == "kill" else ())}


@pytest.mark.slow
def test_who_asks_beside_it_is_unharmed_or_told_as_clearly(demo_on_either: Hanaper, database_kind: str) -> None:
    differing = []
    with failpoints(demo_on_either, 0.3) as at:
        for point, action in ALL:
            came = at.ask_through(point, action, beside=3)
            # A group in which something fails is written one by one, so all of them may be done.
            redone = action == "raise" and point in IN_A_GROUP
            met = redone or set(came) & set(expected(database_kind, point, action))
            if not met or set(came) - beside(database_kind, point, action):
                differing.append((point, action, came))
        assert differing == []
        _settled(demo_on_either, at)


@pytest.mark.slow
def test_and_does_so_each_time(demo_on_either: Hanaper, database_kind: str) -> None:
    go_through(demo_on_either, database_kind, CYCLES, pause_s=3)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("fault", "point", "action", "came"),
    [
        ("early_answer", "before-commit", "kill", ("license keys", "anew")),
        ("told_as_failed", "after-commit", "raise", ("failed", "repeated")),
        ("unverified", "after-sign", "spoil", ("nothing true", "repeated")),
    ],
)
def test_a_server_with_a_fault_does_not(
    demo_on_either: Hanaper, fault: str, point: Point, action: Action, came: Expected
) -> None:
    with failpoints(demo_on_either, 0, fault) as at:
        key = uuid4().hex
        with at.arm(point, action):
            first = at.ask(key)
        assert (first.told, "repeated" if at.ask(key).repeated else "anew") == came
    assert came not in expected("sqlite", point, action)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_is_spoilt_after_it_was_verified_is_found_in_the_store(demo_on_either: Hanaper) -> None:
    # Between there and the network nothing looks at it again. It is stored as it went out, so it can be found.
    with failpoints(demo_on_either, 0) as at:
        assert at.ask("one").told == "license keys"
        with at.arm("after-verify", "spoil"):
            assert at.ask("another").told == "nothing true"
    report = demo_on_either("check-store", "--json", status=1).json
    assert {finding["kind"] for finding in report["findings"]} == {"signature", "record"}
