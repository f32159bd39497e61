"""A request that is one only for a lax reader is none here (T29; RFC 9112, 6.3 and 11.2)."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.raw import until_silence
from tests.support.smuggling import SHAPES, TWO
from tests.support.world import World, nothing_stored

SILENCE_S = 2.0
UNKNOWN = b'"code":1700,'

HONEST = {"none", "chunks with an extension", "two"}
"""Where there are two requests for every reader: the first has no body, or one that ends before the second."""


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
def test_nothing_is_read_into_a_request(world: World) -> None:
    shapes = {**SHAPES, "two": TWO}
    with nothing_stored(world.storage), ThreadPoolExecutor(8) as pool:
        received = pool.map(lambda shape: until_silence(world.api.base_url, shape, SILENCE_S), shapes.values())
        answers = dict(zip(shapes, received, strict=True))
    assert {name for name, each in answers.items() if UNKNOWN in each} == HONEST
    assert {name for name, each in answers.items() if b"HTTP/1.1 5" in each or not each} == set()
