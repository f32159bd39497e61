"""Malformed and odd input: the verdict of each is written down, and is the same on both databases."""

from collections import Counter

import pytest
from tests.support.malformed import Row, corpus
from tests.support.raw import send
from tests.support.world import World, counts

CORPUS = corpus()
STATUS = {100: 401, 1702: 413, 1703: 400, 1704: 415}

# reliability.md 2.2, where the family is about requests of this API.
LEAST = {1: 60, 2: 25, 3: 30, 4: 40, 5: 20, 6: 30, 7: 40, 8: 40, 9: 60, 10: 40, 13: 30, 14: 40, 15: 50, 16: 15, 20: 10}


def test_the_corpus_is_as_large_as_it_was_planned() -> None:
    sizes = Counter(row.family for row in CORPUS)
    assert {family: size for family, size in LEAST.items() if sizes[family] < size} == {}
    assert sizes.keys() == LEAST.keys()


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: f"{row.family}: {row.name}")
def test_the_verdict_is_the_one_that_was_written_down(world: World, row: Row) -> None:
    key = world.keys["good"]
    headers = [(name, value.replace(b"@KEY@", key.encode())) for name, value in row.headers]
    body = row.body.replace(b"@KEY@", key.encode())
    before = counts(world.storage)
    response = send(world.api.base_url, row.method, row.path.replace("@KEY@", key), headers, body)
    answer = world.api.check(response)
    assert answer.code == row.code
    assert answer.status == STATUS.get(row.code, 200)
    if row.code != 815:
        assert counts(world.storage) == before
