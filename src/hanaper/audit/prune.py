"""Pruning: whole sealed parts of the log are cut off at its beginning (decision 0026).

A cut is the checkpoint up to which rows are gone, under the installation's secret: nobody who has the database alone
can make one. It is stored in one transaction with its own row of the log; the rows go afterwards, some at a time, and
count for nothing from then on. Whoever is killed meanwhile leaves some, which the next pruning takes along.
"""

from dataclasses import dataclass
from datetime import datetime
from time import sleep

from hanaper.audit import rules, store
from hanaper.audit.record import about
from hanaper.audit.rules import Checkpoint, Cut
from hanaper.audit.seal import PAUSE_S
from hanaper.refusal import Invalid
from hanaper.storage.session import Session
from hanaper.storage.snapshot import one_snapshot
from hanaper.storage.transactions import Storage

ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be cut off.

    Attributes:
        behind: where the log begins until then.
        up_to: the checkpoint behind which it begins afterwards.
        last_batch: the last batch that nothing tells of any more.
    """

    behind: Checkpoint
    up_to: Checkpoint
    last_batch: int

    @property
    def rows(self) -> int:
        """How many rows go."""
        return self.up_to.rows - self.behind.rows


def plan(session: Session, before: datetime) -> Plan | None:
    """The longest part that ends with a checkpoint and has only rows from before a moment; None where there is none.

    What it says counts only once the log has been verified.
    """
    one_snapshot(session)
    cut = store.newest_cut(session)
    behind = rules.NOTHING if cut is None else cut.checkpoint
    up_to = store.last_checkpoint_before(session, before, after=behind.event_id)
    if up_to is None:
        return None
    told = store.newest_batch(session, up_to.event_id)
    return Plan(behind, up_to, max(told, store.last_batch_untold(session) or 0))


def cut_off(session: Session, wanted: Plan, *, pepper: bytes, now: datetime) -> Cut:
    """Let the log begin behind a checkpoint.

    Raises:
        Invalid: somebody else has pruned it meanwhile; nothing is changed.
    """
    cut = store.newest_cut(session)
    if (rules.NOTHING if cut is None else cut.checkpoint) != wanted.behind:
        raise Invalid("somebody else has pruned the audit log meanwhile: begin again")
    made = Cut.made(wanted.up_to, wanted.last_batch, int(now.timestamp()), pepper)
    store.add_cut(session, made)
    about(session, rows=wanted.rows, up_to=wanted.up_to.event_id, checkpoint=wanted.up_to.number)
    return made


def clear(storage: Storage) -> None:
    """Delete what stands before the newest cut, some at a time, so that requests go in between.

    Raises:
        Unavailable: the database does not answer. What is left is deleted next time.
    """
    cut = storage.read(store.newest_cut)
    if cut is None:
        return
    while storage.write(lambda session: store.delete_before(session, cut, limit=ROWS_AT_ONCE)):
        sleep(PAUSE_S)
