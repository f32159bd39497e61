"""A SQLite database is copied while others write to it: nobody waits, and nothing is missing (decision 0017)."""

import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from hanaper.backup.back_up import back_up, size
from hanaper.backup.contents import REASON
from hanaper.clock import utc_now
from hanaper.refusal import Fault, Unavailable
from hanaper.settings import Settings
from hanaper.storage import migrate, quarantine, sqlite, sqlite_copy
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage

_ROW = text("INSERT INTO block_list (kind, value, reason, created_at) VALUES ('identifier', :value, :reason, :now)")
_COUNT = text("SELECT count(*) FROM block_list")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path)
    with Storage.open(made) as storage:
        migrate.upgrade(storage)
    return made


@pytest.fixture
def storage(settings: Settings) -> Iterator[Storage]:
    with Storage.open(settings) as opened:
        yield opened


@pytest.fixture
def writer(settings: Settings) -> Iterator[Storage]:
    """Another process, as far as the database can tell."""
    with Storage.open(settings) as opened:
        yield opened


def add(storage: Storage, number: int) -> None:
    """Store rows, about twelve to a page, in one transaction."""

    def work(session: Session) -> None:
        session.execute(
            _ROW, [{"value": str(uuid4()), "reason": "x" * 250, "now": str(utc_now())} for _ in range(number)]
        )

    storage.write(work)


def rows_of(storage: Storage) -> int:
    return storage.read(lambda session: int(session.execute(_COUNT).scalar_one()))


def checkpoint(storage: Storage) -> None:
    """Empty the write-ahead log: who reads now needs nothing of it, and the next who writes begins it anew."""
    with storage.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)


def nothing(_: Storage) -> None:
    pass


@pytest.mark.parametrize("before", [nothing, checkpoint])
def test_what_is_written_while_it_is_copied_is_in_the_copy(
    storage: Storage,
    writer: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[Storage], None],
) -> None:
    monkeypatch.setattr(sqlite_copy, "PAGES_AT_ONCE", 20)
    add(writer, 1000)
    before(writer)
    told: list[int] = []

    def write_meanwhile(pages: int) -> None:
        told.append(pages)
        # More than a thousand pages in all: those who write try to write the log back to the file, in vain.
        add(writer, 2000)

    pages = size(storage)
    made = back_up(storage, tmp_path / "copy", clock=utc_now, advance=write_meanwhile)
    assert sum(told) == pages
    assert len(told) >= 5
    with sqlite_copy.storage_of(made.file) as copy:
        assert rows_of(copy) == rows_of(writer) == 1000 + 2000 * len(told)


def test_a_copy_is_one_file_for_its_owner_whole_and_in_quarantine(storage: Storage, tmp_path: Path) -> None:
    add(storage, 100)
    made = back_up(storage, tmp_path / "copy", clock=utc_now)
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy"]
    assert sqlite_copy.damage(made.file) is None
    with closing(sqlite.library().connect(str(made.file))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    with sqlite_copy.storage_of(made.file) as copy:
        found = copy.read(quarantine.current)
        assert found is not None
        assert (found.reason, found.since) == (REASON, made.as_of)
    assert storage.read(quarantine.current) is None


def test_who_writes_waits_only_while_the_log_is_copied(
    storage: Storage, writer: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is written after that moment is not in the copy."""
    finish = sqlite_copy.finish

    def write_before(*arguments: object) -> None:
        add(writer, 7)
        finish(*arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(sqlite_copy, "finish", write_before)
    add(writer, 5)
    made = back_up(storage, tmp_path / "copy", clock=utc_now)
    assert rows_of(writer) == 12
    with sqlite_copy.storage_of(made.file) as copy:
        assert rows_of(copy) == 5


def test_with_an_old_library_writers_wait_and_nothing_is_missing_either(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "journal_mode", lambda _: "truncate")
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 100)
    monkeypatch.setattr(sqlite_copy, "PAGES_AT_ONCE", 20)
    with Storage.open(settings) as storage, Storage.open(settings) as writer:
        add(writer, 1000)
        refused = 0

        def write_meanwhile(_: int) -> None:
            nonlocal refused
            with pytest.raises(Unavailable):
                add(writer, 1)
            refused += 1

        made = back_up(storage, tmp_path / "copy", clock=utc_now, advance=write_meanwhile)
        assert refused >= 5
        add(writer, 1)
    with sqlite_copy.storage_of(made.file) as copy:
        assert rows_of(copy) == 1000


def test_of_a_damaged_database_no_backup_is_made(storage: Storage, settings: Settings, tmp_path: Path) -> None:
    add(storage, 1000)
    checkpoint(storage)
    storage.close()
    file = settings.data_dir / "hanaper.db"
    content = bytearray(file.read_bytes())
    content[-4096 * 20 : -4096 * 10] = bytes(4096 * 10)
    file.write_bytes(content)
    with Storage.open(settings) as damaged, pytest.raises(Fault, match="run `hanaper check-store`"):
        back_up(damaged, tmp_path / "copy", clock=utc_now)
    assert not list(tmp_path.glob("*copy*"))


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow beyond a few pages."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 * 4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be made"), full_disk():
        back_up(storage, tmp_path / "copy", clock=utc_now)
    assert not list(tmp_path.glob("*copy*"))
