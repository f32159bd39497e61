"""Signing keys on their way: pending, active, verify-only, destroyed; and under another key encryption key."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from tests.conftest import Installation
from tests.support.world import execute

from hanaper.app import open_services
from hanaper.keystore import kek_file, rotate, store
from hanaper.keystore.keys import Keystore
from hanaper.keystore.models import SigningKey
from hanaper.keystore.rewrap import rewrap
from hanaper.refusal import Invalid, Misconfigured, Unavailable
from hanaper.settings import Settings
from hanaper.signing.key_pair import KeyPair
from hanaper.storage.configuration import current_version
from hanaper.storage.session import Session
from hanaper.storage.transactions import Storage
from hanaper.web.services import Services

OWNERS = pytest.mark.parametrize("owner", [None, 1], ids=["global", "product"])


@pytest.fixture(scope="module")
def pairs() -> list[KeyPair]:
    return [KeyPair.generate(2048) for _ in range(4)]


def announced(services: Services, pair: KeyPair, owner: int | None) -> str:
    def work(session: Session) -> str:
        key = rotate.announce(session, pair, product_id=owner, keystore=services.keystore, now=services.clock())
        return key.kid

    return services.storage.write(work)


def activated(services: Services, kid: str) -> None:
    services.storage.write(
        lambda session: rotate.activate(session, kid, keystore=services.keystore, now=services.clock()).id
    )


def destroyed(services: Services, kid: str, *, early: bool = False, days: int = 0) -> None:
    now = services.clock() + timedelta(days=days)
    services.storage.write(lambda session: rotate.destroy(session, kid, early=early, now=now).id)


def states(services: Services, owner: int | None) -> list[tuple[int, str]]:
    """Version and state of each key."""
    return services.storage.read(
        lambda session: [
            (key.version, key.state)
            for key in session.scalars(
                select(SigningKey).where(SigningKey.product_id == owner).order_by(SigningKey.version)
            )
        ]
    )


def kid_of(services: Services, owner: int | None) -> str:
    kid = services.storage.read(lambda session: store.active_kid(session, owner))
    assert kid is not None
    return kid


def version(services: Services) -> int:
    return services.storage.read(current_version)


@OWNERS
def test_a_key_goes_through_its_states(services: Services, pairs: list[KeyPair], owner: int | None) -> None:
    first = kid_of(services, owner)
    seen = [version(services)]

    def is_now(*expected: tuple[int, str]) -> None:
        assert states(services, owner) == list(expected)
        seen.append(version(services))

    second = announced(services, pairs[0], owner)
    is_now((1, "active"), (2, "pending"))
    assert kid_of(services, owner) == first
    activated(services, second)
    is_now((1, "verify_only"), (2, "active"))
    assert kid_of(services, owner) == second
    destroyed(services, first, days=31)
    is_now((1, "destroyed"), (2, "active"))
    gone = services.storage.read(lambda session: store.by_kid(session, first))
    assert gone is not None
    assert gone.private_ciphertext == b""
    assert gone.public_pem
    # Each step is a change of the configuration: whoever is at work meanwhile begins again.
    assert len(set(seen)) == 4


@OWNERS
def test_what_is_not_next_is_refused_and_changes_nothing(
    services: Services, pairs: list[KeyPair], owner: int | None
) -> None:
    first = kid_of(services, owner)
    second = announced(services, pairs[0], owner)
    before = version(services)
    refusals: list[tuple[str, Callable[[], object]]] = [
        ("waits already", lambda: announced(services, pairs[1], owner)),
        ("is active: only a pending one", lambda: activated(services, first)),
        ("no signing key 'none'", lambda: activated(services, "none")),
        ("no signing key 'none'", lambda: destroyed(services, "none")),
        ("signs: activate another one first", lambda: destroyed(services, first, early=True)),
        ("has no signing key that a new one could follow", lambda: announced(services, pairs[1], 4711)),
    ]
    for words, call in refusals:
        with pytest.raises(Invalid, match=words):
            call()
    assert version(services) == before
    activated(services, second)
    with pytest.raises(Invalid, match="is verify-only: only a pending one"):
        activated(services, first)
    for days in (0, 29):
        with pytest.raises(Invalid, match=r"can be destroyed from \d{4}-\d\d-\d\d on, or at once with --early"):
            destroyed(services, first, days=days)
    destroyed(services, first, early=True)
    for call in (lambda: destroyed(services, first, early=True), lambda: activated(services, first)):
        with pytest.raises(Invalid, match="is destroyed"):
            call()


def test_a_key_that_waits_can_be_withdrawn_at_once(services: Services, pairs: list[KeyPair]) -> None:
    destroyed(services, announced(services, pairs[0], 1))
    assert states(services, 1) == [(1, "active"), (2, "destroyed")]
    activated(services, announced(services, pairs[1], 1))
    assert states(services, 1) == [(1, "verify_only"), (2, "destroyed"), (3, "active")]


def test_a_key_that_cannot_be_opened_is_not_activated(services: Services, pairs: list[KeyPair]) -> None:
    kid = announced(services, pairs[0], None)
    execute(services.storage, update(SigningKey).where(SigningKey.kid == kid).values(private_ciphertext=b"x" * 40))
    with pytest.raises(Misconfigured, match=kid):
        activated(services, kid)
    assert states(services, None) == [(1, "active"), (2, "pending")]


# --- at once ---


def at_once(calls: list[Callable[[], object]]) -> list[BaseException | None]:
    gate = threading.Barrier(len(calls))
    failures: list[BaseException | None] = [None] * len(calls)

    def run(number: int) -> None:
        gate.wait()
        try:
            calls[number]()
        except (Invalid, Unavailable, IntegrityError) as error:
            failures[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_rotations_at_once_follow_one_another(services: Services, pairs: list[KeyPair]) -> None:
    def exchanged(pair: KeyPair) -> None:
        def work(session: Session) -> int:
            rotate.announce(session, pair, product_id=1, keystore=services.keystore, now=services.clock())
            return rotate.activate(session, pair.kid, keystore=services.keystore, now=services.clock()).id

        services.storage.write(work)

    assert at_once([lambda pair=pair: exchanged(pair) for pair in pairs]) == [None] * 4  # type: ignore[misc]
    assert states(services, 1) == [*((number, "verify_only") for number in range(1, 5)), (5, "active")]


def test_of_two_who_announce_at_once_one_is_refused(services: Services, pairs: list[KeyPair]) -> None:
    failures = at_once([lambda pair=pair: announced(services, pair, None) for pair in pairs])  # type: ignore[misc]
    assert sorted(str(failure).partition(":")[0].rpartition(" ")[2] for failure in failures) == [
        "None",
        *["already"] * 3,
    ]
    assert states(services, None) == [(1, "active"), (2, "pending")]


def two_past_the_lock(services: Services, pairs: list[KeyPair]) -> list[BaseException | None]:
    """Two who make a key active without asking whether there is one: only the database is in their way."""

    def add(pair: KeyPair, number: int) -> None:
        def work(session: Session) -> int:
            session.execute(
                update(SigningKey)
                .where(SigningKey.product_id.is_(None), SigningKey.state == "active")
                .where(SigningKey.version == 1)
                .values(state="verify_only")
            )
            key = services.keystore.add(
                session, pair, product_id=None, now=services.clock(), version=number, state="pending"
            )
            key.state = "active"
            session.flush()
            return key.id

        services.storage.write(work)

    return at_once([lambda number=number: add(pairs[number], 2 + number) for number in range(2)])  # type: ignore[misc]


def active(storage: Storage) -> int:
    counted = text("SELECT count(*) FROM signing_keys WHERE state = 'active' AND product_id IS NULL")
    number: int = storage.read(lambda session: session.scalars(counted).one())
    return number


def test_two_active_keys_of_an_owner_cannot_be(services: Services, pairs: list[KeyPair]) -> None:
    failures = two_past_the_lock(services, pairs)
    assert [failure is None for failure in failures].count(True) == 1
    assert active(services.storage) == 1


def test_without_the_index_they_can(services: Services, pairs: list[KeyPair]) -> None:
    """The planted fault."""
    execute(services.storage, text("DROP INDEX uq_signing_keys_active"))
    assert two_past_the_lock(services, pairs) == [None, None]
    assert active(services.storage) == 2


# --- another key encryption key ---


def with_keys(settings: Settings, primary: Path, other: Path | None) -> Settings:
    return settings.model_copy(update={"key_encryption_key_file": primary, "other_key_encryption_key_file": other})


@pytest.fixture
def new_kek(tmp_path: Path) -> Path:
    file = tmp_path / "new-kek"
    kek_file.create(file)
    return file


def kek_ids(services: Services) -> set[str]:
    return services.storage.read(store.kek_ids)


def test_every_secret_is_rewrapped(
    services: Services, installation: Installation, pairs: list[KeyPair], new_kek: Path
) -> None:
    """Step by step, as docs/keys.md says; at each step there are servers of the step before."""
    settings, old_kek = installation.settings, installation.settings.key_encryption_key
    first = kid_of(services, 1)
    announced(services, pairs[0], None)
    activated(services, announced(services, pairs[1], 1))
    destroyed(services, first, early=True)
    (old_id,) = kek_ids(services)
    open_services(with_keys(settings, old_kek, new_kek)).storage.close()
    with open_services(with_keys(settings, new_kek, old_kek)).storage as storage:
        keystore = Keystore.from_settings(with_keys(settings, new_kek, old_kek))
        # The global key, the one that waits, the product's, and the secret for API keys.
        assert storage.write(lambda session: rewrap(session, keystore.encryption)) == 4
        assert kek_ids(services) == {keystore.encryption.kek_id} != {old_id}
        assert storage.write(lambda session: rewrap(session, keystore.encryption)) == 0
    # Who knows both still starts, in either order; so does who knows the new one alone.
    for primary, other in ((old_kek, new_kek), (new_kek, old_kek), (new_kek, None)):
        opened = open_services(with_keys(settings, primary, other))
        assert opened.pepper == services.pepper
        opened.storage.close()
    with pytest.raises(Misconfigured, match="is not the one"):
        open_services(with_keys(settings, old_kek, None))
    gone = services.storage.read(lambda session: store.by_kid(session, first))
    assert gone is not None
    assert gone.private_ciphertext == b""


def test_one_damaged_key_and_nothing_is_rewrapped(
    services: Services, installation: Installation, pairs: list[KeyPair], new_kek: Path
) -> None:
    kid = announced(services, pairs[0], None)
    execute(services.storage, update(SigningKey).where(SigningKey.kid == kid).values(private_ciphertext=b"x" * 40))
    before = kek_ids(services)
    keystore = Keystore.from_settings(
        with_keys(installation.settings, new_kek, installation.settings.key_encryption_key)
    )
    with pytest.raises(Misconfigured, match=kid):
        services.storage.write(lambda session: rewrap(session, keystore.encryption))
    assert kek_ids(services) == before
