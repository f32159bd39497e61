"""The image, built by whichever engine is there. `make test-image` runs what needs it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.engine import ENGINES, Engine, engine
from tests.support.image_sources import lay_out


@pytest.fixture(scope="session")
def an_engine() -> Engine:
    found = engine()
    if found is None:
        pytest.skip(f"no container engine answers: none of {', '.join(ENGINES)}")
    return found


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree") / "hanaper"
    lay_out(tree)
    return tree


@pytest.fixture(scope="session")
def image(an_engine: Engine, tree: Path) -> Iterator[str]:
    tag = f"localhost/hanaper-test:{uuid.uuid4().hex[:8]}"
    an_engine.build(tree, tag)
    yield tag
    an_engine.remove(tag)
