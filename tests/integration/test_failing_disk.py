"""A disk that fails while SQLite commits: nobody can tell whether it was made, and nobody claims to."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.world import execute

from hanaper.refusal import OutcomeUnknown
from hanaper.storage.session import Session
from hanaper.web.services import Services

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
A_MEGABYTE = 2**20
CREATE = "CREATE TABLE notes (note BLOB)"


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """The operating system fails to write more, as a broken disk does: the error is no "disk full"."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def log_of(services: Services) -> Path:
    file = services.storage.database.file
    assert file is not None
    return file.with_name(file.name + "-wal")


def note(size: int) -> Callable[[Session], object]:
    return lambda session: session.execute(text("INSERT INTO notes VALUES (zeroblob(:size))"), {"size": size})


def test_the_outcome_of_a_commit_that_fails_to_write_is_unknown(services: Services) -> None:
    execute(services.storage, text(CREATE))
    log = log_of(services)
    with (
        no_file_grows_beyond(log.stat().st_size + A_MEGABYTE),
        pytest.raises(OutcomeUnknown, match="in the midst of a commit"),
    ):
        services.storage.write(note(3 * A_MEGABYTE))
    services.storage.write(note(1))
    sizes = text("SELECT length(note) FROM notes")
    assert services.storage.read(lambda session: session.scalars(sizes).all()) in ([1], [3 * A_MEGABYTE, 1])
