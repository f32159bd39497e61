"""Looking through the audit log for what was changed after it was sealed.

Rows, links and checkpoints are read side by side, in order of the row's id, in one snapshot. A link is compared with
the stored one before it, so that one row that was changed is one finding.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from hanaper.audit import keys, rules, store
from hanaper.audit.rules import Checkpoint, Cut, Link, Row
from hanaper.keystore.keys import Keystore
from hanaper.storage.session import Session
from hanaper.storage.snapshot import one_snapshot
from hanaper.storage.transactions import Storage

MOST_LISTED = 1000
Kind: TypeAlias = Literal["edited", "deleted", "inserted", "truncated", "checkpoint"]
Advance: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was sealed.

    Attributes:
        kind: one word for scripts.
        row: id of the row, or of the first that is concerned.
        text: for people.
    """

    kind: Kind
    row: int
    text: str


@dataclass
class Verdict:
    """What came of it.

    Attributes:
        rows: how many have been looked at.
        sealed: of them, behind a link.
        checkpoints: how many there are.
        pruned_up_to: the row behind which the log begins; None where it was never pruned.
        unsealed_since: when the first row was written that has not been sealed yet; None where there is none.
        found: how many findings there are.
        findings: the first of them, in order of the row.
    """

    rows: int = 0
    sealed: int = 0
    checkpoints: int = 0
    pruned_up_to: int | None = None
    unsealed_since: datetime | None = None
    found: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def first(self) -> Finding | None:
        """That of the first row."""
        return min(self.findings, key=lambda finding: finding.row, default=None)

    def add(self, kind: Kind, row: int, text: str) -> None:
        """Count a finding, and list it while there is room."""
        self.found += 1
        if len(self.findings) < MOST_LISTED:
            self.findings.append(Finding(kind, row, text))


def verify(
    storage: Storage, keystore: Keystore, *, known: Sequence[Checkpoint] = (), advance: Advance = lambda _: None
) -> Verdict:
    """Compare every row with its seal, and the seals with what was signed. Nothing is changed.

    Args:
        storage: of the log.
        keystore: proves that the keys in the database are the installation's.
        known: checkpoints out of the server's log, which somebody with the database alone cannot have changed.
        advance: told how many more rows have been looked at.

    Raises:
        Unavailable: the database does not answer.
    """

    def work(session: Session) -> Verdict:
        one_snapshot(session)
        return look_through(session, keys.verifiers(session, keystore), known=known, advance=advance)

    return storage.read(work)


def look_through(
    session: Session,
    accepts: keys.Verifiers,
    *,
    known: Sequence[Checkpoint] = (),
    advance: Advance = lambda _: None,
) -> Verdict:
    """The same in a session that sees one snapshot, with keys at hand."""
    verdict = Verdict()
    _Walk(verdict, accepts).go(session, known, advance)
    return verdict


class _Walk:
    """The way along the chain."""

    def __init__(self, verdict: Verdict, accepts: keys.Verifiers) -> None:
        self._verdict = verdict
        self._accepts = accepts
        self._link = Link(0, rules.BEGINNING)
        self._good = 0
        """Of the last checkpoint that was as it should be, the row."""
        self._counted = (0, 0)
        """Links up to the last checkpoint, as it was signed and as they were found."""
        self._told = 0
        """Findings up to there."""

    def go(self, session: Session, known: Sequence[Checkpoint], advance: Advance) -> None:
        verdict = self._verdict
        begins = self._begins(store.newest_cut(session))
        after = {} if verdict.pruned_up_to is None else {"after": verdict.pruned_up_to}
        # What is left of before counts for nothing: a pruning was interrupted, and the next one takes it along.
        stored = [mark for mark in store.all_checkpoints(session) if not after or mark.event_id >= begins.event_id]
        verdict.checkpoints = len(stored)
        self._numbers(stored, begins)
        end = store.last_link(session).event_id
        marks = _Marks([*stored, *(mark for mark in known if mark.event_id >= begins.event_id)])
        if after:
            for mark in marks.at(begins.event_id):
                self._mark(mark)
        for row_id, row, link in _side_by_side(store.all_rows(session, **after), store.all_links(session, **after)):
            self._cut_off(marks.before(row_id))
            if row is not None:
                verdict.rows += 1
                advance(1)
            if link is not None:
                self._sealed(row_id, row, link)
                for mark in marks.at(row_id):
                    self._mark(mark)
            elif row_id <= end:
                text = "it has no seal: it was put between rows that had been sealed, or its seal was taken away"
                verdict.add("inserted", row_id, text)
        self._cut_off(marks.before(None))
        signed = stored[-1].event_id if stored else begins.event_id
        if signed < end:
            verdict.add("checkpoint", signed + 1, "the checkpoint at the end of the chain is not there")
        elif stored and self._accepts.is_destroyed(stored[-1].kid):
            verdict.add("checkpoint", 1, "the key that has signed the newest checkpoint is destroyed")
        verdict.unsealed_since = store.oldest_after(session, end) if verdict.rows > verdict.sealed else None

    def _begins(self, cut: Cut | None) -> Checkpoint:
        """Where the chain begins: behind the newest cut, if it is one of this installation."""
        if cut is None:
            return rules.NOTHING
        begins = cut.checkpoint
        if not self._accepts.has_cut(cut):
            text = f"it was not this installation that pruned the log up to row {begins.event_id}"
            self._verdict.add("truncated", 1, text)
            return rules.NOTHING
        self._verdict.pruned_up_to = self._good = begins.event_id
        self._link = Link(begins.event_id, begins.hash)
        self._counted = (begins.rows, 0)
        return begins

    def _sealed(self, row_id: int, row: Row | None, link: Link) -> None:
        verdict = self._verdict
        verdict.sealed += 1
        if row is None:
            verdict.add("deleted", row_id, "it was sealed, and is not there")
        elif rules.chained(self._link.hash, row) != link.hash:
            text = (
                f"it does not follow row {self._link.event_id} as it was sealed: it, or what stood between, was changed"
            )
            verdict.add("edited", row_id, text)
        self._link = link

    def _mark(self, mark: Checkpoint) -> None:
        """Compare the chain with a checkpoint of the row it has come to."""
        if not self._accepts(mark):
            text = _unsigned(mark)
        elif mark.hash != self._link.hash or not self._counts(mark):
            text = f"the chain up to row {mark.event_id} is not the one that checkpoint {mark.number} was signed for"
        else:
            self._good = mark.event_id
            return
        self._verdict.add("checkpoint", self._good + 1, text)

    def _counts(self, mark: Checkpoint) -> bool:
        """Whether there are as many links as a checkpoint says, or a finding has told where one is missing."""
        verdict, (signed, found) = self._verdict, self._counted
        right = mark.rows - signed == verdict.sealed - found or verdict.found > self._told
        self._counted, self._told = (mark.rows, verdict.sealed), verdict.found
        return right

    def _cut_off(self, marks: Iterable[Checkpoint]) -> None:
        """Checkpoints of rows that no link is there for."""
        for mark in marks:
            if not self._accepts(mark):
                self._verdict.add("checkpoint", self._link.event_id + 1, _unsigned(mark))
                continue
            text = f"what was sealed behind row {self._link.event_id} up to row {mark.event_id} is not there"
            self._verdict.add("truncated", self._link.event_id + 1, f"{text}: checkpoint {mark.number}")

    def _numbers(self, stored: Sequence[Checkpoint], begins: Checkpoint) -> None:
        # The one it begins behind is still there.
        after = begins.event_id + 1
        for number, mark in enumerate(stored, start=max(1, begins.number)):
            if mark.number != number:
                self._verdict.add("checkpoint", after, f"checkpoint {number} is not there")
                return
            after = mark.event_id + 1


def _unsigned(mark: Checkpoint) -> str:
    return f"checkpoint {mark.number}, of row {mark.event_id}, is not signed by a key of this installation"


class _Marks:
    """Checkpoints, taken in order of their row."""

    def __init__(self, marks: Sequence[Checkpoint]) -> None:
        self._marks = sorted(marks, key=lambda mark: mark.event_id)[::-1]

    def before(self, row_id: int | None) -> Iterator[Checkpoint]:
        """Those of rows before one; None for all that are left."""
        while self._marks and (row_id is None or self._marks[-1].event_id < row_id):
            yield self._marks.pop()

    def at(self, row_id: int) -> Iterator[Checkpoint]:
        """Those of a row."""
        while self._marks and self._marks[-1].event_id == row_id:
            yield self._marks.pop()


def _side_by_side(rows: Iterator[Row], links: Iterator[Link]) -> Iterator[tuple[int, Row | None, Link | None]]:
    """Rows with their links, in order of id; None where one of the two is missing."""
    row, link = next(rows, None), next(links, None)
    while row is not None or link is not None:
        if link is None or (row is not None and row.id < link.event_id):
            assert row is not None  # noqa: S101 -- narrows the type
            yield row.id, row, None
            row = next(rows, None)
        elif row is None or link.event_id < row.id:
            yield link.event_id, None, link
            link = next(links, None)
        else:
            yield row.id, row, link
            row, link = next(rows, None), next(links, None)
