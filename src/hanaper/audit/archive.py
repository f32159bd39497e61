"""Rows that are pruned, in a file: JSON lines, which can be verified as long as the installation is there.

The first line says behind which row they begin, the last one has the checkpoint they end with, and each between them a
row, as it was hashed, with its link of the chain. Both ends are cuts, which the installation knows its own from.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hanaper.audit import rules, store
from hanaper.audit.prune import Plan
from hanaper.audit.rules import Checkpoint, Link, Row
from hanaper.audit.verify import Advance, Verdict
from hanaper.refusal import Invalid, Unavailable
from hanaper.storage.session import Session
from hanaper.storage.snapshot import one_snapshot

_FORMAT = "hanaper audit archive"
_VERSION = 1
_ROW = len(Row._fields)

Found = TypeVar("Found")


class Sealed(NamedTuple):
    """A row, and the hash of the chain up to it."""

    row: Row
    hash: bytes


def write(session: Session, file: Path, wanted: Plan, *, advance: Advance = lambda _: None) -> None:
    """Write what would be pruned into an empty file.

    Raises:
        Unavailable: the file cannot be written.
    """
    one_snapshot(session)
    behind, up_to = wanted.behind, wanted.up_to
    rows = store.all_rows(session, after=behind.event_id, up_to=up_to.event_id)
    links = store.all_links(session, after=behind.event_id)
    try:
        with file.open("w", encoding="ascii") as stream:
            stream.write(_line({_FORMAT: _VERSION, "behind": behind.event_id, "hash": behind.hash.hex()}))
            for row, link in zip(rows, links, strict=False):
                stream.write(_line({"row": row, "hash": link.hash.hex()}))
                advance(1)
            stream.write(_line({"checkpoint": up_to.token}))
    except OSError as error:
        raise Unavailable(f"{file} cannot be written ({error.strerror})") from error


def verify(file: Path, ends: Sequence[Checkpoint], *, advance: Advance = lambda _: None) -> Verdict:
    """Compare every row of an archive with its link, and both its ends with cuts of the installation.

    Args:
        file: of the archive.
        ends: the checkpoints of those cuts.
        advance: told how many more rows have been looked at.

    Raises:
        Invalid: it cannot be read, or is no archive.
    """
    verdict, known = Verdict(), {(end.event_id, end.hash): end for end in [rules.NOTHING, *ends]}
    lines = _lines(file)
    link = _read(file, next(lines, None), _beginning)
    if (link.event_id, link.hash) not in known:
        text = f"this installation was never pruned up to row {link.event_id} as it was then"
        verdict.add("truncated", link.event_id + 1, text)
    end: Checkpoint | None = None
    for line in lines:
        content = _read(file, line, _content)
        if not isinstance(content, Sealed):
            end = content
            break
        row, following = content
        verdict.rows += 1
        verdict.sealed += 1
        advance(1)
        if row.id <= link.event_id or rules.chained(link.hash, row) != following:
            text = f"it does not follow row {link.event_id} as it was sealed: it, or what stood between, was changed"
            verdict.add("edited", row.id, text)
        link = Link(row.id, following)
    if not verdict.rows or (link.event_id, link.hash) not in known or next(lines, None) is not None:
        text = f"this installation was never pruned up to row {link.event_id} as it is here"
        verdict.add("truncated", link.event_id + 1, text)
    elif end != known[link.event_id, link.hash]:
        verdict.add("checkpoint", link.event_id, "the checkpoint at its end is not the one it was cut off with")
    else:
        verdict.checkpoints = 1
    return verdict


def _line(content: dict[str, object]) -> str:
    return json.dumps(content, separators=(",", ":"), default=repr) + "\n"


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="ascii") as stream:
            yield from stream
    except OSError as error:
        raise Invalid(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{file} is no archive of the audit log") from error


def _read(file: Path, line: str | None, read: Callable[[Any], Found]) -> Found:
    try:
        return read(json.loads(line or ""))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise Invalid(f"{file} is no archive of the audit log, or not a whole one") from error


def _beginning(line: dict[str, Any]) -> Link:
    if line[_FORMAT] != _VERSION:
        raise ValueError
    return Link(int(line["behind"]), bytes.fromhex(line["hash"]))


def _content(line: dict[str, Any]) -> Sealed | Checkpoint | None:
    if "checkpoint" in line:
        return rules.from_token(str(line["checkpoint"]))
    values = line["row"]
    if len(values) != _ROW or not isinstance(values[0], int):
        raise ValueError
    return Sealed(Row._make(values), bytes.fromhex(line["hash"]))
