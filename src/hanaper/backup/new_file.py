"""A file that is there as a whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hanaper.refusal import Invalid, Unavailable
from hanaper.storage.sqlite_copy import BESIDE


@contextmanager
def new_file(file: Path) -> Iterator[Path]:
    """Make a file, mode 0600, which nobody sees before it is complete and on disk. Never over another.

    Yields:
        The path of an empty file beside it, to be filled.

    Raises:
        Invalid: there is such a file, or it cannot be made.
        Unavailable: it cannot be brought to disk.
    """
    unfinished = file.with_name(f".{file.name}.unfinished")
    _require_free(file)
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        raise Invalid(
            f"{unfinished} is there: the same command is at work, or was killed. Remove the file if none is"
        ) from error
    except OSError as error:
        raise Invalid(f"{file} cannot be made: {error.strerror}") from error
    try:
        yield unfinished
        try:
            _sync(unfinished)
            _require_free(file)
            unfinished.rename(file)
            _sync(file.parent)
        except OSError as error:
            raise Unavailable(f"{file} cannot be brought to disk: {error.strerror}") from error
    finally:
        for suffix in ("", *BESIDE):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)


def _require_free(file: Path) -> None:
    if os.path.lexists(file):
        raise Invalid(f"{file} is there already: name a new file")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
