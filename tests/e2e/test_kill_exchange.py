"""An exchange of signing keys that is killed, or refused by the storage, leaves keys that sign (reliability.md T21)."""

import random
import signal
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.test_signing_keys import active, ask_once, listed, published
from tests.support.mutants import mutant
from tests.support.processes import Hanaper

from hanaper.protocol import envelope
from hanaper.storage.configuration import current_version
from hanaper.storage.transactions import Storage

pytestmark = pytest.mark.long

A_FEW = 2
NOBODY = "11111111-2222-4333-8444-555555555555"
OF_PRODUCT = ("--product", "1")
GLOBAL: tuple[str, ...] = ()
OWNERS = pytest.mark.parametrize("owner", [OF_PRODUCT, GLOBAL], ids=["product", "global"])


def owner_of(owner: tuple[str, ...]) -> int | str:
    return 1 if owner else "global"


def announce(_: Hanaper, owner: tuple[str, ...]) -> tuple[str, ...]:
    return ("announce", *owner)


def activate(hanaper: Hanaper, owner: tuple[str, ...]) -> tuple[str, ...]:
    return ("activate", one_that_is(hanaper, "pending", owner) or made(hanaper, "announce", *owner), "--yes")


def rotate(_: Hanaper, owner: tuple[str, ...]) -> tuple[str, ...]:
    return ("rotate", *owner, "--yes")


def retire(hanaper: Hanaper, owner: tuple[str, ...]) -> tuple[str, ...]:
    kid = one_that_is(hanaper, "verify-only", owner)
    if kid is None:
        kid = active(hanaper, owner_of(owner))
        made(hanaper, "rotate", *owner, "--yes")
    return ("retire", kid, "--yes", "--early")


STEPS = (announce, activate, rotate, retire)
Step = Callable[[Hanaper, tuple[str, ...]], tuple[str, ...]]


def one_that_is(hanaper: Hanaper, state: str, owner: tuple[str, ...]) -> str | None:
    kids = [kid for kid, row in listed(hanaper).items() if (row["state"], row["owner"]) == (state, owner_of(owner))]
    return kids[0] if kids else None


def made(hanaper: Hanaper, *arguments: str) -> str:
    kid: str = hanaper("signing-key", *arguments, "--json").json["kid"]
    return kid


def withdrawn(hanaper: Hanaper, owner: tuple[str, ...]) -> None:
    """So that another can be announced."""
    kid = one_that_is(hanaper, "pending", owner)
    if kid is not None:
        hanaper("signing-key", "retire", kid, "--yes")


def states(hanaper: Hanaper) -> list[tuple[Any, ...]]:
    """Of all keys, in order of owner and version."""
    return sorted((str(row["owner"]), row["version"], row["state"]) for row in listed(hanaper).values())


def told(hanaper: Hanaper) -> int:
    """How many exchanges the audit log has."""
    return len(hanaper("audit", "list", "--action", "signing-key", "--limit", "100000", "--json").json)


def signs(hanaper: Hanaper, keys: list[tuple[Any, ...]]) -> None:
    """One key of each owner is active, and signs: license keys that of the product, a checkpoint the global one."""
    assert [owner for owner, _, state in keys if state == "active"] == ["1", "global"]
    hanaper("generate", "--generator", "1", "--quantity", "1")
    hanaper("audit", "seal")


def dying(hanaper: Hanaper, at: int, **more: str) -> dict[str, Any]:
    counted = str(hanaper.folder / "counted")
    return {
        **mutant("dies_at_statement"),
        "DIES_AT": str(at),
        "COUNTED": counted,
        "COVERAGE_PROCESS_CONFIG": "",
        **more,
    }


def statements(hanaper: Hanaper, step: Step, owner: tuple[str, ...]) -> int:
    """Of a step, which is taken."""
    hanaper.anew("signing-key", *step(hanaper, owner), **dying(hanaper, 0))
    return int((hanaper.folder / "counted").read_text())


def killed(hanaper: Hanaper, step: Step, owner: tuple[str, ...], places: list[int], **fault: str) -> int:
    """Take a step, killed before each of some statements; how often it was taken all the same, as a whole."""
    done = 0
    for place in places:
        if step is announce:
            withdrawn(hanaper, owner)
        command = step(hanaper, owner)
        before, rows = states(hanaper), told(hanaper)
        hanaper.anew("signing-key", *command, status=-signal.SIGKILL, **dying(hanaper, place, **fault))
        after = states(hanaper)
        assert told(hanaper) == rows + (after != before), place
        if after != before:
            done += 1
            assert after == whole(before, step, str(owner_of(owner))), place
        signs(hanaper, after)
    # Whatever was signed meanwhile verifies.
    assert hanaper("audit", "verify", "--json").json["clean"]
    assert hanaper("check-store", "--json").json["findings"] == []
    return done


def whole(before: list[tuple[Any, ...]], step: Step, owner: str) -> list[tuple[Any, ...]]:
    """What a step makes of the states."""
    mine = {version: state for name, version, state in before if name == owner}
    new, signing = max(mine) + 1, next(version for version, state in mine.items() if state == "active")
    if step is announce:
        mine[new] = "pending"
    elif step is rotate:
        mine |= {signing: "verify-only", new: "active"}
    elif step is activate:
        mine |= {signing: "verify-only", next(each for each, state in mine.items() if state == "pending"): "active"}
    else:
        mine[next(each for each, state in mine.items() if state == "verify-only")] = "destroyed"
    others = [row for row in before if row[0] != owner]
    return sorted([*others, *((owner, version, state) for version, state in mine.items())])


@pytest.mark.parametrize("step", [rotate, retire])
def test_who_is_killed_in_an_exchange_leaves_keys_that_sign(demo_on_either: Hanaper, step: Step) -> None:
    number = statements(demo_on_either, step, OF_PRODUCT)
    chance = random.Random(number)  # noqa: S311 -- a test wants to be repeated
    killed(demo_on_either, step, OF_PRODUCT, [*chance.sample(range(1, number), A_FEW), number])


@pytest.mark.slow
@OWNERS
@pytest.mark.parametrize("step", STEPS)
def test_at_whichever_statement(demo_on_either: Hanaper, step: Step, owner: tuple[str, ...]) -> None:
    number = statements(demo_on_either, step, owner)
    killed(demo_on_either, step, owner, list(range(1, number + 1)))


@pytest.mark.slow
@pytest.mark.parametrize("step", [rotate, activate, retire])
def test_one_that_commits_in_its_midst_is_found(demo_on_either: Hanaper, step: Step) -> None:
    """The planted fault."""
    number = statements(demo_on_either, step, OF_PRODUCT)
    with pytest.raises(AssertionError):
        killed(demo_on_either, step, OF_PRODUCT, list(range(1, number + 1)), COMMITS="1")


# --- refused by the storage ---


REFUSES = {
    "sqlite": "CREATE TRIGGER refuses BEFORE {event} ON {table} WHEN {when} BEGIN SELECT RAISE(ABORT, 'no'); END",
    "postgresql": "CREATE CONSTRAINT TRIGGER refuses AFTER {event} ON {table} DEFERRABLE INITIALLY {moment} "
    "FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()",
}
FUNCTION = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
PLACES = {
    "the new key": {"event": "INSERT", "table": "signing_keys", "when": "NEW.state = 'pending'"},
    "the old key": {"event": "UPDATE", "table": "signing_keys", "when": "NEW.state = 'verify_only'"},
    "its activation": {"event": "UPDATE", "table": "signing_keys", "when": "NEW.state = 'active'"},
    "its row": {"event": "INSERT", "table": "audit_events", "when": "NEW.action = 'signing-key rotate'"},
}


def version(hanaper: Hanaper) -> int:
    with Storage.open(hanaper.settings) as storage:
        return storage.read(current_version)


@OWNERS
def test_an_exchange_that_the_storage_refuses_leaves_memory_and_database_as_they_were(
    demo_on_either: Hanaper, database_kind: str, owner: tuple[str, ...]
) -> None:
    """Wherever it fails; on PostgreSQL in the commit as well."""
    hanaper = demo_on_either
    if database_kind == "postgresql":
        hanaper.sql(FUNCTION)
    moments = ("IMMEDIATE", "DEFERRED") if database_kind == "postgresql" else ("",)
    with hanaper.serving() as server:
        old, before = active(hanaper, owner_of(owner)), (states(hanaper), version(hanaper), told(hanaper))
        number = 0
        for place in PLACES.values():
            for moment in moments:
                hanaper.sql(REFUSES[database_kind].format(**place, moment=moment))
                command = ("signing-key", *rotate(hanaper, owner))
                ended = hanaper.forks.run(command, folder=hanaper.folder, environment=hanaper.environment, stdin=b"")
                assert ended.status != 0
                table = f" ON {place['table']}" if database_kind == "postgresql" else ""
                hanaper.sql(f"DROP TRIGGER refuses{table}")
                assert (states(hanaper), version(hanaper), told(hanaper)) == before
                number += 1
                assert signed_by(server.url, owner, f"order-{number}") == old
        hanaper("signing-key", *rotate(hanaper, owner))
        assert signed_by(server.url, owner, "another") == active(hanaper, owner_of(owner)) != old


def signed_by(url: str, owner: tuple[str, ...], idempotency_key: str) -> str:
    """Who signs now: of license keys the product's, of an API key that there is not the global one."""
    status, kid, body = ask_once(url, idempotency_key) if owner else ask_once(url, idempotency_key, NOBODY)
    assert status == (200 if owner else 401)
    assert published(url)[kid].accepts_envelope(envelope.decode(body))
    return kid
