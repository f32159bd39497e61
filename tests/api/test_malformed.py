"""Malformed and odd input: the verdict of each is written down, and is the same on both databases."""

from collections import Counter
from uuid import uuid4

import pytest
from tests.support.api import Answer
from tests.support.malformed import Row, corpus
from tests.support.raw import send
from tests.support.world import World, counts

CORPUS = corpus()
STATUS = {100: 401, 1702: 413, 1703: 400, 1704: 415}

# reliability.md 2.2, where the family is about requests of this API.
LEAST = {
    1: 60, 2: 25, 3: 30, 4: 40, 5: 20, 6: 30, 7: 40, 8: 40, 9: 60, 10: 40, 13: 30, 14: 40, 15: 50, 16: 15, 20: 10,
    21: 20, 22: 15,
}  # fmt: skip


def test_the_corpus_is_as_large_as_it_was_planned() -> None:
    sizes = Counter(row.family for row in CORPUS)
    assert {family: size for family, size in LEAST.items() if sizes[family] < size} == {}
    assert sizes.keys() == LEAST.keys()


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: f"{row.family}: {row.name}")
def test_the_verdict_is_the_one_that_was_written_down(world: World, row: Row) -> None:
    new = uuid4().hex
    first = None if row.before is None else sent(world, row.before, new)
    before = counts(world.storage)
    answer = sent(world, row, new)
    assert answer.status == (row.status or STATUS.get(row.code, 200))
    assert answer.http.headers.get("idempotent-replayed") == ("true" if row.replayed else None)
    if first is not None and row.replayed:
        assert answer.http.content == first.http.content
    if row.code != 815 or row.replayed:
        assert counts(world.storage) == before
    else:
        assert counts(world.storage).batches == before.batches + 1


def sent(world: World, row: Row, new: str) -> Answer:
    """The answer to a row, whose verdict has been checked."""
    placeholders = {b"@KEY@": world.keys["good"].encode(), b"@NEW@": new.encode()}

    def filled(value: bytes) -> bytes:
        for placeholder, text in placeholders.items():
            value = value.replace(placeholder, text)
        return value

    headers = [(name, filled(value)) for name, value in row.headers]
    path = filled(row.path.encode()).decode()
    answer = world.api.check(send(world.api.base_url, row.method, path, headers, filled(row.body)))
    assert answer.code == row.code
    return answer
