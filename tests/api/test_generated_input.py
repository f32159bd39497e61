"""Thousands of requests by chance: no failure, nothing unsigned, and both databases say the same (T24, T30)."""

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.conftest import SAMPLE_KEY, client_of, lasting
from tests.support import generated
from tests.support.api import Answer, Api, serving
from tests.support.generated import Request
from tests.support.raw import send
from tests.support.slow import first

from hanaper.app import create_app, open_services
from hanaper.clock import utc_now
from hanaper.install import install
from hanaper.licenses.models import LicenseKey
from hanaper.products.models import Product
from hanaper.storage.transactions import Storage

REQUESTS = int(os.environ.get("HANAPER_TEST_GENERATED_REQUESTS", "300"))
"""For each seed."""
STATEMENTS = int(os.environ.get("HANAPER_TEST_SQL_STATEMENTS", "1"))
"""For each field of each endpoint."""
PARTS = 3


@dataclass(frozen=True)
class Database:
    """As `lasting` wants to be told of it."""

    param: str
    request: pytest.FixtureRequest

    def getfixturevalue(self, name: str) -> Any:
        return self.request.getfixturevalue(name)


@dataclass(frozen=True)
class Side:
    """A server on one of the databases."""

    api: Api
    storage: Storage

    def ask(self, asked: Request) -> Answer:
        return self.api.check(send(self.api.base_url, asked.method, asked.path, asked.headers, asked.body))


@contextmanager
def side(kind: str, request: pytest.FixtureRequest, folder: Any) -> Iterator[Side]:
    settings = lasting(Database(kind, request), folder / kind)  # type: ignore[arg-type]  # all that is asked of it
    services = open_services(settings)
    with serving(create_app(services)) as base_url:
        api = client_of(base_url, install(settings, demo=True, now=utc_now()))
        with api.http:
            fields = {"product_id": 1, "activation_limit": 3, "validity": 0, "status": "available"}
            keys = json.dumps(generated.LICENSE_KEYS)
            api.post("/api/v1/create-license-keys", {"api_key": SAMPLE_KEY, "license_keys": keys, **fields})
            yield Side(api, services.storage)


@pytest.fixture(scope="module")
def sides(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("sides")
        yield [stack.enter_context(side(kind, request, folder)) for kind in ("sqlite", "postgresql")]


def verdict(answer: Answer) -> tuple[Any, ...]:
    """What must not depend on the database: not what was drawn, numbered or dated."""
    return answer.status, answer.signed_by, answer.code, list(answer.payload), answer.payload.get("errors")


@pytest.mark.parametrize("seed", first(2, range(40)))
def test_both_databases_come_to_the_same_verdict(sides: list[Side], seed: int) -> None:
    met: Counter[tuple[int, int | str]] = Counter()
    for asked in islice(generated.by_chance(seed), REQUESTS):
        answers = [each.ask(asked) for each in sides]
        assert verdict(answers[0]) == verdict(answers[1]), asked
        assert answers[0].status < 500, asked
        met[answers[0].status, answers[0].code] += 1
    # Not only refused at the door.
    assert len(met) > 12
    assert met[200, 901] < REQUESTS / 2


def rows(storage: Storage) -> list[int]:
    return [
        storage.read(lambda session, model=model: session.scalars(select(func.count()).select_from(model)).one())  # type: ignore[misc]
        for model in (LicenseKey, Product)
    ]


def assert_text_like_any_other(each: Side, endpoint: tuple[str, str], name: str, statement: str) -> None:
    """In a field of a request, a statement leads to the answer and the number of rows that a harmless text leads to."""
    harmless = "".join("x" if character.isascii() else "é" for character in statement)
    told = []
    for value in (harmless, statement):
        before = rows(each.storage)
        answer = each.ask(generated.with_fields(*endpoint, generated.fields_for(endpoint[1], name, value)))
        after = rows(each.storage)
        told.append((answer.status, [now - then for now, then in zip(after, before, strict=True)]))
    assert told[0] == told[1], (endpoint, name, statement)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_quote_in_any_field_of_any_endpoint_is_a_letter(sides: list[Side], part: int) -> None:
    """Where SQL is put together, a quote ends a text, and what comes behind it is no SQL."""
    for endpoint in generated.ENDPOINTS[part::PARTS]:
        for name in generated.fields_of(endpoint):
            for each in sides:
                assert_text_like_any_other(each, endpoint, name, "a'b")


@pytest.mark.slow
@pytest.mark.parametrize("place", range(len(generated.ENDPOINTS)))
def test_sql_is_text_like_any_other(sides: list[Side], place: int) -> None:
    """In whichever field it stands, also in those that the endpoint does not know."""
    chance = random.Random(place)  # noqa: S311 -- a test wants to be repeated
    for each in sides:
        for name in generated.NAMES:
            for statement in chance.sample(generated.SQL, STATEMENTS):
                assert_text_like_any_other(each, generated.ENDPOINTS[place], name, statement)
