"""How long it takes to refuse an API key tells nothing of the right ones (reliability.md T34)."""

import asyncio
import logging
import random
import string
import zlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from itertools import chain, combinations, count
from statistics import median
from time import perf_counter_ns
from uuid import uuid4

import pytest
from sqlalchemy import event
from tests.support.ways import NOTICEABLE, way, welch

from hanaper.access import authenticate, key_format, manage
from hanaper.access.authenticate import Presented
from hanaper.clock import utc_now
from hanaper.protocol import codes
from hanaper.refusal import Refusal
from hanaper.storage.configuration import Configuration, Snapshot
from hanaper.storage.session import Session
from hanaper.web.services import Services

SAMPLES = 50_000
"""Of each class."""
FEW, MANY = 60, 5_000
"""Of the same few wrong keys a processor learns the way by heart, and it is that which would be measured."""

Classes = dict[str, list[str]]
ADDRESS = ip_address("192.0.2.1")
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
MISTYPED = "own, wrong checksum"
_logger = logging.getLogger(__name__)


def random_text(length: int) -> str:
    return "".join(random.choices(BASE62, k=length))  # noqa: S311 -- wrong keys


def with_checksum(body: str) -> str:
    """Anybody can compute it: what follows is what he does who knows the format."""
    value = zlib.crc32(body.encode())
    return body + "".join(BASE62[value // 62**place % 62] for place in reversed(range(6)))


def as_it_is(key: str) -> str:
    return key


def wrong(right: list[str], fresh: Callable[[], str], complete: Callable[[str], str] = as_it_is) -> Classes:
    """Wrong API keys of one shape, by class: as many of each as there are right ones.

    Args:
        right: those that there are, without what completes them.
        fresh: makes one of the same length that there is not.
    """

    def prefixed(key: str) -> str:
        known = random.randrange(len(key) // 3, len(key) - 1)  # noqa: S311 -- as above
        return key[:known] + fresh()[known:]

    def ended(key: str) -> str:
        ends = (fresh()[-1] for _ in count())
        return key[:-1] + next(end for end in ends if end != key[-1])

    return {
        "unknown": [complete(fresh()) for _ in right],
        "known prefix": [complete(prefixed(key)) for key in right],
        "wrong last character": [complete(ended(key)) for key in right],
    }


def own_but_wrong(keys: list[str]) -> Classes:
    return wrong([key[:52] for key in keys], lambda: "hnp_live_" + random_text(43), with_checksum)


def all_families(right: Classes) -> dict[str, Classes]:
    """Wrong keys of every shape. Within a family nothing may tell one class from another."""
    return {
        "own": own_but_wrong(right["active"]),
        MISTYPED: wrong(right["active"], lambda: "hnp_live_" + random_text(49)),
        "imported": wrong(right["imported"], lambda: random_text(40)),
        "UUID": wrong(right["UUID"], lambda: str(uuid4())),
    }


def right_keys(services: Services, number: int = FEW) -> Classes:
    """API keys that are stored: so many active ones of each shape, and a few such as are refused."""
    now = utc_now()

    def make(session: Session) -> Classes:
        def create(expires_in: timedelta | None = None) -> tuple[int, str]:
            terms = manage.Terms("T", expires_at=None if expires_in is None else now + expires_in)
            row, key = manage.create(session, "live", terms, pepper=services.pepper, now=now)
            return row.id, key

        imported, uuids = [random_text(40) for _ in range(number)], [str(uuid4()) for _ in range(number)]
        for key in imported + uuids:
            manage.import_key(session, key, manage.Terms("T"), pepper=services.pepper, now=now)
        revoked = [create() for _ in range(FEW)]
        for api_key_id, _ in revoked:
            manage.revoke(session, api_key_id, now=now)
        return {
            "active": [create()[1] for _ in range(number)],
            "imported": imported,
            "UUID": uuids,
            "revoked": [key for _, key in revoked],
            "expired": [create(timedelta(seconds=1))[1] for _ in range(FEW)],
        }

    return services.storage.write(make)


class Door:
    """What a request's API key goes through, and nothing else."""

    def __init__(self, services: Services, snapshot: Snapshot) -> None:
        self._pepper = services.pepper
        self._snapshot = snapshot
        self._now = utc_now() + timedelta(hours=1)

    async def refuses(self, key: str) -> int:
        """With which code; 0 where it opens."""
        given = authenticate.presented(key, self._pepper)
        sender = authenticate.Credentials(key, ADDRESS)
        try:
            await authenticate.authenticate(self._snapshot, sender, given, endpoint="generate", now=self._now)
        except Refusal as refusal:
            return refusal.code.number
        return 0


async def door(services: Services, *keys: list[str]) -> Door:
    """The door, once all that is remembered of these keys has been read."""
    opened = Door(services, await Configuration(services.storage).snapshot())
    for key in chain([key_format.new("live")], *keys):
        await opened.refuses(key)
    return opened


def hasty(right: str) -> Callable[[str, bytes], Presented]:
    """The fault: what somebody presents is compared with a right key as it stands, until a character differs."""

    def presented(key: str, pepper: bytes) -> Presented:
        for given, expected in zip(key, right, strict=False):
            if given != expected:
                return Presented(None, bytes(32))
        return Presented(key, key_format.digest(pepper, key))

    return presented


async def ways(opened: Door, classes: Classes) -> set[tuple[tuple[str, int], ...]]:
    found = set()
    for key in chain(*classes.values()):
        found.add(tuple(await way(partial(opened.refuses, key))))
        assert await opened.refuses(key) == codes.INVALID_API_KEY.number
    return found


async def times(opened: Door, classes: Classes) -> dict[str, list[int]]:
    """Nanoseconds that each refusal of each class took, drawn in random order."""
    drawn = [(name, random.choice(keys)) for name, keys in classes.items() for _ in range(SAMPLES)]  # noqa: S311 -- as above
    random.shuffle(drawn)
    # Made anew in this order: where a class lies in memory is not what is measured.
    presented = [(name, key[:1] + key[1:]) for name, key in drawn]
    taken: dict[str, list[int]] = {name: [] for name in classes}
    for name, key in presented:
        began = perf_counter_ns()
        await opened.refuses(key)
        took = perf_counter_ns() - began
        taken[name].append(took)
    return taken


def compared(family: str, taken: dict[str, list[int]]) -> list[float]:
    """Welch's t of each two classes, which is noted, too."""
    found = []
    for one, other in combinations(taken, 2):
        found.append(welch(taken[one], taken[other]))
        spent = f"{median(taken[one]):.0f} and {median(taken[other]):.0f} ns"
        _logger.info("%s: %s, %s: %s, t = %.1f", family, one, other, spent, found[-1])
    return found


def test_all_wrong_keys_of_a_family_go_the_same_way(services: Services) -> None:
    right = right_keys(services)
    statements: list[str] = []

    def note(*said: object) -> None:
        statements.append(str(said[2]))

    async def compare() -> None:
        opened = await door(services, right["active"])
        assert await opened.refuses(right["active"][0]) == 0
        event.listen(services.storage.engine, "before_cursor_execute", note)
        for family, classes in all_families(right).items():
            [lines] = await ways(opened, classes)
            functions = {function for function, _ in lines}
            assert {"presented", "normal", "authenticate"} <= functions
            assert ("digest" in functions) == (family != MISTYPED)
        assert statements == []

    asyncio.run(compare())


def test_who_compares_characters_is_seen_to_go_other_ways(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check has to be one that would find something."""
    [right, *_] = right_keys(services)["active"]
    monkeypatch.setattr(authenticate, "presented", hasty(right))

    async def compare() -> None:
        opened = await door(services)
        assert len(await ways(opened, own_but_wrong([right] * 20))) > 10

    asyncio.run(compare())


@pytest.mark.slow
def test_times_do_not_tell_wrong_keys_of_a_family_apart(services: Services) -> None:
    right = right_keys(services, MANY)
    families = all_families(right)
    families["right, but"] = {
        "unknown": families["own"]["unknown"],
        "revoked": right["revoked"],
        "expired": right["expired"],
    }

    async def measure() -> dict[str, dict[str, list[int]]]:
        opened = await door(services, right["revoked"], right["expired"])
        return {family: await times(opened, classes) for family, classes in families.items()}

    told = {family: compared(family, taken) for family, taken in asyncio.run(measure()).items()}
    # The other answer, 101, says openly what these times would; and only to who has the whole key.
    del told["right, but"]
    assert all(abs(value) < NOTICEABLE for values in told.values() for value in values)


@pytest.mark.slow
def test_times_tell_who_compares_characters(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    [right, *_] = right_keys(services)["active"]
    monkeypatch.setattr(authenticate, "presented", hasty(right))

    async def measure() -> dict[str, list[int]]:
        opened = await door(services)
        return await times(opened, own_but_wrong([right] * MANY))

    assert all(abs(value) > NOTICEABLE for value in compared("fault", asyncio.run(measure())))
