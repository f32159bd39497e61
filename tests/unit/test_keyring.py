import threading
import time

import pytest

from hanaper.refusal import Misconfigured
from hanaper.signing.key_pair import KeyPair
from hanaper.signing.keyring import Keyring
from hanaper.signing.signer import Signer


class Cupboard:
    """Where a keyring fetches from; counts."""

    def __init__(self, signers: dict[int, Signer]) -> None:
        self.signers = signers
        self.asked: list[int] = []

    def fetch(self, key_id: int) -> Signer:
        self.asked.append(key_id)
        time.sleep(0.01)
        try:
            return self.signers[key_id]
        except KeyError:
            raise Misconfigured(f"signing key {key_id} is not in the database") from None


def test_the_global_signer_is_held_from_the_start(pair: KeyPair) -> None:
    cupboard = Cupboard({})
    signer = Signer(pair)
    keyring = Keyring(7, {7: signer}, cupboard.fetch)
    assert keyring.global_key_id == 7
    assert keyring.global_signer is signer
    assert keyring.signer(7) is signer
    assert cupboard.asked == []


def test_another_signer_is_fetched_once(pair: KeyPair, other_pair: KeyPair) -> None:
    cupboard = Cupboard({2: Signer(other_pair)})
    keyring = Keyring(1, {1: Signer(pair)}, cupboard.fetch)
    assert [keyring.signer(2) for _ in range(3)] == [cupboard.signers[2]] * 3
    assert cupboard.asked == [2]


def test_many_threads_at_once_fetch_once(pair: KeyPair, other_pair: KeyPair) -> None:
    cupboard = Cupboard({2: Signer(other_pair)})
    keyring = Keyring(1, {1: Signer(pair)}, cupboard.fetch)
    gate = threading.Barrier(8)
    found: list[Signer] = []

    def ask() -> None:
        gate.wait()
        found.append(keyring.signer(2))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cupboard.signers[2]] * 8
    assert cupboard.asked == [2]


def test_a_failure_is_not_remembered(pair: KeyPair, other_pair: KeyPair) -> None:
    cupboard = Cupboard({})
    keyring = Keyring(1, {1: Signer(pair)}, cupboard.fetch)
    with pytest.raises(Misconfigured, match="signing key 2 is not in the database"):
        keyring.signer(2)
    cupboard.signers[2] = Signer(other_pair)
    assert keyring.signer(2) is cupboard.signers[2]
    assert cupboard.asked == [2, 2]


def test_what_is_put_into_the_given_mapping_later_is_not_seen(pair: KeyPair, other_pair: KeyPair) -> None:
    signers = {1: Signer(pair)}
    keyring = Keyring(1, signers, Cupboard({}).fetch)
    signers[1] = Signer(other_pair)
    assert keyring.global_signer.kid == pair.kid


def test_nothing_secret_is_shown(pair: KeyPair) -> None:
    keyring = Keyring(1, {1: Signer(pair)}, Cupboard({}).fetch)
    assert str(pair.private_key.private_numbers().d) not in f"{keyring!r} {keyring} {vars(keyring)}"
