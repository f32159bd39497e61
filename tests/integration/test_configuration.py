"""What is remembered of the configuration, and what makes a process forget it (decision 0007)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from time import monotonic
from uuid import uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError
from tests.conftest import Installation
from tests.support.world import counts

from hanaper.access import manage
from hanaper.access.models import ApiKey, BlockedEntry
from hanaper.clock import utc_now
from hanaper.issuing import batch_store
from hanaper.issuing.models import Batch, Generator
from hanaper.keystore.models import SigningKey
from hanaper.licenses.models import LicenseKey
from hanaper.products.models import Product
from hanaper.refusal import Unavailable
from hanaper.storage import configuration, engine
from hanaper.storage.base import Base
from hanaper.storage.configuration import Configuration, ConfigurationChanged, Snapshot, current_version
from hanaper.storage.scope import EVERYTHING
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

NOW = utc_now()
FOR_EVER = 1e9
NOT_AT_ALL = -1.0

# Each table's row is made, changed and deleted again.
BY_SQL = {
    "api_keys": (
        """INSERT INTO api_keys
               (name, kind, digest, hint, status, abilities, allowed_networks, created_at, updated_at)
           SELECT 'By hand', 'live', substr(digest, 1, 8), hint, status, abilities, allowed_networks, created_at,
               updated_at FROM api_keys WHERE id = 1""",
        "UPDATE api_keys SET status = 'inactive' WHERE name = 'By hand'",
        "DELETE FROM api_keys WHERE name = 'By hand'",
    ),
    "block_list": (
        """INSERT INTO block_list (kind, value, reason, created_at)
           SELECT 'address', '192.0.2.1', '', created_at FROM products WHERE id = 1""",
        "UPDATE block_list SET value = '192.0.2.2' WHERE value = '192.0.2.1'",
        "DELETE FROM block_list WHERE value = '192.0.2.2'",
    ),
    "products": (
        """INSERT INTO products (uuid, slug, external_reference, source, name, post_url, description, status,
               require_non_expired, created_at, updated_at)
           SELECT 'by-hand', 'by-hand', external_reference, source, name, post_url, description, status,
               require_non_expired, created_at, updated_at FROM products WHERE id = 1""",
        "UPDATE products SET deleted_at = created_at WHERE slug = 'by-hand'",
        "DELETE FROM products WHERE slug = 'by-hand'",
    ),
    "generators": (
        """INSERT INTO generators (uuid, product_id, name, method, prefix, suffix, function_name, number_of_chunks,
               chunk_length, charset, activation_limit, validity, status, created_at, updated_at)
           SELECT 'by-hand', product_id, name, method, prefix, suffix, function_name, number_of_chunks, chunk_length,
               charset, activation_limit, validity, status, created_at, updated_at FROM generators WHERE id = 1""",
        "UPDATE generators SET status = 0 WHERE uuid = 'by-hand'",
        "DELETE FROM generators WHERE uuid = 'by-hand'",
    ),
    "signing_keys": (
        """INSERT INTO signing_keys (product_id, version, kid, algorithm, bits, public_pem, private_ciphertext, kek_id,
               state, created_at)
           SELECT 99, version, 'by-hand', algorithm, bits, public_pem, private_ciphertext, kek_id, 'active', created_at
           FROM signing_keys WHERE product_id IS NULL""",
        "UPDATE signing_keys SET state = 'verify_only' WHERE kid = 'by-hand'",
        "DELETE FROM signing_keys WHERE kid = 'by-hand'",
    ),
}


def made_api_key(session: Session) -> ApiKey:
    return manage.create(session, "live", manage.Terms("By the ORM"), pepper=bytes(32), now=NOW)[0]


def made_block(session: Session) -> BlockedEntry:
    return manage.block(session, "identifier", "by-the-orm", reason="", expires_at=None, now=NOW)


def made_product(session: Session) -> Product:
    row = Product(uuid=str(uuid4()), slug="by-the-orm", name="By the ORM", created_at=NOW, updated_at=NOW)
    session.add(row)
    return row


def made_generator(session: Session) -> Generator:
    row = Generator(
        uuid=str(uuid4()),
        product_id=1,
        name="By the ORM",
        method="uuid",
        number_of_chunks=0,
        chunk_length=0,
        charset="",
        activation_limit=0,
        validity=0,
        status=1,
        created_at=NOW,
        updated_at=NOW,
    )
    session.add(row)
    return row


def made_signing_key(session: Session) -> SigningKey:
    row = SigningKey(
        product_id=99,
        version=1,
        kid="by-the-orm",
        algorithm="RSA-SHA256",
        bits=2048,
        public_pem="",
        private_ciphertext=b"",
        kek_id="",
        state="active",
        created_at=NOW,
    )
    session.add(row)
    return row


BY_THE_ORM: dict[str, tuple[Callable[[Session], Base], tuple[str, object]]] = {
    "api_keys": (made_api_key, ("status", "inactive")),
    "block_list": (made_block, ("value", "changed")),
    "products": (made_product, ("status", "inactive")),
    "generators": (made_generator, ("status", 0)),
    "signing_keys": (made_signing_key, ("state", "verify_only")),
}


def version_of(storage: Storage) -> int:
    return storage.read(current_version)


def change(storage: Storage) -> None:
    """A change of the configuration that leaves nothing behind but another version."""
    storage.write(lambda session: session.execute(text("UPDATE products SET name = name WHERE id = 1")))


# --- what draws a new version ---


@pytest.mark.parametrize("table", BY_SQL)
def test_each_change_by_sql_draws_a_new_version(session: Session, table: str) -> None:
    versions = [current_version(session)]
    for statement in BY_SQL[table]:
        assert session.connection().exec_driver_sql(statement).rowcount == 1
        versions.append(current_version(session))
    assert len(set(versions)) == 4


@pytest.mark.parametrize("table", BY_THE_ORM)
def test_each_change_by_the_orm_draws_a_new_version(session: Session, table: str) -> None:
    make, change = BY_THE_ORM[table]
    versions = [current_version(session)]
    row = make(session)
    assert row.__tablename__ == table
    session.flush()
    versions.append(current_version(session))
    setattr(row, *change)
    session.flush()
    versions.append(current_version(session))
    session.delete(row)
    session.flush()
    versions.append(current_version(session))
    assert len(set(versions)) == 4


@pytest.mark.parametrize("shared", ["postgresql"], indirect=True)
def test_emptying_a_table_draws_a_new_version(session: Session) -> None:
    before = current_version(session)
    session.execute(text("TRUNCATE block_list"))
    assert current_version(session) != before


def test_a_change_of_many_rows_at_once_draws_a_new_version(session: Session) -> None:
    for number in range(5):
        session.add(BlockedEntry(kind="identifier", value=f"{number}", reason="", expires_at=None, created_at=NOW))
    session.flush()
    before = current_version(session)
    session.execute(text("UPDATE block_list SET reason = 'all'"))
    changed = current_version(session)
    session.execute(text("DELETE FROM block_list"))
    assert len({before, changed, current_version(session)}) == 3


def test_versions_are_drawn_and_not_counted(session: Session) -> None:
    """A database that comes back from a backup counts from where it was; it does not draw the same numbers."""
    versions = []
    for number in range(20):
        session.add(BlockedEntry(kind="identifier", value=f"{number}", reason="", expires_at=None, created_at=NOW))
        session.flush()
        versions.append(current_version(session))
    assert len(set(versions)) == 20
    assert versions not in (sorted(versions), sorted(versions, reverse=True))
    assert max(versions) - min(versions) > 2**32


def test_a_change_is_seen_by_others_from_its_commit_on(services: Services, installation: Installation) -> None:
    with Storage.open(installation.settings) as other:
        before = version_of(other)

        def work(session: Session) -> None:
            made_block(session)
            session.flush()
            assert current_version(session) != before
            assert version_of(other) == before

        services.storage.write(work)
        assert version_of(other) != before


@pytest.mark.parametrize("fault", [ZeroDivisionError, IntegrityError])
def test_a_change_that_is_rolled_back_draws_none(services: Services, fault: type[Exception]) -> None:
    before = version_of(services.storage)

    def work(session: Session) -> None:
        made_block(session)
        session.flush()
        assert current_version(session) != before
        if fault is ZeroDivisionError:
            raise ZeroDivisionError
        session.execute(text("INSERT INTO block_list SELECT * FROM block_list"))

    with pytest.raises(fault):
        services.storage.write(work)
    assert version_of(services.storage) == before


def test_license_keys_and_batches_draw_none(session: Session) -> None:
    before = current_version(session)
    batch = Batch(
        request_id="r",
        api_key_id=1,
        product_id=1,
        generator_id=1,
        quantity=1,
        signing_key_id=1,
        signed_at=0,
        signature=b"",
        created_at=NOW,
    )
    key = LicenseKey(
        product_id=1,
        source="manual",
        license_key="k",
        activation_limit=0,
        validity=0,
        status="available",
        created_at=NOW,
        updated_at=NOW,
    )
    session.add_all([batch, key])
    session.flush()
    key.status, batch.quantity = "blocked", 2
    session.flush()
    session.execute(text("UPDATE license_keys SET validity = 3"))
    session.execute(text("DELETE FROM license_keys"))
    session.execute(text("DELETE FROM batches"))
    session.flush()
    assert current_version(session) == before


def test_issuing_draws_none(services: Services) -> None:
    before = version_of(services.storage)
    batch = batch_store.NewBatch(
        version=before,
        scope=EVERYTHING,
        request_id="r",
        api_key_id=None,
        product_id=1,
        generator_id=1,
        quantity=2,
        signing_key_id=1,
        signed_at=0,
        signature=b"",
        payload=b'{"licenseKeys":["a","b"]}',
        activation_limit=0,
        validity=0,
        created_at=NOW,
    )
    assert asyncio.run(batch_store.keep(services.storage, batch)) is not None
    assert counts(services.storage).license_keys == 2
    assert version_of(services.storage) == before


def test_there_is_one_version_and_no_other(session: Session) -> None:
    with pytest.raises(IntegrityError), session.begin_nested():
        session.execute(text("INSERT INTO configuration_version (id, version) VALUES (2, 1)"))
    with pytest.raises(IntegrityError), session.begin_nested():
        session.execute(text("INSERT INTO configuration_version (id, version) VALUES (1, 1)"))


# --- what is remembered ---


@contextmanager
def look_ups(storage: Storage) -> Iterator[list[str]]:
    """The statements that ask for the version meanwhile."""
    asked: list[str] = []

    def count(*arguments: object) -> None:
        statement = str(arguments[2])
        if "configuration_version" in statement:
            asked.append(statement)

    event.listen(storage.engine, "before_cursor_execute", count)
    try:
        yield asked
    finally:
        event.remove(storage.engine, "before_cursor_execute", count)


@dataclass
class Load:
    """Loads what is next in a script, and counts."""

    script: list[object]
    times: int = field(default=0)

    def __call__(self, session: Session) -> object:
        session.execute(text("SELECT 1"))
        self.times += 1
        return self.script[min(self.times, len(self.script)) - 1]


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """For how long a snapshot is trusted, so that no test has to wait."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr(configuration, "LONGEST_TRUST_S", seconds)

    set_to(FOR_EVER)
    return set_to


def run(work: Callable[[Configuration], Awaitable[None]], storage: Storage) -> None:
    async def main() -> None:
        await work(Configuration(storage))

    asyncio.run(main())


def test_a_snapshot_is_trusted_for_a_second_at_most() -> None:
    assert configuration.LONGEST_TRUST_S <= 1


@pytest.mark.usefixtures("trust")
def test_within_its_time_a_snapshot_is_used_again(shared: Services) -> None:
    async def work(known: Configuration) -> None:
        with look_ups(shared.storage) as asked:
            first = await known.snapshot()
            assert len(asked) == 1
            assert first.version == version_of(shared.storage)
            change(shared.storage)
            del asked[:]
            assert await known.snapshot() is first
            assert asked == []
            assert await known.snapshot(anew=True) is not first
            assert len(asked) == 1

    run(work, shared.storage)


def test_after_its_time_a_snapshot_is_looked_up_again(shared: Services, trust: Callable[[float], None]) -> None:
    async def work(known: Configuration) -> None:
        trust(NOT_AT_ALL)
        load = Load(["found"])
        first = await known.snapshot()
        assert await first.get("name", load) == "found"
        with look_ups(shared.storage) as asked:
            # Nothing has changed: what is remembered stays.
            assert await known.snapshot() is first
            assert len(asked) == 1
            assert await first.get("name", load) == "found"
        assert load.times == 1
        change(shared.storage)
        second = await known.snapshot()
        assert second is not first
        assert second.version == version_of(shared.storage) != first.version
        assert await second.get("name", load) == "found"
        assert load.times == 2

    run(work, shared.storage)


@pytest.mark.usefixtures("trust")
def test_to_look_up_what_was_not_remembered_renews_the_trust(shared: Services) -> None:
    async def work(known: Configuration) -> None:
        snapshot = await known.snapshot()
        moment = monotonic()
        assert snapshot.seen < moment
        await snapshot.get("name", Load(["found"]))
        assert moment <= snapshot.seen <= monotonic()

    run(work, shared.storage)


@pytest.mark.usefixtures("trust")
@pytest.mark.parametrize("value", ["found", 0, "", False, (), frozenset()])
def test_what_was_found_is_read_once(shared: Services, value: object) -> None:
    async def work(known: Configuration) -> None:
        snapshot = await known.snapshot()
        load, other = Load([value]), Load(["other"])
        for _ in range(3):
            assert await snapshot.get("name", load) == value
            assert await snapshot.get("another name", other) == "other"
        assert (load.times, other.times) == (1, 1)

    run(work, shared.storage)


@pytest.mark.usefixtures("trust")
def test_what_many_miss_at_once_is_read_once(shared: Services) -> None:
    async def work(known: Configuration) -> None:
        snapshot = await known.snapshot()
        load = Load(["found"])
        with look_ups(shared.storage) as made:
            asked = [asyncio.create_task(snapshot.get("name", load)) for _ in range(20)]
            await asyncio.sleep(0)
            # One who leaves takes nobody along, the first of all not either.
            asked[0].cancel()
            assert await asyncio.gather(*asked[1:]) == ["found"] * 19
        assert len(made) == 1

    run(work, shared.storage)


def test_that_there_is_nothing_is_not_remembered(shared: Services) -> None:
    async def work(known: Configuration) -> None:
        snapshot = await known.snapshot()
        load = Load([None, None, "found"])
        assert [await snapshot.get("name", load) for _ in range(5)] == [None, None, "found", "found", "found"]
        assert load.times == 3

    run(work, shared.storage)


@pytest.mark.usefixtures("trust")
def test_a_load_that_sees_another_version_is_of_no_use(shared: Services) -> None:
    async def work(known: Configuration) -> None:
        old = await known.snapshot()
        load = Load(["new"])
        assert await old.get("before", Load(["old"])) == "old"
        change(shared.storage)
        seen = old.seen
        for _ in range(2):
            with pytest.raises(ConfigurationChanged):
                await old.get("after", load)
        assert load.times == 2, "what was read at another version has not been remembered"
        assert old.seen == seen, "nor has the old version been seen again"
        new = await known.snapshot(anew=True)
        assert await new.get("after", load) == "new"

    run(work, shared.storage)


@pytest.mark.usefixtures("trust")
def test_a_load_that_fails_is_told_and_not_remembered(shared: Services) -> None:
    def fail(_: Session) -> str:
        raise ZeroDivisionError

    async def work(known: Configuration) -> None:
        snapshot = await known.snapshot()
        with pytest.raises(ZeroDivisionError):
            await snapshot.get("name", fail)
        assert await snapshot.get("name", Load(["found"])) == "found"

    run(work, shared.storage)


@pytest.mark.usefixtures("trust")
def test_whether_it_has_changed_is_looked_up_unless_it_has_been_since(shared: Services) -> None:
    async def work(known: Configuration) -> None:
        snapshot = await known.snapshot()
        with look_ups(shared.storage) as asked:
            assert not await known.changed(snapshot, since=monotonic())
            assert len(asked) == 1
            # It has just been looked up; whoever began before that is answered by it.
            assert not await known.changed(snapshot, since=snapshot.seen)
            assert not await known.changed(snapshot, since=snapshot.seen - 1)
            assert len(asked) == 1
        change(shared.storage)
        assert not await known.changed(snapshot, since=snapshot.seen)
        assert await known.changed(snapshot, since=monotonic())
        newer = await known.snapshot()
        assert newer is not snapshot
        assert await known.changed(snapshot, since=monotonic())
        assert not await known.changed(newer, since=monotonic())

    run(work, shared.storage)


# --- many at once ---


@pytest.mark.parametrize("trusted", [FOR_EVER, NOT_AT_ALL])
def test_many_who_ask_at_once_cause_one_look_up(
    shared: Services, trust: Callable[[float], None], trusted: float
) -> None:
    async def work(known: Configuration) -> None:
        trust(trusted)
        if trusted == NOT_AT_ALL:
            await known.snapshot()
        with look_ups(shared.storage) as asked:
            snapshots = await asyncio.gather(*(known.snapshot() for _ in range(100)))
            assert len(asked) == 1
        assert len({id(snapshot) for snapshot in snapshots}) == 1

    run(work, shared.storage)


@pytest.mark.usefixtures("trust")
def test_one_who_leaves_takes_nobody_along(shared: Services) -> None:
    async def work(known: Configuration) -> None:
        tasks = [asyncio.create_task(known.snapshot()) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[3].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(one, Snapshot) for one in found] == [False, True, True, False, True]

    run(work, shared.storage)


@pytest.mark.usefixtures("trust")
def test_when_all_have_left_the_next_one_is_served(shared: Services) -> None:
    async def work(known: Configuration) -> None:
        task = asyncio.create_task(known.snapshot())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await known.snapshot()).version == version_of(shared.storage)

    run(work, shared.storage)


@pytest.mark.usefixtures("trust")
def test_a_look_up_that_fails_is_told_to_all_who_wait_and_the_next_one_works(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POOL_TIMEOUT_S", 0.05)
    with Storage.open(installation.settings.model_copy(update={"database_pool_size": 1})) as storage:

        async def work(known: Configuration) -> None:
            with storage.engine.connect():  # the only one there is
                found = await asyncio.gather(*(known.snapshot() for _ in range(20)), return_exceptions=True)
                assert [isinstance(one, Unavailable) for one in found] == [True] * 20
                with pytest.raises(Unavailable):
                    await known.snapshot(anew=True)
            snapshot = await known.snapshot()
            assert snapshot.version == version_of(storage)
            with storage.engine.connect():
                assert await known.snapshot() is snapshot, "what is trusted needs no database"
                with pytest.raises(Unavailable):
                    await snapshot.get("name", Load(["found"]))
                with pytest.raises(Unavailable):
                    await known.changed(snapshot, since=monotonic())
            assert await snapshot.get("name", Load(["found"])) == "found"

        run(work, storage)


@pytest.mark.parametrize("shared", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("trust")
def test_a_database_that_is_gone_is_told_to_all_who_wait(shared: Services) -> None:
    file = shared.storage.database.file
    assert file is not None

    async def work(known: Configuration) -> None:
        kept = file.rename(file.with_name("kept.db"))
        found = await asyncio.gather(*(known.snapshot() for _ in range(20)), return_exceptions=True)
        assert [isinstance(one, Unavailable) for one in found] == [True] * 20
        kept.rename(file)
        assert (await known.snapshot()).version == version_of(shared.storage)

    run(work, shared.storage)


@pytest.mark.usefixtures("trust")
def test_a_look_up_that_was_overtaken_counts_from_its_own_beginning(shared: Services) -> None:
    """What it found may have been changed meanwhile, so it is trusted no longer than from then."""
    read, go_on = Event(), Event()

    def hold(*arguments: object) -> None:
        if "configuration_version" in str(arguments[2]) and not read.is_set():
            read.set()
            assert go_on.wait(60)

    async def work(known: Configuration) -> None:
        first = await known.snapshot()
        event.listen(shared.storage.engine, "after_cursor_execute", hold)
        slow = asyncio.create_task(known.snapshot(anew=True))
        assert await asyncio.to_thread(read.wait, 60)
        before = monotonic()
        change(shared.storage)
        newest = await known.snapshot(anew=True)
        assert newest.version != first.version
        go_on.set()
        overtaken = await slow
        assert overtaken.version == first.version
        assert overtaken.seen < before < newest.seen
        assert await known.changed(overtaken, since=before)
        assert (await known.snapshot(anew=True)).version == newest.version

    try:
        run(work, shared.storage)
    finally:
        go_on.set()
        event.remove(shared.storage.engine, "after_cursor_execute", hold)


# --- not without end ---


@pytest.mark.usefixtures("trust")
def test_what_is_remembered_has_a_bound(shared: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "MOST_REMEMBERED", 3)

    async def work(known: Configuration) -> None:
        snapshot = await known.snapshot()
        loads = [Load([number]) for number in range(20)]
        for _ in range(2):
            for number, load in enumerate(loads):
                assert await snapshot.get(number, load) == number
                assert await snapshot.get(number, load) == number
                assert len(snapshot._found) <= 3  # noqa: SLF001 -- nothing else tells how much is kept
        assert [load.times for load in loads] == [2] * 20, "the others were forgotten in between, and read again"

    run(work, shared.storage)
