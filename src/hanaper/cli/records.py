"""License keys as lines of a file: CSV or JSON lines."""

import csv
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO, TypeAlias

from hanaper.refusal import Invalid

Format: TypeAlias = Literal["csv", "jsonl"]

# A spreadsheet takes text that begins like this for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class RecordWriter:
    """Writes records with the same fields."""

    def __init__(self, stream: TextIO, form: Format, fields: Sequence[str], *, header: bool = True) -> None:
        self._stream = stream
        self._fields = fields
        self._csv = csv.DictWriter(stream, fields, quoting=csv.QUOTE_MINIMAL) if form == "csv" else None
        if self._csv is not None and header:
            self._csv.writeheader()

    def write(self, record: Mapping[str, object]) -> None:
        """Write one record.

        In CSV a text that a spreadsheet would run as a formula gets an apostrophe before it, save the license key:
        that stays what it is.
        """
        if self._csv is None:
            self._stream.write(json.dumps({name: record[name] for name in self._fields}, ensure_ascii=False) + "\n")
        else:
            self._csv.writerow({name: _harmless(name, record[name]) for name in self._fields})

    def flush(self) -> None:
        """Hand over what has been written."""
        self._stream.flush()


def _harmless(name: str, value: object) -> object:
    if name != "license_key" and isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


@contextmanager
def open_output(file: Path | None) -> Iterator[TextIO]:
    """Standard output, or a new file that only its owner can read.

    Raises:
        Invalid: the file is there already, or cannot be made.
    """
    if file is None or str(file) == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as error:
        raise Invalid(f"{file} is there already: name a new file") from error
    except OSError as error:
        raise Invalid(f"{file} cannot be made: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
