"""What is pruned of the audit log leaves a log that is as sound as before, and an archive that can be verified."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from tests.conftest import lasting
from tests.integration.test_audit import KINDS, LINK, Log, sealer, tamper, tampering, write

from hanaper.app import open_services
from hanaper.audit import archive, keys, prune, rules, store
from hanaper.audit.models import AuditCheckpoint, AuditCut, AuditEvent, AuditLink
from hanaper.audit.prune import Plan
from hanaper.audit.record import record
from hanaper.audit.rules import Checkpoint, Cut
from hanaper.audit.verify import Verdict, look_through, verify
from hanaper.refusal import Invalid
from hanaper.storage.session import Session
from hanaper.web.services import Services

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS, EACH = 6, 7
KINDS_EACH = 3


def written(services: Services, day: int, number: int = EACH) -> None:
    """Rows of a day, sealed at its end."""

    def work(session: Session) -> None:
        for each in range(number):
            moment = BEGUN + day * DAY + timedelta(minutes=each)
            # With a gap behind each, as transactions leave them that were rolled back.
            row_id = 10 + 3 * (day * EACH + each)
            session.add(AuditEvent(id=row_id, at=moment, address="", action="a", objects="{}", request_id=f"{row_id}"))
        session.flush()
        if services.storage.database.file is None:
            session.execute(
                text("SELECT setval(pg_get_serial_sequence('audit_events', 'id'), :last)"), {"last": row_id}
            )

    services.storage.write(work)
    sealer(services).seal()


def planned(services: Services, day: int) -> Plan | None:
    return services.storage.read(lambda session: prune.plan(session, BEGUN + day * DAY))


def pruned(services: Services, day: int) -> Plan:
    """What the command does, but for the archive."""
    wanted = planned(services, day)
    assert wanted is not None

    def work(session: Session) -> None:
        prune.cut_off(session, wanted, pepper=services.pepper, now=services.clock())
        record(session, "audit prune", now=services.clock())

    services.storage.write(work)
    prune.clear(services.storage)
    return wanted


def verified(services: Services, *known: Checkpoint) -> Verdict:
    return verify(services.storage, services.keystore, known=known)


def counts(services: Services) -> tuple[int, ...]:
    """Rows, links, checkpoints, cuts."""
    tables = (AuditEvent.id, AuditLink.event_id, AuditCheckpoint.number, AuditCut.event_id)
    return services.storage.read(
        lambda session: tuple(session.scalars(select(func.count(column))).one() for column in tables)
    )


@pytest.fixture
def old(services: Services) -> Services:
    """A log of some days, and the row it began with, which is of today."""
    services.storage.write(lambda session: session.execute(text("DELETE FROM audit_events")))
    for day in range(DAYS):
        written(services, day)
    return services


def test_what_is_left_is_verified_from_there_on(old: Services) -> None:
    marks = old.storage.read(lambda session: list(store.all_checkpoints(session)))
    assert (len(marks), counts(old)) == (DAYS, (DAYS * EACH, DAYS * EACH, DAYS, 0))
    wanted = pruned(old, 2)
    assert (wanted.rows, wanted.up_to) == (2 * EACH, marks[1])
    # The link and the checkpoint behind which it goes on stay, and there is a row that tells of it.
    assert counts(old) == (4 * EACH + 1, 4 * EACH + 1, 5, 1)
    verdict = verified(old, *marks)
    assert (verdict.first, verdict.pruned_up_to) == (None, marks[1].event_id)
    assert (verdict.rows, verdict.sealed, verdict.checkpoints) == (4 * EACH + 1, 4 * EACH, 5)
    sealer(old).seal()
    last = old.storage.read(store.last_checkpoint)
    assert last is not None
    assert (last.number, last.rows) == (DAYS + 1, DAYS * EACH + 1)
    # Again, up to the end but for the row of today.
    assert planned(old, 2) is None
    assert pruned(old, DAYS).rows == 4 * EACH
    sealer(old).seal()
    verdict = verified(old, *marks, last)
    assert (verdict.first, verdict.rows, verdict.sealed, verdict.unsealed_since) == (None, 2, 2, None)
    rows = old.storage.read(lambda session: store.listed(session, since=None, action=None, limit=9))
    assert [json.loads(row.objects) for row in rows] == [
        {"checkpoint": DAYS, "rows": 4 * EACH, "up_to": marks[-1].event_id},
        {"checkpoint": 2, "rows": 2 * EACH, "up_to": marks[1].event_id},
    ]


def test_all_of_it_can_go_and_sealing_goes_on(old: Services) -> None:
    assert pruned(old, DAYS).rows == DAYS * EACH
    assert counts(old) == (1, 1, 1, 1)
    assert verified(old).first is None
    write(old, 1)
    assert sealer(old).seal() == 2
    assert (verified(old).first, verified(old).sealed) == (None, 2)


def test_only_what_is_sealed_and_as_old_as_a_whole_goes(old: Services) -> None:
    assert planned(old, 0) is None
    written(old, DAYS, 2)
    wanted = planned(old, 1)
    assert wanted is not None
    assert wanted.rows == EACH
    # In the midst of a day: its checkpoint is later.
    assert old.storage.read(lambda session: prune.plan(session, BEGUN + DAY + timedelta(minutes=3))) == wanted


def test_of_two_at_once_one_begins_again(old: Services) -> None:
    wanted = planned(old, 3)
    assert wanted is not None
    pruned(old, 2)
    with pytest.raises(Invalid, match="meanwhile: begin again"):
        old.storage.write(lambda session: prune.cut_off(session, wanted, pepper=old.pepper, now=old.clock()))
    assert counts(old)[-1] == 1


def test_what_an_interrupted_one_leaves_counts_for_nothing_and_goes_next_time(
    old: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "clear", lambda _: None)
    pruned(old, 3)
    monkeypatch.undo()
    for _ in range(2):
        assert (verified(old).first, verified(old).rows) == (None, 3 * EACH + 1)
        cut = old.storage.read(store.newest_cut)
        assert cut is not None
        old.storage.write(lambda session, cut=cut: store.delete_before(session, cut, limit=4))  # type: ignore[misc]  # bound now
    prune.clear(old.storage)
    assert counts(old) == (3 * EACH + 1, 3 * EACH + 1, 4, 1)
    assert verified(old).first is None


# --- tampering ---


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shorter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A log that was pruned."""
    opened = open_services(lasting(request, tmp_path_factory.mktemp("shorter") / "data"))
    opened.storage.write(lambda session: session.execute(text("DELETE FROM audit_events")))
    for day in range(DAYS):
        written(opened, day)
    pruned(opened, 2)
    sealer(opened).seal()
    yield opened
    opened.storage.close()


def test_whatever_is_changed_in_what_is_left_is_found_with_its_row(shorter: Services) -> None:
    tamper(shorter, range(KINDS_EACH * len(KINDS)))


def forged(log: Log, *, mac: Callable[[Cut], bytes] = lambda cut: cut.mac) -> None:
    """Somebody with the database alone cuts off what he has done; all but the secret he can have."""
    mark = log.marks[-2]
    cut = Cut.made(mark, 0, 1, b"a secret of his own")
    store.add_cut(log.session, Cut(mark, 0, 1, mac(cut)))
    log.run("DELETE FROM audit_events WHERE id <= :id", id=mark.event_id)
    log.run("DELETE FROM audit_links WHERE event_id < :id", id=mark.event_id)
    log.run("DELETE FROM audit_checkpoints WHERE event_id < :id", id=mark.event_id)


def copied(log: Log) -> None:
    """With the hash of a cut that was made."""
    made = store.newest_cut(log.session)
    assert made is not None
    forged(log, mac=lambda _: made.mac)


def moved(log: Log) -> None:
    """The cut that was made is said to be one of another row."""
    mark = log.marks[-2]
    link = bytes(log.value(LINK, id=mark.event_id))
    log.run(
        "UPDATE audit_cuts SET event_id = :id, hash = :link, rows = :rows", id=mark.event_id, link=link, rows=mark.rows
    )


def taken_away(log: Log) -> None:
    log.run("DELETE FROM audit_cuts")


def with_another_batch(log: Log) -> None:
    """So that `check-store` misses no row of a batch."""
    log.run("UPDATE audit_cuts SET last_batch = 1000000")


FORGERIES = (forged, copied, moved, taken_away, with_another_batch)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_only_the_installation_itself_can_prune(shorter: Services, forgery: Callable[[Log], None]) -> None:
    accepts = shorter.storage.read(lambda session: keys.verifiers(session, shorter.keystore))
    with tampering(shorter, accepts, seed=1) as log:
        assert look_through(log.session, accepts).first is None
        forgery(log)
        first = look_through(log.session, accepts).first
    assert first is not None
    assert first.row == 1


def test_who_prunes_a_log_that_never_was_is_found(old: Services) -> None:
    accepts = old.storage.read(lambda session: keys.verifiers(session, old.keystore))
    with tampering(old, accepts, seed=1) as log:
        forged(log)
        first = look_through(log.session, keys.verifiers(log.session, old.keystore)).first
    assert first is not None
    assert (first.kind, first.row) == ("truncated", 1)


@pytest.mark.parametrize("forgery", [forged, copied])
def test_a_verification_that_takes_every_cut_for_its_own_is_found_out(
    shorter: Services, forgery: Callable[[Log], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys.Verifiers, "has_cut", lambda *_: True)
    with pytest.raises(AssertionError):
        test_only_the_installation_itself_can_prune(shorter, forgery)


# --- archives ---


@pytest.fixture
def file(old: Services, tmp_path: Path) -> Path:
    """An archive of the second and the third day."""
    pruned(old, 1)
    wanted = planned(old, 3)
    assert wanted is not None
    old.storage.read(lambda session: archive.write(session, tmp_path / "archive", wanted))
    assert pruned(old, 3) == wanted
    return tmp_path / "archive"


def found(services: Services, file: Path) -> list[tuple[str, int]]:
    cuts = services.storage.read(lambda session: keys.own_cuts(session, services.keystore))
    verdict = archive.verify(file, [cut.checkpoint for cut in cuts])
    return [(finding.kind, finding.row) for finding in verdict.findings]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def put(file: Path, content: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in content))


def test_an_archive_has_the_rows_and_is_as_they_were_sealed(old: Services, file: Path) -> None:
    assert found(old, file) == []
    content = lines(file)
    assert len(content) == 2 * EACH + 2
    assert [line["row"][0] for line in content[1:-1]] == [10 + 3 * (EACH + number) for number in range(2 * EACH)]
    assert rules.from_token(content[-1]["checkpoint"]) is not None


def test_whatever_is_changed_in_an_archive_is_found(old: Services, file: Path) -> None:
    whole = lines(file)
    second = whole[2]["row"][0]
    for column in range(1, len(whole[2]["row"])):
        put(
            file,
            [
                *whole[:2],
                {**whole[2], "row": [*whole[2]["row"][:column], "x", *whole[2]["row"][column + 1 :]]},
                *whole[3:],
            ],
        )
        assert found(old, file) == [("edited", second)]
    last, after = whole[-2]["row"][0], whole[3]["row"][0]
    changes: list[tuple[list[dict[str, Any]], tuple[str, int]]] = [
        ([*whole[:2], *whole[3:]], ("edited", after)),
        ([*whole[:2], whole[3], whole[2], *whole[4:]], ("edited", after)),
        ([*whole[:-2], whole[-1]], ("truncated", whole[-3]["row"][0] + 1)),
        (whole[:-1], ("checkpoint", last)),
        ([*whole[:-1], {"checkpoint": whole[-1]["checkpoint"].replace("1:", "2:", 1)}], ("checkpoint", last)),
        ([*whole, whole[-1]], ("truncated", last + 1)),
        ([{**whole[0], "behind": second, "hash": whole[2]["hash"]}, *whole[3:]], ("truncated", second + 1)),
        ([{**whole[0], "hash": "00" * 32}, *whole[1:]], ("truncated", whole[0]["behind"] + 1)),
        ([whole[0], whole[-1]], ("truncated", whole[0]["behind"] + 1)),
    ]
    for change, expected in changes:
        put(file, change)
        assert expected in found(old, file), change
    put(file, whole)
    assert found(old, file) == []


def test_a_chain_that_was_made_to_fit_ends_elsewhere(old: Services, file: Path) -> None:
    whole = lines(file)
    whole[2]["row"][4] = "another"
    before = bytes.fromhex(whole[0]["hash"])
    for line in whole[1:-1]:
        before = rules.chained(before, rules.Row._make(line["row"]))
        line["hash"] = before.hex()
    put(file, whole)
    assert found(old, file) == [("truncated", whole[-2]["row"][0] + 1)]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"no archive\n", b"\xff\xfe\n", b"[]\n", b"{}\n", b'{"hanaper audit archive":2}\n'),
        b'{"hanaper audit archive":1,"behind":"x","hash":""}\n',
        b'{"hanaper audit archive":1,"behind":0,"hash":"00"}\n{"row":[1],"hash":"00"}\n',
        b'{"hanaper audit archive":1,"behind":0,"hash":"00"}\n{"row":["1",0,0,0,0,0,0,0,0,0],"hash":"00"}\n',
        b'{"hanaper audit archive":1,"behind":0,"hash":"00"}\n' + b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(Invalid, match="is no archive"):
        archive.verify(tmp_path / "file", [])


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        archive.verify(tmp_path / "none", [])


def test_what_sqlite_may_hold_in_a_column_comes_back_as_it_was_sealed(old: Services, tmp_path: Path) -> None:
    if old.storage.database.file is None:
        pytest.skip("PostgreSQL holds text only")
    file = tmp_path / "odd"
    old.storage.write(
        lambda session: session.execute(text("UPDATE audit_events SET address = x'ff', code = 1.5 WHERE id = 10"))
    )
    old.storage.write(lambda session: session.execute(text("DELETE FROM audit_links")))
    old.storage.write(lambda session: session.execute(text("DELETE FROM audit_checkpoints")))
    sealer(old).seal()
    wanted = planned(old, DAYS)
    assert wanted is not None
    old.storage.read(lambda session: archive.write(session, file, wanted))
    assert archive.verify(file, [wanted.up_to]).first is None
