"""An output file that a command may go on with after it was interrupted or killed.

Beside the file lies a note, `FILE.resume`, from before the first license key is stored until the last one is written.
It says which order the file belongs to; what of that order is stored, the database says.
"""

import csv
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from uuid import uuid4

from hanaper.cli.records import Format, open_output
from hanaper.refusal import Invalid

Terms = Mapping[str, object]


class Resumable:
    """The output file of one order."""

    def __init__(self, file: Path, form: Format, terms: Terms) -> None:
        """Name the file.

        Args:
            file: where the license keys go.
            form: csv or jsonl.
            terms: what the order asks for; going on with other terms is refused.
        """
        self.file = file
        self._note = file.with_name(file.name + ".resume")
        self._form = form
        self._terms = {**terms, "format": form}

    @contextmanager
    def begun(self) -> Iterator[tuple[str, TextIO]]:
        """Make the file and its note; yields the order's request id, and the stream to write to.

        Raises:
            Invalid: one of them is there already, or cannot be made.
        """
        if self._note.exists() and self.file.exists():
            raise Invalid(f"{self.file} is there already, unfinished: go on with it by --resume, or name a new file")
        request_id = uuid4().hex
        with open_output(self.file) as stream, self._noted(request_id):
            yield request_id, stream

    @contextmanager
    def resumed(self) -> Iterator[tuple[str, BinaryIO]]:
        """Open the file again; yields the order's request id, and the file to look through and to write on.

        Raises:
            Invalid: there is nothing to go on with, the order was another one, or somebody is at work on it.
        """
        try:
            with self._note.open("rb") as lock, self.file.open("r+b") as stream:
                _lock(lock, self.file)
                noted = _read(lock.read(), self._note)
                for name, value in self._terms.items():
                    if noted.get(name) != value:
                        raise Invalid(
                            f"{self.file} was begun with {name.replace('_', ' ')} {noted.get(name)}, not {value}: "
                            "repeat the command as it was"
                        )
                yield str(noted["request_id"]), stream
                stream.flush()
                os.fsync(stream.fileno())
                self._note.unlink()
        except FileNotFoundError as error:
            raise Invalid(
                f"there is nothing to go on with: {error.filename} is not there (it is removed when all is written)"
            ) from error
        except OSError as error:
            raise Invalid(f"{self.file} cannot be gone on with: {error.strerror}") from error

    def drop(self) -> None:
        """Remove the file and its note: nothing has been stored."""
        self.file.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def whole_batches(self, stream: BinaryIO, quantities: Mapping[int, int]) -> set[int]:
        """Find the batches that are written as a whole, and cut off what is behind the last of them.

        Args:
            stream: the file, at its beginning.
            quantities: of the order's batches, by id.

        Raises:
            Invalid: a line is none of this order's.
        """
        whole: set[int] = set()
        last, written, end = None, 0, 0
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                break
            if number == 1 and self._form == "csv":
                end = len(line)
                continue
            batch_id = self._batch_of(line)
            began = batch_id != last
            if batch_id is None or batch_id not in quantities or batch_id in whole or (began and written):
                raise Invalid(f"{self.file}, line {number}, is not as it was written: it cannot be gone on with")
            last, written = batch_id, written + 1
            if written == quantities[batch_id]:
                whole.add(batch_id)
                end, written = stream.tell(), 0
        stream.seek(end)
        stream.truncate()
        return whole

    def _batch_of(self, line: bytes) -> int | None:
        try:
            text = line.decode("utf-8")
            return int(json.loads(text)["batch"] if self._form == "jsonl" else next(csv.reader([text]))[-1])
        except (ValueError, LookupError, TypeError, StopIteration):
            return None

    @contextmanager
    def _noted(self, request_id: str) -> Iterator[None]:
        with open_output(self._note) as note:
            _lock(note, self.file)
            json.dump({"request_id": request_id, **self._terms}, note)
            note.flush()
            os.fsync(note.fileno())
            yield
            self._note.unlink()


def _lock(stream: TextIO | BinaryIO, file: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Invalid(f"another process is writing {file}: wait for it") from error


def _read(content: bytes, note: Path) -> dict[str, Any]:
    try:
        noted: dict[str, Any] = json.loads(content)
        noted["request_id"]
    except (ValueError, LookupError, TypeError) as error:
        raise Invalid(f"{note} is damaged: what was stored is in `hanaper key export`") from error
    return noted
