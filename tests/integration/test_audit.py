"""The audit log is sealed, and whatever is changed afterwards is found, with its row (reliability.md T38)."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import text
from tests.conftest import lasting

from hanaper.app import open_services
from hanaper.audit import background, keys, rules, store
from hanaper.audit.background import Background
from hanaper.audit.models import AuditEvent
from hanaper.audit.record import By, about, record
from hanaper.audit.rules import Checkpoint
from hanaper.audit.seal import Sealer
from hanaper.audit.verify import look_through, verify
from hanaper.clock import utc_now
from hanaper.storage.session import Session
from hanaper.web.services import Services

ROWS = 40
TAMPERS = 200
MANY_TAMPERS = 1000
MARKS = 5


def sealer(services: Services, *, longest_wait_s: float = 5.0) -> Sealer:
    return Sealer(
        services.storage,
        services.configuration,
        services.signing,
        services.clock,
        longest_wait_s=longest_wait_s,
    )


def write(services: Services, number: int) -> None:
    """An effect, whatever it was."""

    def work(session: Session) -> None:
        about(session, product=number, licenses=[number, number + 1], license_key=f"key {number}")
        by = By(number % 5 or None, f"192.0.2.{number}", f"request-{number}")
        record(session, f"action-{number % 7}", now=services.clock(), by=by, pepper=services.pepper, code=800 + number)

    services.storage.write(work)


# --- sealing ---


def test_sealing_takes_what_is_committed_and_nothing_is_found(services: Services) -> None:
    for number in range(5):
        write(services, number)
    unsealed = verify(services.storage, services.keystore)
    assert (unsealed.sealed, unsealed.checkpoints, unsealed.first) == (0, 0, None)
    assert unsealed.unsealed_since is not None
    assert sealer(services).seal() == unsealed.rows
    assert sealer(services).seal() == 0
    write(services, 5)
    assert sealer(services).seal() == 1
    verdict = verify(services.storage, services.keystore)
    assert (verdict.rows, verdict.sealed, verdict.checkpoints) == (unsealed.rows + 1, unsealed.rows + 1, 2)
    assert (verdict.found, verdict.unsealed_since) == (0, None)


def test_more_rows_than_one_part_are_sealed_by_one_call(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hanaper.audit.seal.ROWS_AT_ONCE", 3)
    monkeypatch.setattr("hanaper.audit.seal.PAUSE_S", 0.001)
    for number in range(8):
        write(services, number)
    sealed = sealer(services).seal()
    verdict = verify(services.storage, services.keystore)
    assert sealed == verdict.sealed == verdict.rows
    assert verdict.checkpoints == -(-sealed // 3)
    assert not verdict.found


@contextmanager
def begun(services: Services, number: int) -> Iterator[Callable[[], None]]:
    """A transaction that has drawn an id and is not committed; yields what commits it."""
    with services.storage.engine.connect() as connection, Session(connection) as session:
        record(session, f"late-{number}", now=utc_now())
        yield connection.commit


def late_row(services: Services) -> None:
    """A smaller id is committed after a larger one: on PostgreSQL transactions end in any order."""
    sealer(services).seal()
    with begun(services, 1) as commit:
        write(services, 2)
        assert sealer(services, longest_wait_s=0.1).seal() == 0
        commit()
    assert sealer(services).seal() == 2
    assert verify(services.storage, services.keystore).first is None


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_no_row_is_sealed_before_one_with_a_smaller_id(services: Services) -> None:
    late_row(services)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_sealer_that_waits_for_nobody_is_found_out(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "writers", lambda _: frozenset())
    with pytest.raises(AssertionError):
        late_row(services)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_row_that_is_rolled_back_holds_nothing_up(services: Services) -> None:
    with begun(services, 1):
        write(services, 2)
    assert sealer(services).seal() > 0
    verdict = verify(services.storage, services.keystore)
    assert (verdict.first, verdict.unsealed_since) == (None, None)


def test_of_many_sealers_at_once_each_row_is_sealed_by_one(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hanaper.audit.seal.ROWS_AT_ONCE", 2)
    for number in range(12):
        write(services, number)
    barrier, sealed = Barrier(4), list[int]()

    def work() -> None:
        mine = sealer(services)
        barrier.wait()
        sealed.append(mine.seal())

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sealed.append(sealer(services).seal())
    verdict = verify(services.storage, services.keystore)
    assert sum(sealed) == verdict.sealed == verdict.rows
    assert verdict.first is None


def test_a_row_waits_for_its_seal_less_than_a_minute(services: Services) -> None:
    """What this process seals, or another has sealed just before and then comes to once more."""
    assert background.SEAL_EVERY_S + background.SPARED_S < 60
    mine = sealer(services)
    assert mine.is_due(background.SPARED_S)
    mine.seal()
    assert not mine.is_due(background.SPARED_S)
    assert mine.is_due(0)


def test_a_server_seals_by_itself_and_tells_its_log(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    write(services, 1)
    sealing = Background(sealer(services), seal_every_s=0.01, spared_s=0)
    sealing.start()
    while verify(services.storage, services.keystore).unsealed_since is not None:
        pass
    sealing.stop()
    last = services.storage.read(store.last_checkpoint)
    assert last is not None
    assert last.token in "".join(capsys.readouterr())
    assert rules.from_token(last.token) == last


def test_what_is_signed_of_the_log_is_no_answer() -> None:
    statement = Checkpoint(1, 2, 3, bytes(32), 4).statement
    assert not statement.decode("ascii").isalnum()
    assert b"\n" in statement


def test_no_license_key_can_be_read_or_tried(services: Services) -> None:
    write(services, 1)
    rows = services.storage.read(lambda session: session.execute(text("SELECT * FROM audit_events")).all())
    assert "key 1" not in repr(rows)
    digests = {bytes(row.license_digest) for row in rows if row.license_digest is not None}
    assert digests == {rules.license_digest(services.pepper, "key 1")}
    assert rules.license_digest(b"another", "key 1") not in digests


@pytest.mark.parametrize(
    ("ids", "told"),
    [([3, 1, 2], "1-3"), ([7], "7"), ([1, 3, 4, 9], "1,3-4,9"), (range(0, 400, 2), None)],
)
def test_ids_are_told_as_ranges(ids: list[int], told: str | None) -> None:
    shown = rules.told({"licenses": list(ids)})
    assert len(shown) < 4096
    assert shown == f'{{"licenses":"{told}"}}' if told else " and 100 more" in shown


# --- tampering ---


@dataclass
class Log:
    """A sealed log, and the hands that change it."""

    services: Services
    accepts: keys.Verifiers
    session: Session = field(repr=False)
    chance: random.Random

    @property
    def begins(self) -> int:
        """The row that it was pruned up to; 0 for none."""
        return int(self.value("SELECT coalesce(max(event_id), 0) FROM audit_cuts"))

    @property
    def ids(self) -> list[int]:
        links = text("SELECT event_id FROM audit_links WHERE event_id > :begins ORDER BY event_id")
        return list(self.session.scalars(links, {"begins": self.begins}))

    @property
    def marks(self) -> list[Checkpoint]:
        return list(store.all_checkpoints(self.session))

    def run(self, statement: str, **values: object) -> None:
        self.session.execute(text(statement), values)

    def value(self, statement: str, **values: object) -> Any:
        return self.session.execute(text(statement), values).scalar_one()

    def vouched(self, row_id: int) -> int:
        """The last row of the checkpoint before a row."""
        return max((mark.event_id for mark in self.marks if mark.event_id < row_id), default=self.begins)

    def after(self, row_id: int) -> int:
        return min(other for other in self.ids if other > row_id)

    def before(self, row_id: int) -> int:
        return max((other for other in self.ids if other < row_id), default=self.begins)

    def free(self) -> int:
        """An id between sealed rows that no row has."""
        return self.chance.choice(sorted(set(range(self.begins + 1, self.ids[-1])) - set(self.ids)))

    def reseal(self, row_id: int) -> None:
        """Give a row the hash that follows from what it says now."""
        before = self.before(row_id)
        last = bytes(self.value(LINK, id=before)) if before else bytes(32)
        (row,) = store.rows(self.session, after=row_id - 1, up_to=row_id)
        self.run("UPDATE audit_links SET hash = :hash WHERE event_id = :id", id=row_id, hash=rules.chained(last, row))


LINK = "SELECT hash FROM audit_links WHERE event_id = :id"
COLUMNS = {
    "at": "'2020-01-01 00:00:00.000000'",
    "api_key_id": "coalesce(api_key_id, 0) + 1",
    "address": "address || 'x'",
    "action": "action || 'x'",
    "objects": "objects || ' '",
    "batch_id": "coalesce(batch_id, 0) + 1",
    "license_digest": None,
    "code": "coalesce(code, 0) + 1",
    "request_id": "request_id || 'x'",
}


def edited(log: Log, row_id: int | None = None, column: str = "") -> int:
    row_id = row_id or log.chance.choice(log.ids)
    column = column or log.chance.choice(sorted(COLUMNS))
    if column == "license_digest":
        new = log.chance.randbytes(32)
        log.run("UPDATE audit_events SET license_digest = :new WHERE id = :id", id=row_id, new=new)
    else:
        change = f"UPDATE audit_events SET {column} = {COLUMNS[column]} WHERE id = :id"  # noqa: S608 -- from the table above
        log.run(change, id=row_id)
    return row_id


def deleted(log: Log) -> int:
    some = log.chance.sample(log.ids, log.chance.randint(1, 3))
    for row_id in some:
        log.run("DELETE FROM audit_events WHERE id = :id", id=row_id)
    return min(some)


def deleted_with_its_link(log: Log) -> int:
    row_id = log.chance.choice(log.ids[:-1])
    at_mark = row_id in [mark.event_id for mark in log.marks]
    log.run("DELETE FROM audit_events WHERE id = :id", id=row_id)
    log.run("DELETE FROM audit_links WHERE event_id = :id", id=row_id)
    return log.before(row_id) + 1 if at_mark else log.after(row_id)


def link_deleted(log: Log) -> int:
    row_id = log.chance.choice(log.ids[:-1])
    log.run("DELETE FROM audit_links WHERE event_id = :id", id=row_id)
    return log.before(row_id) + 1 if row_id in [mark.event_id for mark in log.marks] else row_id


def inserted(log: Log) -> int:
    row_id = log.free()
    insert = "INSERT INTO audit_events (id, at, address, action, objects, request_id)"
    log.run(f"{insert} VALUES (:id, CURRENT_TIMESTAMP, '', 'generate', '{{}}', '')", id=row_id)
    return row_id


def inserted_with_a_link(log: Log) -> int:
    row_id = inserted(log)
    log.run("INSERT INTO audit_links (event_id, hash) VALUES (:id, :hash)", id=row_id, hash=bytes(32))
    log.reseal(row_id)
    return log.after(row_id)


def reordered(log: Log) -> int:
    first, second = sorted(log.chance.sample(log.ids, 2))
    for old, new in ((first, -1), (second, first), (-1, second)):
        log.run("UPDATE audit_events SET id = :new WHERE id = :old", old=old, new=new)
    return first


def links_swapped(log: Log) -> int:
    first, second = sorted(log.chance.sample(log.ids, 2))
    hashes = [bytes(log.value(LINK, id=row_id)) for row_id in (second, first)]
    for row_id, new in zip((first, second), hashes, strict=True):
        log.run("UPDATE audit_links SET hash = :new WHERE event_id = :id", id=row_id, new=new)
    at_mark = [mark for mark in log.marks if mark.event_id in (first, second)]
    return min([first, *(log.vouched(mark.event_id) + 1 for mark in at_mark)])


def moved(log: Log) -> int:
    row_id, free = log.chance.choice(log.ids), log.free()
    log.run("UPDATE audit_events SET id = :new WHERE id = :old", old=row_id, new=free)
    return min(row_id, free)


def resealed(log: Log) -> int:
    """Edited, and its own link made to fit."""
    row_id = edited(log, log.chance.choice(log.ids[:-1]))
    log.reseal(row_id)
    at_mark = row_id in [mark.event_id for mark in log.marks]
    return log.vouched(row_id) + 1 if at_mark else log.after(row_id)


def rewritten(log: Log) -> int:
    """Edited, and the chain made to fit up to its end, checkpoints too, but for their signatures."""
    row_id = edited(log)
    for other in log.ids:
        if other >= row_id:
            log.reseal(other)
    for mark in log.marks:
        if mark.event_id >= row_id:
            new = bytes(log.value(LINK, id=mark.event_id))
            log.run("UPDATE audit_checkpoints SET hash = :new WHERE number = :number", new=new, number=mark.number)
    return log.vouched(row_id) + 1


def rows_truncated(log: Log) -> int:
    first = log.chance.choice(log.ids)
    log.run("DELETE FROM audit_events WHERE id >= :id", id=first)
    return first


def truncated(log: Log) -> int:
    first = log.chance.choice(log.ids[1:])
    log.run("DELETE FROM audit_events WHERE id >= :id", id=first)
    log.run("DELETE FROM audit_links WHERE event_id >= :id", id=first)
    return log.ids[-1] + 1


def cut_off(log: Log) -> int:
    """With the checkpoints: nothing in the database tells of it."""
    mark = log.chance.choice(log.marks[:-1])
    log.run("DELETE FROM audit_events WHERE id > :id", id=mark.event_id)
    log.run("DELETE FROM audit_links WHERE event_id > :id", id=mark.event_id)
    log.run("DELETE FROM audit_checkpoints WHERE event_id > :id", id=mark.event_id)
    return mark.event_id + 1


def checkpoint_changed(log: Log) -> int:
    mark = log.chance.choice(log.marks)
    column, new = log.chance.choice(
        [
            ("hash", log.chance.randbytes(32)),
            ("signature", log.chance.randbytes(256)),
            ("rows", mark.rows - 1),
            ("signed_at", mark.signed_at + 1),
            ("kid", "0" * 16),
        ]
    )
    change = f"UPDATE audit_checkpoints SET {column} = :new WHERE number = :number"  # noqa: S608 -- from the list above
    log.run(change, new=new, number=mark.number)
    return log.vouched(mark.event_id) + 1


def checkpoint_deleted(log: Log) -> int:
    mark = log.chance.choice(log.marks)
    log.run("DELETE FROM audit_checkpoints WHERE number = :number", number=mark.number)
    return log.vouched(mark.event_id) + 1


KINDS: list[Callable[[Log], int]] = [
    *(edited, deleted, deleted_with_its_link, link_deleted, inserted, inserted_with_a_link, reordered, links_swapped),
    *(moved, resealed, rewritten, rows_truncated, truncated, cut_off, checkpoint_changed, checkpoint_deleted),
]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def sealed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A log with gaps between its ids, as transactions leave them that were rolled back, and several checkpoints."""
    opened = open_services(lasting(request, tmp_path_factory.mktemp("sealed") / "data"))
    mine, now = sealer(opened), utc_now()

    def add(session: Session, row_id: int) -> None:
        number = f"request-{row_id}"
        session.add(
            AuditEvent(id=row_id, at=now, address="", action="a", objects=f'{{"n":{row_id}}}', request_id=number)
        )

    for number in range(ROWS):
        opened.storage.write(lambda session, row_id=10 + number * 3: add(session, row_id))  # type: ignore[misc]  # bound now
        if number % (ROWS // MARKS) == ROWS // MARKS - 1:
            mine.seal()
    yield opened
    opened.storage.close()


@contextmanager
def tampering(services: Services, accepts: keys.Verifiers, seed: int) -> Iterator[Log]:
    """A transaction that is rolled back."""
    with services.storage.engine.connect() as connection, Session(connection) as session:
        yield Log(services, accepts, session, random.Random(seed))  # noqa: S311 -- to be had again by its seed
        session.rollback()
        connection.rollback()


def tamper(services: Services, seeds: range) -> None:
    accepts = services.storage.read(lambda session: keys.verifiers(session, services.keystore))
    last = services.storage.read(store.last_checkpoint)
    assert last is not None
    for seed in seeds:
        kind = KINDS[seed % len(KINDS)]
        with tampering(services, accepts, seed) as log:
            # What the server's log said; a fresh reading of it.
            told = rules.from_token(last.token)
            assert told is not None
            if seed < len(KINDS):
                assert look_through(log.session, accepts, known=[told]).first is None
            expected = kind(log)
            log.session.flush()
            first = look_through(log.session, accepts, known=[told]).first
            assert first is not None, (seed, kind.__name__)
            assert first.row == expected, (seed, kind.__name__, first)


def test_whatever_is_changed_is_found_with_its_row(sealed: Services) -> None:
    tamper(sealed, range(TAMPERS))


@pytest.mark.slow
def test_whatever_is_changed_is_found_with_its_row_a_thousand_times(sealed: Services) -> None:
    tamper(sealed, range(TAMPERS, TAMPERS + MANY_TAMPERS))


# --- planted faults: a seal that does not cover what it should, a verification that does not look ---


Patch = Callable[[pytest.MonkeyPatch], None]


def covers_no(column: str) -> Patch:
    return lambda patch: patch.setattr(
        rules, "chained", lambda before, row, right=rules.chained: right(before, row._replace(**{column: None}))
    )


def changed(column: str) -> Callable[[Log], int]:
    return lambda log: edited(log, column=column)


def without_the_row_before(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "chained", lambda _, row, right=rules.chained: right(bytes(32), row))


def signatures_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keys.Verifiers, "__call__", lambda *_: True)


FAULTS: dict[str, tuple[Patch, Callable[[Log], int]]] = {
    **{f"without {name}": (covers_no(name), changed(name)) for name in COLUMNS},
    "without the row before": (without_the_row_before, resealed),
    "signatures not looked at": (signatures_not_looked_at, rewritten),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_out(sealed: Services, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, kind = FAULTS[fault]
    accepts = sealed.storage.read(lambda session: keys.verifiers(session, sealed.keystore))
    with tampering(sealed, accepts, seed=1) as log:
        kind(log)
        assert look_through(log.session, accepts).first is not None
    plant(monkeypatch)
    with tampering(sealed, accepts, seed=1) as log:
        seal_anew(log)
        assert look_through(log.session, accepts).first is None
        kind(log)
        assert look_through(log.session, accepts).first is None, "the fault hides nothing: it is none"


def seal_anew(log: Log) -> None:
    """As it would have been sealed by the fault."""
    for row_id in log.ids:
        log.reseal(row_id)
    for mark in log.marks:
        new = replace(mark, hash=bytes(log.value(LINK, id=mark.event_id)))
        kid, signature = log.services.signing.attest(new.statement)
        values = {"hash": new.hash, "kid": kid, "signature": signature, "number": mark.number}
        log.run(
            "UPDATE audit_checkpoints SET hash = :hash, kid = :kid, signature = :signature WHERE number = :number",
            **values,
        )
